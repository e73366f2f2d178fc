package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"

	"github.com/google/uuid"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakePrefect is a Prefect API in memory, with the server's rules for states as
// far as a worker meets them.
type fakePrefect struct {
	mu      sync.Mutex
	pool    *prefect.WorkPool
	runs    map[string]*prefect.FlowRun
	order   []string
	states  map[string][]prefect.State
	workers []prefect.WorkerInfo
	gone    map[string]bool // deployments that were deleted
	vars    map[string]any  // job variables of the deployment
	polls   []time.Time
	beats   int
	// before and after a call may fail it; after means that it took effect.
	before, after func(op, id string) error
	answer        func(id string, proposed prefect.State) *prefect.OrchestrationResult
	subscriber    func(prefect.Event)
	subscribed    []string // resources, one for each subscription
}

func newFakePrefect() *fakePrefect {
	return &fakePrefect{
		pool: &prefect.WorkPool{ID: "pool-id", Name: "pool", Type: "fake", Status: "READY", BaseJobTemplate: template()},
		runs: map[string]*prefect.FlowRun{}, states: map[string][]prefect.State{}, gone: map[string]bool{},
	}
}

func template() map[string]any {
	var t map[string]any
	_ = json.Unmarshal([]byte(`{
		"job_configuration": {"command": "{{ command }}", "env": "{{ env }}", "labels": "{{ labels }}", "name": "{{ name }}", "size": "{{ size }}"},
		"variables": {"type": "object", "properties": {
			"command": {"type": "string"}, "env": {"type": "object"}, "labels": {"type": "object"},
			"name": {"type": "string"}, "size": {"type": "integer", "default": 1}}}}`), &t)
	return t
}

func (f *fakePrefect) call(op, id string, effect func() error) error {
	f.mu.Lock()
	before, after := f.before, f.after
	f.mu.Unlock()
	if before != nil {
		if err := before(op, id); err != nil {
			return err
		}
	}
	f.mu.Lock()
	err := effect()
	f.mu.Unlock()
	if err == nil && after != nil {
		err = after(op, id)
	}
	return err
}

var (
	errDown     = &prefect.StatusError{Method: "GET", Path: "/", Code: 500}
	errNotFound = &prefect.StatusError{Method: "GET", Path: "/", Code: 404}
)

// schedule adds a run that is due now.
func (f *fakePrefect) schedule(deployment string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := uuid.NewString()
	now := time.Now()
	f.runs[id] = &prefect.FlowRun{ID: id, Name: "run-" + id[:4], FlowID: "flow-id", DeploymentID: deployment, Raw: map[string]any{}}
	f.order = append(f.order, id)
	f.set(id, prefect.State{Type: prefect.StateScheduled, Name: "Scheduled", Details: prefect.StateDetails{ScheduledTime: &now}})
	return id
}

// set puts a run into a state, as whoever may. The caller holds f.mu.
func (f *fakePrefect) set(id string, s prefect.State) prefect.State {
	now := time.Now()
	s.ID, s.Timestamp = uuid.NewString(), &now
	run := f.runs[id]
	run.State, run.StateType, run.StateName = &s, s.Type, s.Name
	if s.Type == prefect.StateRunning {
		run.StartTime = &now
	}
	f.states[id] = append(f.states[id], s)
	return s
}

func (f *fakePrefect) become(id string, typ prefect.StateType, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set(id, prefect.State{Type: typ, Name: name})
}

func (f *fakePrefect) run(id string) prefect.FlowRun {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *f.runs[id]
}

func (f *fakePrefect) history(id string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for _, s := range f.states[id] {
		names = append(names, s.Name)
	}
	return names
}

func (f *fakePrefect) last(id string) prefect.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.states[id][len(f.states[id])-1]
}

func (f *fakePrefect) state(id string, i int) prefect.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.states[id][i]
}

func (f *fakePrefect) heartbeats() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.beats
}

func (f *fakePrefect) pollTimes() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.polls)
}

func (f *fakePrefect) event(e prefect.Event) {
	f.mu.Lock()
	fn := f.subscriber
	f.mu.Unlock()
	fn(e)
}

func (f *fakePrefect) ReadWorkPool(_ context.Context, name string) (pool prefect.WorkPool, err error) {
	err = f.call("ReadWorkPool", name, func() error {
		if f.pool == nil {
			return errNotFound
		}
		pool = *f.pool
		return nil
	})
	return pool, err
}

func (f *fakePrefect) CreateWorkPool(_ context.Context, name, typ string, base json.RawMessage) (pool prefect.WorkPool, err error) {
	err = f.call("CreateWorkPool", name, func() error {
		f.pool = &prefect.WorkPool{ID: "pool-id", Name: name, Type: typ, Status: "NOT_READY"}
		pool = *f.pool
		return nil
	})
	return pool, err
}

func (f *fakePrefect) SetBaseJobTemplate(_ context.Context, name string, base json.RawMessage) error {
	return f.call("SetBaseJobTemplate", name, func() error { return json.Unmarshal(base, &f.pool.BaseJobTemplate) })
}

func (f *fakePrefect) Workers(_ context.Context, name string) (workers []prefect.WorkerInfo, err error) {
	err = f.call("Workers", name, func() error { workers = slices.Clone(f.workers); return nil })
	return workers, err
}

func (f *fakePrefect) Heartbeat(_ context.Context, pool, worker string, _ time.Duration, _ []prefect.Integration) error {
	return f.call("Heartbeat", worker, func() error { f.beats++; return nil })
}

func (f *fakePrefect) GetScheduledFlowRuns(_ context.Context, pool string, _ []string, before time.Time, limit int) (due []prefect.FlowRun, err error) {
	err = f.call("GetScheduledFlowRuns", pool, func() error {
		f.polls = append(f.polls, time.Now())
		for _, id := range f.order {
			run := *f.runs[id]
			if run.StateType != prefect.StateScheduled || run.State.Details.ScheduledTime.After(before) || run.RetriesInProcess() {
				continue
			}
			run.State = nil
			due = append(due, run)
			if len(due) == limit {
				break
			}
		}
		return nil
	})
	return due, err
}

func (f *fakePrefect) FilterFlowRuns(_ context.Context, filter map[string]any) (page []prefect.FlowRun, err error) {
	err = f.call("FilterFlowRuns", "", func() error {
		var open []prefect.FlowRun
		for _, id := range f.order {
			switch run := f.runs[id]; run.StateType {
			case prefect.StatePending, prefect.StateRunning, prefect.StateCancelling:
				open = append(open, *run)
			}
		}
		offset, limit := filter["offset"].(int), filter["limit"].(int)
		page = open[min(offset, len(open)):min(offset+limit, len(open))]
		return nil
	})
	return page, err
}

func (f *fakePrefect) ReadFlowRun(_ context.Context, id string) (run prefect.FlowRun, err error) {
	err = f.call("ReadFlowRun", id, func() error {
		if f.runs[id] == nil {
			return errNotFound
		}
		run = *f.runs[id]
		return nil
	})
	return run, err
}

func (f *fakePrefect) FlowRunStates(_ context.Context, id string) (states []prefect.State, err error) {
	err = f.call("FlowRunStates", id, func() error { states = slices.Clone(f.states[id]); return nil })
	return states, err
}

func (f *fakePrefect) SetFlowRunState(_ context.Context, id string, s prefect.State, force bool) (result prefect.OrchestrationResult, err error) {
	err = f.call("SetFlowRunState/"+s.Name, id, func() error {
		if f.answer != nil {
			if given := f.answer(id, s); given != nil {
				result = *given
				return nil
			}
		}
		if f.runs[id] == nil {
			return errNotFound
		}
		result = f.orchestrate(id, s, force)
		return nil
	})
	return result, err
}

func (f *fakePrefect) orchestrate(id string, s prefect.State, force bool) prefect.OrchestrationResult {
	now := *f.runs[id].State
	refuse := func(status prefect.SetStateStatus, reason string) prefect.OrchestrationResult {
		r := prefect.OrchestrationResult{State: &now, Status: status}
		r.Details.Reason = reason
		return r
	}
	switch {
	case force:
	case now.Details.TransitionID == s.Details.TransitionID:
		return refuse(prefect.StatusReject, "This run has already made this state transition.")
	case now.Type.Final() && !(s.Type == prefect.StateScheduled && f.runs[id].DeploymentID != ""):
		return refuse(prefect.StatusAbort, "Run is already in terminal state "+string(now.Type)+".")
	case now.Type == prefect.StateCancelling && s.Type != prefect.StateCancelled:
		return refuse(prefect.StatusReject, "Cannot transition flows that are cancelling to a state other than Cancelled.")
	case s.Type == prefect.StatePending && (now.Type == prefect.StateRunning || now.Type == prefect.StatePending && (s.Name == "Pending" || s.Name == now.Name)):
		return refuse(prefect.StatusAbort, "This run is in a "+string(now.Type)+" state and cannot transition to a PENDING state.")
	}
	set := f.set(id, s)
	return prefect.OrchestrationResult{State: &set, Status: prefect.StatusAccept}
}

func (f *fakePrefect) SetInfrastructurePID(_ context.Context, id string, pid *string) error {
	return f.call("SetInfrastructurePID", id, func() error {
		f.runs[id].InfrastructurePID = ""
		if pid != nil {
			f.runs[id].InfrastructurePID = *pid
		}
		return nil
	})
}

func (f *fakePrefect) SetLabels(_ context.Context, id string, labels map[string]string) error {
	return f.call("SetLabels", id, func() error {
		all := map[string]any{}
		for name, value := range labels {
			all[name] = value
		}
		raw := maps.Clone(f.runs[id].Raw)
		raw["labels"] = all
		f.runs[id].Raw = raw
		return nil
	})
}

// AllowReschedule is how a run that retried in its process comes back to the poll.
func (f *fakePrefect) AllowReschedule(_ context.Context, run prefect.FlowRun) error {
	return f.call("AllowReschedule", run.ID, func() error {
		f.runs[run.ID].Raw = without(f.runs[run.ID].Raw, "empirical_policy")
		return nil
	})
}

// without is an object with a field less.
func without(object map[string]any, field string) map[string]any {
	less := maps.Clone(object)
	delete(less, field)
	return less
}

// keepInProcess is what the server does to a run that retries.
func (f *fakePrefect) keepInProcess(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	raw := maps.Clone(f.runs[id].Raw)
	raw["empirical_policy"] = map[string]any{"retry_type": "in_process"}
	f.runs[id].Raw = raw
}

func (f *fakePrefect) ReadFlow(_ context.Context, id string) (prefect.Flow, error) {
	return prefect.Flow{ID: id, Name: "my flow", Tags: []string{"c"}, Raw: map[string]any{"name": "my flow"}}, f.call("ReadFlow", id, func() error { return nil })
}

func (f *fakePrefect) ReadDeployment(_ context.Context, id string) (d prefect.Deployment, err error) {
	err = f.call("ReadDeployment", id, func() error {
		if f.gone[id] {
			return errNotFound
		}
		d = prefect.Deployment{ID: id, Name: "my deployment", Tags: []string{"b", "a"}, JobVariables: f.vars}
		return nil
	})
	return d, err
}

func (f *fakePrefect) BlockDocument(context.Context, string) (map[string]any, error) {
	return nil, errNotFound
}

func (f *fakePrefect) BlockDocumentByName(context.Context, string, string) (map[string]any, error) {
	return nil, errNotFound
}

func (f *fakePrefect) Variable(context.Context, string) (any, error) { return nil, errNotFound }

func (f *fakePrefect) Subscribe(ctx context.Context, filter prefect.EventFilter, fn func(prefect.Event)) error {
	f.mu.Lock()
	f.subscriber = fn
	f.subscribed = append(f.subscribed, filter.ResourceIDs...)
	f.mu.Unlock()
	<-ctx.Done()
	return nil
}

// fakeLauncher is infrastructure in memory. Its runs end when a test says so.
type fakeLauncher struct {
	api *fakePrefect

	mu       sync.Mutex
	typ      string
	byClaim  map[string]launch.Handle
	jobs     map[string]launch.Job // by pid
	seen     map[string]launch.Observation
	stops    []string
	calls    int
	hints    chan launch.Hint
	closed   bool
	describe error
	partly   bool                                 // describe fails for others than those that are asked for
	launch   func(job launch.Job, call int) error // before a launch takes effect
	started  func(pid string, job launch.Job)     // after
	cluster  string                               // what pids begin with
	place    string
	searched []launch.Pool
	tail     func(ctx context.Context) ([]launch.LogLine, error)
	onStop   func(pid string)
	onClose  func()
}

func newFakeLauncher(api *fakePrefect) *fakeLauncher {
	return &fakeLauncher{
		api: api, typ: "fake", byClaim: map[string]launch.Handle{}, jobs: map[string]launch.Job{},
		seen: map[string]launch.Observation{}, hints: make(chan launch.Hint, 100),
	}
}

func (f *fakeLauncher) Type() string { return f.typ }

func (f *fakeLauncher) DefaultBaseJobTemplate() json.RawMessage {
	data, _ := json.Marshal(template())
	return data
}

func (f *fakeLauncher) Check(job launch.Job) error {
	switch size := job.Configuration["size"].(type) {
	case float64, json.Number:
		return nil
	default:
		return fmt.Errorf("size: a number is needed, not %v", size)
	}
}

func (f *fakeLauncher) Launch(ctx context.Context, job launch.Job) (launch.Handle, error) {
	f.mu.Lock()
	f.calls++
	hook, call := f.launch, f.calls
	f.mu.Unlock()
	if hook != nil {
		if err := hook(job, call); err != nil {
			return launch.Handle{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, known := f.byClaim[job.ClaimID]; known {
		return h, nil
	}
	h := launch.Handle{
		PID: fmt.Sprintf("%spid-%d", f.cluster, len(f.byClaim)+1), FlowRunID: job.FlowRunID, ClaimID: job.ClaimID,
		WorkerName: job.WorkerName, StartedAt: time.Now(),
	}
	f.byClaim[job.ClaimID], f.jobs[h.PID] = h, job
	f.seen[h.PID] = launch.Observation{Handle: h, Phase: launch.PhaseStarting}
	if f.started != nil {
		go f.started(h.PID, job)
	}
	return h, nil
}

func (f *fakeLauncher) Describe(_ context.Context, handles []launch.Handle) (seen []launch.Observation, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.describe != nil && !f.partly {
		return nil, f.describe
	}
	for _, h := range handles {
		o, known := f.seen[h.PID]
		if !known {
			o = launch.Observation{Handle: h, Phase: launch.PhaseMissing}
		}
		seen = append(seen, o)
	}
	return seen, f.describe
}

func (f *fakeLauncher) Place(launch.Job) string { return f.place }

func (f *fakeLauncher) Find(_ context.Context, pool launch.Pool) (live []launch.Handle, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.searched = append(f.searched, pool)
	for _, o := range f.seen {
		if o.Phase != launch.PhaseStopped {
			live = append(live, o.Handle)
		}
	}
	return live, nil
}

func (f *fakeLauncher) Stop(_ context.Context, h launch.Handle, _ string, _ time.Duration) error {
	f.mu.Lock()
	f.stops = append(f.stops, h.PID)
	hook := f.onStop
	f.mu.Unlock()
	if hook != nil {
		hook(h.PID)
	}
	return nil
}

func (f *fakeLauncher) Tail(ctx context.Context, h launch.Handle, limit int) ([]launch.LogLine, error) {
	if f.tail != nil {
		return f.tail(ctx)
	}
	return []launch.LogLine{{Text: "last words of " + h.PID}}, nil
}

func (f *fakeLauncher) Hints() <-chan launch.Hint { return f.hints }

func (f *fakeLauncher) Close(time.Duration) error {
	f.mu.Lock()
	first := !f.closed
	f.closed = true
	hook := f.onClose
	f.mu.Unlock()
	if first && hook != nil {
		hook()
	}
	if first {
		close(f.hints)
	}
	return nil
}

func (f *fakeLauncher) phase(pid string, p launch.Phase) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.seen[pid]
	o.Phase = p
	f.seen[pid] = o
}

func (f *fakeLauncher) end(pid string, exit launch.Exit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.seen[pid]
	o.Phase, o.Exit = launch.PhaseStopped, &exit
	f.seen[pid] = o
}

func (f *fakeLauncher) forget(pid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.seen, pid)
}

func (f *fakeLauncher) hint(pid string) { f.hints <- launch.Hint{PID: pid} }

func (f *fakeLauncher) searches() []launch.Pool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.searched)
}

func (f *fakeLauncher) launched() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.byClaim)
}

func (f *fakeLauncher) called() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (f *fakeLauncher) stopped() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.stops)
}

func (f *fakeLauncher) allJobs() map[string]launch.Job {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.jobs)
}

func (f *fakeLauncher) claims() map[string]launch.Handle {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.byClaim)
}

// world is a worker between a fake API and a fake infrastructure.
type world struct {
	t        *testing.T
	api      *fakePrefect
	launcher *fakeLauncher
	worker   *Worker
	log      *recorder
	stop     context.CancelFunc
	ended    chan struct{}
}

// recorder keeps run logs and events.
type recorder struct {
	mu     sync.Mutex
	lines  []string
	events []prefect.Event
}

func (r *recorder) Log(_ string, _ slog.Level, _, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, message)
}

func (r *recorder) Emit(e prefect.Event) prefect.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.ID == "" {
		e.ID = uuid.NewString()
	}
	r.events = append(r.events, e)
	return e
}

func (r *recorder) has(line string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.lines, line)
}

func (r *recorder) all() []prefect.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// inWorld runs a test in a bubble of its own time. prepare may change the
// options and the fakes before the worker starts.
func inWorld(t *testing.T, prepare func(*world, *Options), test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		api := newFakePrefect()
		w := &world{t: t, api: api, launcher: newFakeLauncher(api), log: &recorder{}, ended: make(chan struct{})}
		o := Options{API: api, Launcher: w.launcher, Pool: "pool", Name: "w1", CreatePool: true, RunLog: w.log, Events: w.log}
		if prepare != nil {
			prepare(w, &o)
		}
		var err error
		if w.worker, err = New(o); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		w.stop = stop
		go func() {
			defer close(w.ended)
			if err := w.worker.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		test(w)
		stop()
		<-w.ended
	})
}

// after lets time pass and everything that falls due in it happen.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// pid is where a run's infrastructure is.
func (w *world) pid(id string) string { return w.api.run(id).InfrastructurePID }

// running schedules a run and takes it to Running.
func (w *world) running() (id, pid string) {
	w.t.Helper()
	id = w.api.schedule("deployment-id")
	w.after(15 * time.Second)
	if pid = w.pid(id); pid == "" {
		w.t.Fatalf("run was not launched: %v", w.api.history(id))
	}
	w.launcher.phase(pid, launch.PhaseRunning)
	w.api.become(id, prefect.StateRunning, "Running")
	w.after(15 * time.Second)
	return id, pid
}

func (w *world) wantHistory(id string, want ...string) {
	w.t.Helper()
	if got := w.api.history(id); !slices.Equal(got, want) {
		w.t.Errorf("history %q, want %q", got, want)
	}
}
