//go:build linux

package process

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"faber/internal/launch"
)

// killedWorker launches a command by a worker that is killed with SIGKILL when
// the command has begun, and returns what Prefect would know of it.
func killedWorker(t *testing.T, command string, stream bool) launch.Handle {
	t.Helper()
	begun := filepath.Join(t.TempDir(), "begun")
	if err := syscall.Mkfifo(begun, 0o600); err != nil {
		t.Fatal(err)
	}
	job := newJob("sh -c 'echo > " + begun + "; " + command + "'")
	text, err := json.Marshal(jobOfAWorker{job.FlowRunID, job.ClaimID, job.Command, stream})
	if err != nil {
		t.Fatal(err)
	}
	worker := exec.Command(os.Args[0])
	worker.Env = append(os.Environ(), workerJob+"="+string(text))
	worker.Stderr = os.Stderr
	out, err := worker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	pid, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		killMarked(markerOf(job))
	})
	if _, err := os.ReadFile(begun); err != nil { // returns when the command has written
		t.Fatal(err)
	}
	if err := worker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = worker.Wait() // killed: that is the point
	return launch.Handle{PID: strings.TrimSpace(pid), FlowRunID: job.FlowRunID, StartedAt: time.Now(), Place: here("")}
}

// TestAChildGoesOnWithoutItsWorker: it writes more than a pipe holds while nobody
// reads, and its successor gets every line that the dead worker had not read.
func TestAChildGoesOnWithoutItsWorker(t *testing.T) {
	for _, stream := range []bool{true, false} {
		t.Run(fmt.Sprintf("streamed %t", stream), func(t *testing.T) {
			goOn := filepath.Join(t.TempDir(), "go on")
			if err := syscall.Mkfifo(goOn, 0o600); err != nil {
				t.Fatal(err)
			}
			h := killedWorker(t, `read x < "`+goOn+`"; i=0; while [ $i -lt 2000 ]; do echo "line $i, and so that the pipe is soon full: .................................................."; i=$((i+1)); done; echo last; sleep 60`, stream)
			if err := os.WriteFile(goOn, []byte("now\n"), 0); err != nil {
				t.Fatal(err)
			}
			out := newLines()
			out.came = make(chan struct{}, 10_000)
			successor := newLauncher(t, Options{Output: out})
			if o := observe(t, successor, h); o.Phase != launch.PhaseRunning {
				t.Fatalf("phase = %s", o.Phase)
			}
			deadline := time.Now().Add(patience)
			for tail := tailText(t, successor, h); len(tail) == 0 || tail[len(tail)-1] != "last"; tail = tailText(t, successor, h) {
				if time.Now().After(deadline) {
					t.Fatalf("the last lines were %q", tail)
				}
			}
			if stream {
				out.await(t, "line 1999,")
			} else if out.String() != "" {
				t.Errorf("output that was not to be shown: %.100q", out.String())
			}
			if err := successor.Stop(t.Context(), h, "test", patience); err != nil {
				t.Fatal(err)
			}
			if exit := ended(t, successor, h); exit.Kind != launch.ExitStopped {
				t.Errorf("exit = %+v", exit)
			}
		})
	}
}

// TestAnEndWithoutAWorker: on this machine, since this boot, what is not there has
// ended. Of another place nothing is known.
func TestAnEndWithoutAWorker(t *testing.T) {
	h := killedWorker(t, "exit 3", true)
	pid, err := strconv.Atoi(h.PID)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; {
		if _, s := look(h.PID); s == absent {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not end", pid)
		}
	}
	for place, want := range map[string]launch.Phase{
		h.Place: launch.PhaseStopped,
		"":      launch.PhaseMissing,
		strings.Replace(h.Place, "boot ", "boot f", 1): launch.PhaseMissing,
		"host elsewhere": launch.PhaseMissing,
	} {
		l := newLauncher(t, Options{})
		h.Place = place
		o := observe(t, l, h)
		if o.Phase != want {
			t.Errorf("placed %q: %s", place, o.Phase)
		}
		if want == launch.PhaseStopped && (o.Exit.Kind != launch.ExitUnknown || !strings.Contains(o.Exit.Message, "Process "+h.PID+" is gone") || o.Exit.Hint == "") {
			t.Errorf("exit %+v", o.Exit)
		}
	}
}

// TestAReusedPIDIsNobodys: a process that got the id since is neither taken for
// the launch nor touched.
func TestAReusedPIDIsNobodys(t *testing.T) {
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	}()
	l := newLauncher(t, Options{})
	mine := mustLaunch(t, l, newJob("sleep 60"))
	for name, pid := range map[string]string{"of nobody's launch": strconv.Itoa(other.Process.Pid), "of another launch": mine.PID} {
		h := launch.Handle{PID: pid, FlowRunID: "9a9f1f2e-0000-4000-8000-000000000000", StartedAt: time.Now(), Place: l.place}
		if err := l.Stop(t.Context(), h, "test", time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if o := observe(t, l, h); o.Phase != launch.PhaseStopped {
			t.Errorf("%s: %s", name, o.Phase)
		}
	}
	if p, s := look(strconv.Itoa(other.Process.Pid)); s != foreign {
		t.Errorf("the other process: %v %+v", s, p)
	}
	if o := observe(t, l, mine); o.Phase != launch.PhaseRunning {
		t.Errorf("the other launch: %s", o.Phase)
	}
}

// TestASignalForAnEarlierProcess: between the look and the signal an id may have
// come to another process.
func TestASignalForAnEarlierProcess(t *testing.T) {
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Wait() }()
	p, _ := look(strconv.Itoa(other.Process.Pid))
	signalMarked(marked{pid: p.pid, ticks: p.ticks - 1}, syscall.SIGKILL)
	if _, s := look(strconv.Itoa(p.pid)); s != foreign {
		t.Errorf("it was hit: %v", s)
	}
	signalMarked(p, syscall.SIGKILL)
	if err := other.Wait(); err == nil {
		t.Error("the right one was not hit")
	}
}

// TestWhatAnInheritedLaunchLeavesBehind is ended like what a child of one's own does.
func TestWhatAnInheritedLaunchLeavesBehind(t *testing.T) {
	h := killedWorker(t, `setsid sleep 60 & wait`, true)
	l := newLauncher(t, Options{})
	if o := observe(t, l, h); o.Phase != launch.PhaseRunning {
		t.Fatalf("phase %s", o.Phase)
	}
	pid, err := strconv.Atoi(h.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	o := observe(t, l, h)
	for deadline := time.Now().Add(patience); o.Phase != launch.PhaseStopped; o = observe(t, l, h) { // no hint need come of it
		if time.Now().After(deadline) {
			t.Fatalf("phase %s", o.Phase)
		}
	}
	if o.Exit.Kind != launch.ExitUnknown {
		t.Errorf("exit %+v", o.Exit)
	}
	if left := scan(func(m marker) bool { return m.FlowRunID == h.FlowRunID }); len(left) > 0 {
		t.Errorf("left behind: %+v", left)
	}
}

func TestPlace(t *testing.T) {
	if place := here("blue"); !strings.HasPrefix(place, "host blue, boot ") {
		t.Errorf("place %q", place)
	}
	var told []string
	l := newLauncher(t, Options{Host: "blue"})
	job := newJob("true")
	job.Log = func(_ slog.Level, message string) { told = append(told, message) }
	h := mustLaunch(t, l, job)
	ended(t, l, h)
	want := "Process " + h.PID + " started " + h.StartedAt.UTC().Format(time.RFC3339) + " on " + l.Place(job)
	if len(told) != 1 || told[0] != want || h.Place != l.Place(job) {
		t.Errorf("told %q, placed %q", told, h.Place)
	}
}

func TestParseStat(t *testing.T) {
	stat, err := parseStat([]byte("42 (a ) (b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 8877 1 1 1"))
	if err != nil || stat.ticks != 8877 || stat.dead() {
		t.Errorf("%+v %v", stat, err)
	}
	for _, text := range []string{"", "42 (x) S 1", "42 (x) Z 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 soon 1"} {
		if _, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	own, err := readStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(startedAt(own.ticks)); age < -2*time.Second || age > time.Hour {
		t.Errorf("this process is %s old", age)
	}
}

func TestOOMKills(t *testing.T) {
	file := filepath.Join(t.TempDir(), "memory.events")
	kills := func(n int) {
		t.Helper()
		if err := os.WriteFile(file, fmt.Appendf(nil, "low 0\noom 9\noom_kill %d\noom_group_kill 7\n", n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kills(3)
	o := &oomKills{files: []string{file + ".none", file}, seen: 3}
	code := func(n int) *int { return &n }
	for i, step := range []struct {
		kills, code int
		want        bool
	}{
		{3, -9, false}, // somebody's SIGKILL
		{5, -9, true},
		{5, -9, true},  // two were killed at once
		{5, -9, false}, // and no third
		{6, 0, false},  // an engine was; its supervisor reported that
		{6, -9, false},
	} {
		kills(step.kills)
		if got := o.killed(code(step.code)); got != step.want {
			t.Errorf("step %d: %t", i, got)
		}
	}
	exit := exitOf(code(-9), false)
	outOfMemory(&exit)
	if !exit.OutOfMemory || !strings.HasPrefix(exit.Message, "Process exited with status code: -9. ") || !strings.Contains(exit.Message, "memory limit") {
		t.Errorf("%+v", exit)
	}
	want := []string{
		"/sys/fs/cgroup/memory/a/memory.oom_control", "/sys/fs/cgroup/memory/memory.oom_control",
		"/sys/fs/cgroup/b/memory.events", "/sys/fs/cgroup/memory.events",
	}
	if got := oomFiles("9:name=systemd:/\n4:memory:/a\n0::/b\n"); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("files %q", got)
	}
}
