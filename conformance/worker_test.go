//go:build conformance

package conformance

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// workerOptions say how a worker is started: as a user would.
type workerOptions struct {
	Pool string
	Type string   // "" leaves --type away
	Name string   // "" leaves --name away
	Args []string // further flags of `worker start`
	// Global are arguments before "worker start".
	Global []string
	API    string            // PREFECT_API_URL; "" is none
	Env    map[string]string // beside the suite's own; "-" takes a variable away
	Dir    string            // working directory; "" is an empty one
}

// A worker is a running `worker start`.
type worker struct {
	t    *testing.T
	cmd  *exec.Cmd
	home string
	dir  string
	out  *output
	done chan struct{}
	code int
}

// output collects what a process writes and tells who waits.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(p), nil
}

func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

// startWorker starts the worker under test and ends it with the test. Polls come
// every second, unless the options say otherwise.
func startWorker(t *testing.T, o workerOptions) *worker {
	t.Helper()
	w := &worker{t: t, home: t.TempDir(), dir: o.Dir, out: &output{changed: make(chan struct{})}, done: make(chan struct{})}
	if w.dir == "" {
		w.dir = t.TempDir()
	}
	args := append(slices.Clone(o.Global), "worker", "start")
	for _, pair := range [][2]string{{"--pool", o.Pool}, {"--type", o.Type}, {"--name", o.Name}} {
		if pair[1] != "" {
			args = append(args, pair[0], pair[1])
		}
	}
	w.cmd = exec.Command(suite.binary, append(args, o.Args...)...)
	w.cmd.Dir, w.cmd.Env = w.dir, w.environ(o)
	w.cmd.Stdout, w.cmd.Stderr = w.out, w.out
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	w.cmd.WaitDelay = 5 * time.Second
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.done)
		_ = w.cmd.Wait()
		w.code = w.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(w.end)
	return w
}

func (w *worker) environ(o workerOptions) []string {
	env := map[string]string{
		"HOME": w.home, "PREFECT_HOME": filepath.Join(w.home, ".prefect"),
		"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_LOGGING_COLORS": "false",
		"COLUMNS": "1000", "TERM": "dumb", "NO_COLOR": "1",
		// Flow runs are started by the same prefect, whoever the worker is.
		"PATH": filepath.Dir(suite.prefect) + string(os.PathListSeparator) + os.Getenv("PATH"),
	}
	if suite.worker == python {
		env["PATH"] = filepath.Dir(suite.binary) + string(os.PathListSeparator) + os.Getenv("PATH")
	}
	if o.API != "" {
		env["PREFECT_API_URL"] = o.API
	}
	maps.Copy(env, o.Env)
	var out []string
	for _, pair := range cleanEnviron() {
		if name, _, _ := strings.Cut(pair, "="); env[name] == "" {
			out = append(out, pair)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if env[name] != "-" {
			out = append(out, name+"="+env[name])
		}
	}
	return out
}

// end kills the worker and its children, and shows what it said if the test failed.
func (w *worker) end() {
	_ = syscall.Kill(-w.cmd.Process.Pid, syscall.SIGKILL)
	<-w.done
	w.endChildren()
	if w.t.Failed() {
		w.t.Logf("the worker said:\n%s", w.log())
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

// log is what the worker has written so far, both streams.
func (w *worker) log() string {
	text, _ := w.out.read()
	return text
}

// waitLog waits until the worker has written something that matches.
func (w *worker) waitLog(limit time.Duration, expression string) string {
	w.t.Helper()
	re := regexp.MustCompile(expression)
	deadline := time.After(limit)
	for {
		text, changed := w.out.read()
		if found := re.FindString(text); found != "" {
			return found
		}
		select {
		case <-changed:
		case <-w.done:
			if text, _ := w.out.read(); re.MatchString(text) {
				return re.FindString(text)
			}
			w.t.Fatalf("the worker ended with %d and never wrote %q", w.code, expression)
		case <-deadline:
			w.t.Fatalf("waited %s in vain for the worker to write %q", limit, expression)
		}
	}
}

// waitStarted waits until the worker says that it has started.
func (w *worker) waitStarted() {
	w.t.Helper()
	w.waitLog(time.Minute, `Worker '.*' started!`)
}

func (w *worker) signal(sig os.Signal) {
	w.t.Helper()
	if err := w.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		w.t.Fatal(err)
	}
}

// waitExit waits until the worker has ended and returns its exit code, -1 when
// a signal ended it.
func (w *worker) waitExit(limit time.Duration) int {
	w.t.Helper()
	select {
	case <-w.done:
		return w.code
	case <-time.After(limit):
		w.t.Fatalf("the worker did not end within %s", limit)
		return 0
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
