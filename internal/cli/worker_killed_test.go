//go:build linux

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is a worker in a process of its own, to be killed.
type program struct {
	cmd  *exec.Cmd
	talk *watched
}

// startProgram starts `faber` with some arguments and waits for what it then says.
func startProgram(t *testing.T, env []string, args, says string) *program {
	t.Helper()
	faber, err := exec.LookPath("faber") // this test binary, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: exec.Command(faber, strings.Fields(args)...), talk: newWatched(says)}
	p.cmd.Env, p.cmd.Dir = env, t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = p.talk, p.talk
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	select {
	case <-p.talk.seen:
	case <-time.After(time.Minute):
		t.Fatalf("it never said %q: %s", says, p.talk)
	}
	return p
}

// kill ends it as the system does when it is out of memory.
func (p *program) kill() {
	_ = p.cmd.Process.Kill() // once more does no harm
	_ = p.cmd.Wait()
}

// TestAKilledWorkersFlowRuns: flow runs go on when their worker is killed, and the
// next one of the same name on this machine sees to their end, whatever that was.
func TestAKilledWorkersFlowRuns(t *testing.T) {
	p := startPrefect(t)
	env := []string{
		"PREFECT_API_URL=" + p.api, "PREFECT_HOME=" + t.TempDir(), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(),
		"PATH=" + filepath.Dir(p.executable) + string(filepath.ListSeparator) + os.Getenv("PATH"),
	}
	const start = "worker start --pool p --type process --name w1"
	enough := filepath.Join(t.TempDir(), "enough")
	worker := startProgram(t, env, start, "Worker 'w1' started!")
	lives := p.startWith("hold", map[string]any{"file": enough})
	dies := p.startWith("hold", map[string]any{"file": enough})
	p.reaches(lives, "Running")
	p.reaches(dies, "Running")
	worker.kill()
	for _, file := range flowProcesses(t, dies) {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL) // one may have ended with another
	}
	if len(flowProcesses(t, lives)) == 0 {
		t.Fatal("the flow run's processes ended with the worker")
	}

	worker = startProgram(t, env, start, "Adopted flow run '"+lives+"'")
	states := p.reaches(dies, "Crashed", "Completed", "Failed")
	if last := states[len(states)-1]; last.Name != "Crashed" || !strings.Contains(last.Message, "is gone: it ended while no worker watched it") {
		t.Errorf("the one that died: %+v", last)
	}
	if err := os.WriteFile(enough, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range p.reaches(lives, "Crashed", "Completed", "Failed") {
		names = append(names, s.Name)
		if s.Name == "Submitting" && !strings.HasPrefix(s.Message, "Submitting to host ") {
			t.Errorf("Submitting says %q", s.Message)
		}
	}
	if want := []string{"Scheduled", "Pending", "Submitting", "Running", "Completed"}; !slices.Equal(names, want) {
		t.Errorf("the one that lived: %q", names)
	}
	p.until(30*time.Second, "its processes have ended", func() bool { return len(flowProcesses(t, lives)) == 0 })
	if !strings.Contains(worker.talk.String(), "still here, and that has to go somewhere") {
		t.Error("the next worker does not show what the flow run prints")
	}
	if t.Failed() {
		t.Log(worker.talk)
	}
}
