package launchtest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"faber/internal/launch"
)

func discardLog(slog.Level, string) {}

func testIdentity(t *testing.T, h Harness) {
	l := start(t, h)
	if l.Type() == "" {
		t.Error("launcher has no type")
	}
	var template struct {
		JobConfiguration map[string]any `json:"job_configuration"`
		Variables        map[string]any `json:"variables"`
	}
	if err := json.Unmarshal(l.DefaultBaseJobTemplate(), &template); err != nil {
		t.Fatalf("default base job template: %v", err)
	}
	if len(template.JobConfiguration) == 0 || len(template.Variables) == 0 {
		t.Error("default base job template lacks job_configuration or variables")
	}
}

func testCheck(t *testing.T, h Harness) {
	l := start(t, h)
	if err := l.Check(h.Job(t, Script{})); err != nil {
		t.Errorf("check of a good job: %v", err)
	}
	if h.BadJob == nil {
		return
	}
	if err := l.Check(h.BadJob(t)); err == nil {
		t.Error("check of a bad job found nothing")
	}
}

func testCleanExit(t *testing.T, h Harness) {
	l := start(t, h)
	job := h.Job(t, Script{})
	exit := await(t, l, mustLaunch(t, l, job), launch.PhaseStopped).Exit
	if exit.Kind != launch.ExitClean || exit.Code == nil || *exit.Code != 0 {
		t.Errorf("exit %+v, want a clean one with code 0", exit)
	}
	if exit.At.IsZero() {
		t.Error("exit has no time")
	}
	started(t, h, job, 1)
}

func testNonZeroExit(t *testing.T, h Harness) {
	l := start(t, h)
	const code = 7
	exit := await(t, l, mustLaunch(t, l, h.Job(t, Script{Code: code})), launch.PhaseStopped).Exit
	if exit.Kind != launch.ExitNonZero || exit.Code == nil || *exit.Code != code {
		t.Errorf("exit %+v, want kind non_zero with code %d", exit, code)
	}
	if !strings.Contains(exit.Message, strconv.Itoa(code)) {
		t.Errorf("message %q does not tell the code", exit.Message)
	}
}

func testLaunchTwice(t *testing.T, h Harness) {
	l := start(t, h)
	job := h.Job(t, Script{Hold: true})
	first, second := mustLaunch(t, l, job), mustLaunch(t, l, job)
	if first.PID != second.PID {
		t.Errorf("second launch of one claim gave %q, first %q", second.PID, first.PID)
	}
	started(t, h, job, 1)
	stop(t, l, first)

	other := h.Job(t, Script{Hold: true})
	other.FlowRunID, other.Env, other.Labels = job.FlowRunID, job.Env, job.Labels
	third := mustLaunch(t, l, other)
	if third.PID == first.PID {
		t.Error("another claim of the run was given the first claim's infrastructure")
	}
	stop(t, l, third)
}

func testLaunchAfterEnd(t *testing.T, h Harness) {
	l := start(t, h)
	job := h.Job(t, Script{Code: 3})
	first := mustLaunch(t, l, job)
	await(t, l, first, launch.PhaseStopped)
	if again := mustLaunch(t, l, job); again.PID != first.PID {
		t.Errorf("launch after the end gave %q, first %q", again.PID, first.PID)
	}
	started(t, h, job, 1)
}

func testLaunchConcurrently(t *testing.T, h Harness) {
	l := start(t, h)
	job := h.Job(t, Script{Hold: true})
	const n = 8
	handles, errs := [n]launch.Handle{}, [n]error{}
	inParallel(n, func(i int) { handles[i], errs[i] = l.Launch(t.Context(), job) })
	for i := range n {
		if errs[i] != nil {
			t.Fatalf("launch %d: %v", i, errs[i])
		}
		if handles[i].PID != handles[0].PID {
			t.Errorf("launch %d gave %q, another %q", i, handles[i].PID, handles[0].PID)
		}
	}
	started(t, h, job, 1)
	stop(t, l, handles[0])
}

func testLaunchMany(t *testing.T, h Harness) {
	l := start(t, h)
	const n = 10
	jobs, handles, errs := [n]launch.Job{}, [n]launch.Handle{}, [n]error{}
	for i := range n {
		jobs[i] = h.Job(t, Script{})
	}
	inParallel(n, func(i int) { handles[i], errs[i] = l.Launch(t.Context(), jobs[i]) })
	pids := map[string]bool{}
	for i := range n {
		if errs[i] != nil {
			t.Fatalf("launch %d: %v", i, errs[i])
		}
		pids[handles[i].PID] = true
		await(t, l, handles[i], launch.PhaseStopped)
	}
	if len(pids) != n {
		t.Errorf("%d different PIDs for %d jobs", len(pids), n)
	}
}

func testUnlaunchable(t *testing.T, h Harness) {
	if h.Unlaunchable == nil {
		t.Skip("harness has no such job")
	}
	l := start(t, h)
	job := h.Unlaunchable(t)
	if err := l.Check(job); err != nil {
		t.Fatalf("check: %v", err)
	}
	_, err := l.Launch(t.Context(), job)
	if err == nil {
		t.Fatal("launched")
	}
	f := failure(t, err)
	if f.Kind != launch.FailurePermanent {
		t.Errorf("failure kind %q, want permanent", f.Kind)
	}
	if f.Hint == "" {
		t.Errorf("failure %q comes without a hint", f.Message)
	}
	started(t, h, job, 0)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Launch(ctx, job); err == nil {
		t.Error("launched under an ended context")
	}
}

func testJobUntouched(t *testing.T, h Harness) {
	l := start(t, h)
	job := h.Job(t, Script{})
	before := snapshot(job.Configuration)
	env := append([]launch.EnvVar(nil), job.Env...)
	await(t, l, mustLaunch(t, l, job), launch.PhaseStopped)
	if !sameJSON(before, snapshot(job.Configuration)) {
		t.Error("launch changed the job's configuration")
	}
	if fmt.Sprint(env) != fmt.Sprint(job.Env) {
		t.Error("launch changed the job's environment")
	}
}

func (h Harness) missing() launch.Handle {
	return launch.Handle{PID: h.MissingPID, FlowRunID: uuid.NewString(), StartedAt: time.Now()}
}

func testDescribeUnknown(t *testing.T, h Harness) {
	l := start(t, h)
	if seen := describeOne(t, l, h.missing()); seen.Phase != launch.PhaseMissing {
		t.Errorf("unknown infrastructure is %q, want missing", seen.Phase)
	}
}

func testDescribeMany(t *testing.T, h Harness) {
	l := start(t, h)
	if seen, err := l.Describe(t.Context(), nil); err != nil || len(seen) != 0 {
		t.Errorf("describe of nothing gave %v, %v", seen, err)
	}
	live := mustLaunch(t, l, h.Job(t, Script{Hold: true}))
	handles := []launch.Handle{live}
	for range 230 {
		handles = append(handles, h.missing())
	}
	seen, err := l.Describe(t.Context(), handles)
	if err != nil || len(seen) == 0 {
		t.Fatalf("describe gave %d observations, %v", len(seen), err)
	}
	for _, o := range seen {
		if missing := o.Phase == launch.PhaseMissing; missing == (o.Handle.PID == live.PID) {
			t.Errorf("%q is %q", o.Handle.PID, o.Phase)
		}
	}
	stop(t, l, live)
}

func stop(t *testing.T, l launch.Launcher, handle launch.Handle) launch.Observation {
	t.Helper()
	if err := l.Stop(t.Context(), handle, "the suite is done with it", time.Second); err != nil {
		t.Fatalf("stop: %v", err)
	}
	return await(t, l, handle, launch.PhaseStopped)
}

func testStop(t *testing.T, h Harness) {
	l := start(t, h)
	handle := mustLaunch(t, l, h.Job(t, Script{Hold: true}))
	await(t, l, handle, launch.PhaseRunning)
	exit := stop(t, l, handle).Exit
	if exit.Kind != launch.ExitStopped {
		t.Errorf("exit after stop is %q, want stopped (%s)", exit.Kind, exit.Message)
	}
	if err := l.Stop(t.Context(), handle, "once more", 0); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func testStopGone(t *testing.T, h Harness) {
	l := start(t, h)
	if err := l.Stop(t.Context(), h.missing(), "nothing there", 0); err != nil {
		t.Errorf("stop of what is not there: %v", err)
	}
}

func testFind(t *testing.T, h Harness) {
	l := start(t, h)
	job := h.Job(t, Script{Hold: true})
	handle := mustLaunch(t, l, job)
	found, err := l.Find(t.Context(), job.Pool)
	if err != nil {
		t.Fatalf("find: %v", err)
	}
	if !contains(found, handle.PID) {
		t.Fatalf("find gave %v, without %q", found, handle.PID)
	}
	for _, f := range found {
		if f.PID == handle.PID && (f.FlowRunID != job.FlowRunID || f.ClaimID != job.ClaimID || f.WorkerName != job.WorkerName) {
			t.Errorf("found %+v, launched %+v", f, handle)
		}
	}
	other := job.Pool
	other.ID, other.Name = uuid.NewString(), "another pool"
	if found, err := l.Find(t.Context(), other); err != nil || contains(found, handle.PID) {
		t.Errorf("find in another pool gave %v, %v", found, err)
	}
	stop(t, l, handle)
	if found, err := l.Find(t.Context(), job.Pool); err != nil || contains(found, handle.PID) {
		t.Errorf("find after the end gave %v, %v", found, err)
	}
}

// testStopped is for launchers that know how what nobody watched has ended.
func testStopped(t *testing.T, h Harness) {
	l := start(t, h)
	historian, ok := l.(launch.Historian)
	if !ok {
		t.Skip("the launcher remembers no ends")
	}
	job := h.Job(t, Script{Code: 3})
	handle := mustLaunch(t, l, job)
	await(t, l, handle, launch.PhaseStopped)
	seen, err := historian.Stopped(t.Context(), job.Pool, []string{uuid.NewString(), job.FlowRunID})
	if err != nil || len(seen) != 1 {
		t.Fatalf("stopped gave %v, %v", seen, err)
	}
	o := seen[0]
	if o.Handle.PID != handle.PID || o.Handle.FlowRunID != job.FlowRunID || o.Handle.ClaimID != job.ClaimID || o.Phase != launch.PhaseStopped {
		t.Errorf("stopped gave %+v of %+v", o, handle)
	}
	if o.Exit == nil || o.Exit.Kind != launch.ExitNonZero || o.Exit.Code == nil || *o.Exit.Code != 3 {
		t.Errorf("stopped says that it ended with %+v", o.Exit)
	}
	other := job.Pool
	other.ID = uuid.NewString()
	if seen, err := historian.Stopped(t.Context(), other, []string{job.FlowRunID}); err != nil || len(seen) != 0 {
		t.Errorf("stopped in another pool gave %v, %v", seen, err)
	}
}

func testTail(t *testing.T, h Harness) {
	l := start(t, h)
	if lines, err := l.Tail(t.Context(), h.missing(), 5); err != nil || len(lines) != 0 {
		t.Errorf("tail of nothing gave %d lines, %v", len(lines), err)
	}
	handle := mustLaunch(t, l, h.Job(t, Script{Lines: []string{"one", "two", "three"}}))
	await(t, l, handle, launch.PhaseStopped)
	lines, err := l.Tail(t.Context(), handle, 2)
	if err != nil {
		t.Fatalf("tail: %v", err)
	}
	if h.NoLogs {
		return
	}
	if got := texts(lines); got != "two\nthree" {
		t.Errorf("tail gave %q, want the last two lines in order", got)
	}
}

func testClose(t *testing.T, h Harness) {
	l := h.New(t)
	hints := l.Hints()
	if err := l.Close(0); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := l.Close(0); err != nil {
		t.Errorf("second close: %v", err)
	}
	if hints == nil {
		return
	}
	deadline := time.After(patience)
	for {
		select {
		case _, open := <-hints:
			if !open {
				return
			}
		case <-deadline:
			t.Fatal("hints still open after close")
		}
	}
}
