// Package launchtest is the suite that every launcher must pass. A launcher's
// own tests call Run with a Harness that knows how to make its infrastructure
// behave; the suite then holds the launcher to the contract of package launch.
package launchtest

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"faber/internal/launch"
)

// Script is what a launched job is to do, in order: print the lines, hold if
// told to, end with the code. A job that holds ends only by being stopped.
type Script struct {
	Lines []string
	Hold  bool
	Code  int
}

// Harness is what the suite needs to know of one kind of launcher.
type Harness struct {
	// New returns a launcher. The suite closes it.
	New func(t *testing.T) launch.Launcher

	// Job returns a job that passes Check and follows the script, with fresh
	// flow run and claim ids (NewJob gives a base). It is called after New, in
	// the same test, and each call belongs to the newest launcher.
	Job func(t *testing.T, script Script) launch.Job

	// MissingPID is a well-formed PID of infrastructure that never existed.
	MissingPID string

	// BadJob returns a job that Check must refuse. Nil skips the test.
	BadJob func(t *testing.T) launch.Job

	// Unlaunchable returns a job that passes Check and for which Launch must
	// fail for good. Nil skips the test.
	Unlaunchable func(t *testing.T) launch.Job

	// Started counts what was started for a flow run, by asking the
	// infrastructure itself. Nil leaves it to PIDs alone.
	Started func(t *testing.T, flowRunID string) int

	// NoLogs says that there is no output to read (Tail must still not fail).
	NoLogs bool
}

// patience is how long the suite waits for infrastructure to do its part. It
// is only ever spent when a test fails.
const patience = 30 * time.Second

// NewJob is a job with fresh ids and nothing configured, of the given pool.
func NewJob(t *testing.T, pool launch.Pool) launch.Job {
	t.Helper()
	id := uuid.NewString()
	return launch.Job{
		FlowRunID:     id,
		FlowRunName:   "run-" + id[:8],
		ClaimID:       uuid.NewString(),
		FlowID:        uuid.NewString(),
		DeploymentID:  uuid.NewString(),
		Pool:          pool,
		WorkerName:    "suite",
		Configuration: map[string]any{},
		Env:           []launch.EnvVar{{Name: "PREFECT__FLOW_RUN_ID", Value: id}},
		Labels:        map[string]string{"prefect.io/flow-run-id": id, "prefect.io/worker-name": "suite"},
		Log:           discardLog,
	}
}

// Run holds a launcher to the contract.
func Run(t *testing.T, h Harness) {
	tests := []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"Identity", testIdentity},
		{"CheckAcceptsAndRefuses", testCheck},
		{"CleanExit", testCleanExit},
		{"NonZeroExit", testNonZeroExit},
		{"LaunchTwiceStartsOnce", testLaunchTwice},
		{"LaunchAgainAfterTheEnd", testLaunchAfterEnd},
		{"LaunchAtOnceStartsOnce", testLaunchConcurrently},
		{"LaunchManyAtOnce", testLaunchMany},
		{"LaunchFailsForGood", testUnlaunchable},
		{"LaunchKeepsTheJobAsItIs", testJobUntouched},
		{"DescribeUnknown", testDescribeUnknown},
		{"DescribeManyAndNone", testDescribeMany},
		{"StopEndsIt", testStop},
		{"StopOfGoneIsFine", testStopGone},
		{"FindListsTheLiving", testFind},
		{"StoppedTellsTheEnds", testStopped},
		{"TailGivesTheNewest", testTail},
		{"CloseEndsHints", testClose},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, h) })
	}
}

func start(t *testing.T, h Harness) launch.Launcher {
	t.Helper()
	l := h.New(t)
	t.Cleanup(func() {
		if err := l.Close(0); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

func mustLaunch(t *testing.T, l launch.Launcher, job launch.Job) launch.Handle {
	t.Helper()
	if err := l.Check(job); err != nil {
		t.Fatalf("check: %v", err)
	}
	handle, err := l.Launch(t.Context(), job)
	if err != nil {
		t.Fatalf("launch: %v", err)
	}
	if handle.PID == "" || handle.FlowRunID != job.FlowRunID || handle.ClaimID != job.ClaimID || handle.WorkerName != job.WorkerName {
		t.Fatalf("handle %+v does not name job %s, claim %s, worker %s", handle, job.FlowRunID, job.ClaimID, job.WorkerName)
	}
	if handle.StartedAt.IsZero() {
		t.Fatal("handle has no start time")
	}
	return handle
}

func describeOne(t *testing.T, l launch.Launcher, handle launch.Handle) launch.Observation {
	t.Helper()
	seen, err := l.Describe(t.Context(), []launch.Handle{handle})
	if err != nil {
		t.Fatalf("describe: %v", err)
	}
	if len(seen) != 1 {
		t.Fatalf("describe of one handle gave %d observations", len(seen))
	}
	if seen[0].Handle.PID != handle.PID {
		t.Fatalf("observed %q, asked for %q", seen[0].Handle.PID, handle.PID)
	}
	if (seen[0].Exit != nil) != (seen[0].Phase == launch.PhaseStopped) {
		t.Fatalf("phase %q with exit %+v", seen[0].Phase, seen[0].Exit)
	}
	return seen[0]
}

// await describes the handle until it is in the phase.
func await(t *testing.T, l launch.Launcher, handle launch.Handle, phase launch.Phase) launch.Observation {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last := rank(launch.PhaseStarting)
	for {
		seen := describeOne(t, l, handle)
		if seen.Phase != launch.PhaseMissing {
			if rank(seen.Phase) < last {
				t.Fatalf("phase went back to %q", seen.Phase)
			}
			last = rank(seen.Phase)
		}
		if seen.Phase == phase {
			return seen
		}
		if seen.Phase == launch.PhaseStopped {
			t.Fatalf("stopped while waiting for %q: %+v", phase, *seen.Exit)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still %q after %s, wanted %q", seen.Phase, patience, phase)
		}
	}
}

func rank(p launch.Phase) int {
	return slices.Index([]launch.Phase{launch.PhaseStarting, launch.PhaseRunning, launch.PhaseStopping, launch.PhaseStopped}, p)
}

func started(t *testing.T, h Harness, job launch.Job, want int) {
	t.Helper()
	if h.Started == nil {
		return
	}
	if got := h.Started(t, job.FlowRunID); got != want {
		t.Errorf("%d started for the flow run, want %d", got, want)
	}
}

func failure(t *testing.T, err error) *launch.Failure {
	t.Helper()
	var f *launch.Failure
	if !errors.As(err, &f) {
		t.Fatalf("launch error is %T (%v), want *launch.Failure", err, err)
	}
	if f.Message == "" {
		t.Error("failure has no message")
	}
	return f
}

// snapshot copies JSON-like values, to see later whether they were changed.
func snapshot(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = snapshot(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = snapshot(item)
		}
		return out
	default:
		return v
	}
}

func sameJSON(a, b any) bool { return reflect.DeepEqual(a, b) }

// inParallel runs n calls at once and waits for all of them.
func inParallel(n int, call func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { call(i) })
	}
	wg.Wait()
}

func contains(handles []launch.Handle, pid string) bool {
	return slices.ContainsFunc(handles, func(h launch.Handle) bool { return h.PID == pid })
}

func texts(lines []launch.LogLine) string {
	all := make([]string, len(lines))
	for i, line := range lines {
		all[i] = line.Text
	}
	return strings.Join(all, "\n")
}
