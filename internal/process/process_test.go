//go:build unix

package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"faber/internal/launch"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

const patience = 20 * time.Second

var testPool = launch.Pool{ID: "11111111-2222-3333-4444-555555555555", Name: "p"}

func newJob(command string, env ...launch.EnvVar) launch.Job {
	return launch.Job{
		FlowRunID: uuid.NewString(), ClaimID: uuid.NewString(), Pool: testPool, WorkerName: "w 1",
		Configuration: map[string]any{}, Command: command, Env: env, Log: func(slog.Level, string) {},
	}
}

func newLauncher(t *testing.T, o Options) *Launcher {
	t.Helper()
	if o.Environ == nil {
		o.Environ = []string{"PATH=" + os.Getenv("PATH"), "SHARED=worker", "UNWANTED=1"}
	}
	l := New(o)
	t.Cleanup(func() {
		if err := l.Close(0); err != nil {
			t.Error(err)
		}
	})
	return l
}

func mustLaunch(t *testing.T, l *Launcher, job launch.Job) launch.Handle {
	t.Helper()
	h, err := l.Launch(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// ended waits for the launcher's hint and returns how the launch ended.
func ended(t *testing.T, l *Launcher, h launch.Handle) *launch.Exit {
	t.Helper()
	timeout := time.After(patience)
	for {
		if o := observe(t, l, h); o.Phase == launch.PhaseStopped {
			return o.Exit
		}
		select {
		case <-l.Hints():
		case <-timeout:
			t.Fatalf("launch of %s did not end", h.PID)
		}
	}
}

func observe(t *testing.T, l *Launcher, h launch.Handle) launch.Observation {
	t.Helper()
	seen, err := l.Describe(t.Context(), []launch.Handle{h})
	if err != nil || len(seen) != 1 {
		t.Fatalf("Describe = %v, %v", seen, err)
	}
	return seen[0]
}

// lines is an output writer that tells when a line has come.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	came chan struct{}
}

func newLines() *lines { return &lines{came: make(chan struct{}, 1000)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.came <- struct{}{}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) await(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(patience)
	for !strings.Contains(l.String(), want) {
		select {
		case <-l.came:
		case <-timeout:
			t.Fatalf("no %q in the output: %q", want, l.String())
		}
	}
}

func tailText(t *testing.T, l *Launcher, h launch.Handle) []string {
	t.Helper()
	tail, err := l.Tail(t.Context(), h, 100)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, line := range tail {
		text = append(text, line.Text)
	}
	return text
}

func TestEnvironmentOfAChild(t *testing.T) {
	l := newLauncher(t, Options{})
	job := newJob(`sh -c 'echo "shared=$SHARED job=$JOB unwanted=${UNWANTED-gone} own=${OWN-gone}"'`,
		launch.EnvVar{Name: "SHARED", Value: "job"}, launch.EnvVar{Name: "JOB", Value: "a b"}, launch.EnvVar{Name: "OWN", Value: "x"})
	job.Configuration["env"] = map[string]any{"UNWANTED": nil, "OWN": nil, "JOB": "a b"}
	h := mustLaunch(t, l, job)
	if exit := ended(t, l, h); exit.Kind != launch.ExitClean || *exit.Code != 0 {
		t.Fatalf("exit = %+v", exit)
	}
	want := []string{"shared=job job=a b unwanted=gone own=gone"}
	if diff := cmp.Diff(want, tailText(t, l, h)); diff != "" {
		t.Error(diff)
	}
}

func TestWorkingDirectory(t *testing.T) {
	t.Run("fresh and removed afterwards", func(t *testing.T) {
		l := newLauncher(t, Options{TempDir: t.TempDir()})
		h := mustLaunch(t, l, newJob("sh -c 'pwd; touch left-over'"))
		ended(t, l, h)
		dir := tailText(t, l, h)[0]
		if !strings.HasSuffix(dir, "prefect") {
			t.Errorf("working directory %q does not end in prefect", dir)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory was not removed: %v", err)
		}
	})
	t.Run("as configured and kept", func(t *testing.T) {
		l := newLauncher(t, Options{})
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		job := newJob("pwd")
		job.Configuration["working_dir"] = dir
		h := mustLaunch(t, l, job)
		ended(t, l, h)
		if got := tailText(t, l, h); len(got) != 1 || got[0] != dir {
			t.Errorf("ran in %q, want %q", got, dir)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	})
}

func TestStreamOutput(t *testing.T) {
	for _, stream := range []any{nil, true, false} {
		t.Run(fmt.Sprint(stream), func(t *testing.T) {
			out := newLines()
			l := newLauncher(t, Options{Output: out})
			job := newJob("sh -c 'echo one; echo two >&2; printf three'")
			job.Configuration["stream_output"] = stream
			h := mustLaunch(t, l, job)
			ended(t, l, h)
			want := "one\ntwo\nthree\n"
			if stream == false {
				want = ""
			}
			if out.String() != want {
				t.Errorf("output %q, want %q", out.String(), want)
			}
			if diff := cmp.Diff([]string{"one", "two", "three"}, tailText(t, l, h)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestExits(t *testing.T) {
	for _, tt := range []struct {
		command string
		kind    launch.ExitKind
		code    int
		message string
	}{
		{"true", launch.ExitClean, 0, "Process exited cleanly."},
		{"sh -c 'exit 7'", launch.ExitNonZero, 7, "Process exited with status code: 7. Process exited with an unexpected status code."},
		{"sh -c 'kill -9 $$'", launch.ExitNonZero, -9, "Process exited with status code: -9. Process exited due to a SIGKILL signal. Typically caused by the operating system terminating the process for exceeding memory limits, or by manual cancellation."},
	} {
		t.Run(tt.command, func(t *testing.T) {
			l := newLauncher(t, Options{})
			exit := ended(t, l, mustLaunch(t, l, newJob(tt.command)))
			if exit.Kind != tt.kind || *exit.Code != tt.code || exit.Message != tt.message {
				t.Errorf("exit = %s %d %q", exit.Kind, *exit.Code, exit.Message)
			}
			if (exit.Hint == "") != (tt.code == 0) {
				t.Errorf("hint = %q", exit.Hint)
			}
		})
	}
}

func TestLaunchingTwiceStartsOneChild(t *testing.T) {
	l := newLauncher(t, Options{})
	job := newJob("sleep 60")
	first := mustLaunch(t, l, job)
	second := mustLaunch(t, l, job)
	if first.PID != second.PID {
		t.Errorf("two children: %s and %s", first.PID, second.PID)
	}
	job.ClaimID = uuid.NewString()
	if third := mustLaunch(t, l, job); third.PID == first.PID {
		t.Error("a new claim got the old child")
	}
}

func TestStopEscalates(t *testing.T) {
	out := newLines()
	l := newLauncher(t, Options{Output: out})
	h := mustLaunch(t, l, newJob(`sh -c 'trap "echo heard" TERM; echo ready; while :; do sleep 0.05; done'`))
	out.await(t, "ready")
	if err := l.Stop(t.Context(), h, "test", 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if o := observe(t, l, h); o.Phase != launch.PhaseStopping {
		t.Errorf("phase = %s", o.Phase)
	}
	exit := ended(t, l, h)
	if exit.Kind != launch.ExitStopped || *exit.Code != -9 {
		t.Errorf("exit = %+v", exit)
	}
	if got := tailText(t, l, h); !slices.Contains(got, "heard") {
		t.Errorf("SIGTERM was not sent first: %q", got)
	}
	if err := l.Stop(t.Context(), h, "again", time.Second); err != nil {
		t.Errorf("stopping what is gone: %v", err)
	}
}

func TestStopReachesProcessesInAnotherSession(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux lets marked processes be found")
	}
	out := newLines()
	l := newLauncher(t, Options{Output: out})
	// The child dies at once of SIGTERM; what it started sits in another session.
	h := mustLaunch(t, l, newJob(`sh -c 'setsid sh -c "trap \"echo engine heard; exit 0\" TERM; echo ready; while :; do sleep 0.05; done" & wait'`))
	out.await(t, "ready")
	if err := l.Stop(t.Context(), h, "test", patience); err != nil {
		t.Fatal(err)
	}
	ended(t, l, h)
	if got := tailText(t, l, h); !slices.Contains(got, "engine heard") {
		t.Errorf("output %q", got)
	}
	if left := scan(func(m marker) bool { return m.FlowRunID == h.FlowRunID }); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAnEarlierWorkersProcessIsFound(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux lets marked processes be found")
	}
	earlier, later := newLauncher(t, Options{}), newLauncher(t, Options{})
	job := newJob("sleep 60")
	h := mustLaunch(t, earlier, job)

	found, err := later.Find(t.Context(), testPool)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(found, func(f launch.Handle) bool { return f.PID == h.PID })
	if i < 0 {
		t.Fatalf("%s is not among %v", h.PID, found)
	}
	if got := found[i]; got.FlowRunID != job.FlowRunID || got.ClaimID != job.ClaimID || got.WorkerName != "w 1" {
		t.Errorf("found = %+v", got)
	}
	if again := mustLaunch(t, later, job); again.PID != h.PID {
		t.Errorf("launched the claim again as %s", again.PID)
	}
	if o := observe(t, later, h); o.Phase != launch.PhaseRunning {
		t.Errorf("phase = %s", o.Phase)
	}
	if err := later.Stop(t.Context(), h, "test", patience); err != nil {
		t.Fatal(err)
	}
	ended(t, earlier, h)
	if o := observe(t, later, h); o.Phase != launch.PhaseStopped || o.Exit.Kind != launch.ExitStopped {
		t.Errorf("afterwards: %+v", o)
	}
}

func TestWhatCountsAsABoolean(t *testing.T) {
	for value, want := range map[any]bool{true: true, "true": true, "Yes": true, 1.0: true, "on": true, false: false, "off": false, "0": false, json.Number("0"): false} {
		if yes, ok := readBool(value); yes != want || !ok {
			t.Errorf("%v: %t, %t", value, yes, ok)
		}
	}
	if _, ok := readBool("maybe"); ok {
		t.Error("maybe is a boolean")
	}
}

func TestFailuresToStart(t *testing.T) {
	notExecutable := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(notExecutable, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, command string
		config        map[string]any
		want          string
	}{
		{"no such command", "no-such-program-anywhere", nil, "Flow run could not start: [Errno 2] No such file or directory: 'no-such-program-anywhere'"},
		{"not executable", notExecutable, nil, "Flow run could not start: [Errno 13] Permission denied: '" + notExecutable + "'"},
		{"open quote", `sh -c "x`, nil, "Flow run could not start: No closing quotation in the command "},
		{"missing directory", "true", map[string]any{"working_dir": "/no/such/dir"}, "Flow run could not start: [Errno 2] No such file or directory: '/no/such/dir'"},
		{"no directory", "true", map[string]any{"working_dir": notExecutable}, "Flow run could not start: [Errno 20] Not a directory: '" + notExecutable + "'"},
		{"wrong types", "true", map[string]any{"working_dir": 3.0, "stream_output": "maybe"}, "stream_output: true or false is needed, not maybe"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLauncher(t, Options{})
			job := newJob(tt.command)
			if tt.config != nil {
				job.Configuration = tt.config
			}
			_, err := l.Launch(context.Background(), job)
			var failure *launch.Failure
			if !errors.As(err, &failure) || failure.Kind != launch.FailurePermanent {
				t.Fatalf("err = %#v", err)
			}
			if !strings.Contains(failure.Message, tt.want) || failure.Hint == "" {
				t.Errorf("message %q, hint %q", failure.Message, failure.Hint)
			}
		})
	}
}

func TestCloseEndsChildrenWithinGrace(t *testing.T) {
	out := newLines()
	l := New(Options{Environ: os.Environ(), Output: out})
	h := mustLaunch(t, l, newJob(`sh -c 'trap "" TERM; echo ready; while :; do sleep 0.05; done'`))
	out.await(t, "ready")
	begin := time.Now()
	if err := l.Close(200 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("Close took %s", took)
	}
	if o := observe(t, l, h); o.Phase != launch.PhaseStopped || o.Exit.Kind != launch.ExitStopped {
		t.Errorf("observation = %+v", o)
	}
	if err := l.Close(0); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	_, err := l.Launch(t.Context(), newJob("true"))
	var failure *launch.Failure
	if !errors.As(err, &failure) || failure.Kind != launch.FailureCapacity {
		t.Errorf("launch after close: %v", err)
	}
}

func TestALeakedPipeDoesNotHoldTheEndBack(t *testing.T) {
	l := newLauncher(t, Options{})
	// The daemon hides from the search by dropping its mark.
	h := mustLaunch(t, l, newJob(`sh -c 'env -u FABER_LAUNCH sleep 8 & echo started'`))
	begin := time.Now()
	ended(t, l, h)
	if took := time.Since(begin); took > 7*time.Second {
		t.Errorf("the end came after %s", took)
	}
}
