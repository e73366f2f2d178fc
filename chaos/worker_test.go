//go:build chaos

package chaos

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
)

// A worker is a running `worker start`.
type worker struct {
	name string
	cmd  *exec.Cmd
	home string
	out  *output
	done chan struct{}
	code int
	// felled says that the scenario ended it; any other end is one too many.
	felled bool
}

// output collects what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// queueSetting names the queue of task events to Prefect's worker, and to faber too.
const queueSetting = "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME"

// startWorker starts the worker under test, on a host of its own: under a name that
// nobody had before and with an empty disk. All intervals are the defaults.
func (p *play) startWorker(args []string, env map[string]string) *worker {
	p.started++
	w := &worker{name: fmt.Sprintf("w%d-%s", p.started, p.pool), home: tempDir(p.T), out: &output{}, done: make(chan struct{})}
	args = append([]string{"worker", "start", "--pool", p.pool, "--type", "ecs", "--name", w.name}, args...)
	if suite.worker == faber && !slices.Contains(args, "--with-healthcheck") {
		args = append(args, "--create-pool-if-not-found")
	}
	w.cmd = exec.Command(suite.binary, args...)
	w.cmd.Dir, w.cmd.Env = tempDir(p.T), p.workerEnviron(w, env)
	w.cmd.Stdout, w.cmd.Stderr = w.out, w.out
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	w.cmd.WaitDelay = 5 * time.Second
	if err := w.cmd.Start(); err != nil {
		p.fatal("the worker does not start: %v", err)
	}
	go func() {
		defer close(w.done)
		_ = w.cmd.Wait()
		w.code = w.cmd.ProcessState.ExitCode()
	}()
	p.Cleanup(func() {
		w.end(syscall.SIGKILL)
		w.endChildren()
		if p.Failed() {
			p.Logf("worker %s said:\n%s", w.name, tail(w.out.String(), 12000))
		}
	})
	p.workers = append(p.workers, w)
	return w
}

func (p *play) workerEnviron(w *worker, own map[string]string) []string {
	env := map[string]string{
		"HOME": w.home, "PREFECT_HOME": filepath.Join(w.home, ".prefect"),
		"PREFECT_LOGGING_COLORS": "false", "COLUMNS": "1000", "TERM": "dumb", "NO_COLOR": "1",
		"PREFECT_API_URL":  p.prefectURL + "/api",
		"AWS_ENDPOINT_URL": p.awsURL, "AWS_REGION": fakeaws.Region, "AWS_DEFAULT_REGION": fakeaws.Region,
		"AWS_ACCESS_KEY_ID": fakeaws.Account, "AWS_SECRET_ACCESS_KEY": "machine-secret", "AWS_EC2_METADATA_DISABLED": "true",
		queueSetting: eventQueue,
		"PATH":       filepath.Dir(suite.prefect) + string(os.PathListSeparator) + os.Getenv("PATH"),
	}
	switch suite.worker {
	case python:
		env["PATH"] = filepath.Dir(suite.binary) + string(os.PathListSeparator) + os.Getenv("PATH")
	case stub:
		env[stubEnv] = "1"
	case faber:
	}
	maps.Copy(env, p.s.Worker.Env)
	maps.Copy(env, own)
	out := cleanEnviron()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = slices.DeleteFunc(out, func(pair string) bool { return len(pair) > len(name) && pair[:len(name)+1] == name+"=" })
		out = append(out, name+"="+env[name])
	}
	return out
}

// end ends the worker and waits for it.
func (w *worker) end(sig syscall.Signal) {
	_ = syscall.Kill(-w.cmd.Process.Pid, sig)
	if sig == syscall.SIGKILL {
		<-w.done
	}
}

// alive says that the worker's process has not ended.
func (w *worker) alive() bool {
	select {
	case <-w.done:
		return false
	default:
		return true
	}
}

// endChildren kills what the worker left behind: flow runs have sessions of
// their own. They are known by their environment, which they inherited.
func (w *worker) endChildren() {
	processes, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return
	}
	for _, file := range processes {
		environ, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(environ, []byte(w.home)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// tempDir is a directory that goes with the test, also when what runs in it is
// still writing.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chaos-") //nolint:usetesting // that one fails the test when a process still writes there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func tail(text string, limit int) string {
	if len(text) > limit {
		return "…" + text[len(text)-limit:]
	}
	return text
}
