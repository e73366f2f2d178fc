package worker

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

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
	nextPool      string   // id of a pool that is created
}

func newFakePrefect() *fakePrefect {
	return &fakePrefect{
		pool: &prefect.WorkPool{ID: "pool-id", Name: "pool", Type: "fake", Status: "READY", BaseJobTemplate: rawJSON(template())},
		runs: map[string]*prefect.FlowRun{}, states: map[string][]prefect.State{}, gone: map[string]bool{},
	}
}

// rawJSON is a value as the API sends it.
func rawJSON(value any) json.RawMessage {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // a test wrote it
	}
	return data
}

// withCommand is the template with a fixed command.
func withCommand(command string) json.RawMessage {
	changed := template()
	changed["job_configuration"].(map[string]any)["command"] = command
	return rawJSON(changed)
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
func (f *fakePrefect) schedule(deployment string) string { return f.plan(deployment, time.Now()) }

// plan adds a run that is due at some time.
func (f *fakePrefect) plan(deployment string, due time.Time) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := uuid.NewString()
	f.runs[id] = &prefect.FlowRun{ID: id, Name: "run-" + id[:4], FlowID: "flow-id", DeploymentID: deployment, Raw: map[string]any{}}
	f.order = append(f.order, id)
	f.set(id, prefect.State{Type: prefect.StateScheduled, Name: "Scheduled", Details: prefect.StateDetails{ScheduledTime: &due}})
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

// late gives a run a newest state that it is not in, as the server does that calls a
// run Late while it is claimed. It returns the id of the state that stays.
func (f *fakePrefect) late(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	run := *f.runs[id]
	f.set(id, prefect.State{Type: prefect.StateScheduled, Name: "Late"})
	*f.runs[id] = run
	return run.State.ID
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
		id := "pool-id"
		if f.nextPool != "" {
			id = f.nextPool
		}
		f.pool = &prefect.WorkPool{ID: id, Name: name, Type: typ, Status: "NOT_READY"}
		pool = *f.pool
		return nil
	})
	return pool, err
}

func (f *fakePrefect) SetBaseJobTemplate(_ context.Context, name string, base json.RawMessage) error {
	return f.call("SetBaseJobTemplate", name, func() error { f.pool.BaseJobTemplate = base; return nil })
}

// beating are the workers as the server lists them; those ONLINE were heard of just
// now.
func (f *fakePrefect) beating() []prefect.WorkerInfo {
	now := time.Now()
	workers := slices.Clone(f.workers)
	for i := range workers {
		if workers[i].Status == "ONLINE" {
			workers[i].LastHeartbeat, workers[i].HeartbeatInterval = &now, 10
		}
	}
	return workers
}

func (f *fakePrefect) Workers(_ context.Context, name string) (workers []prefect.WorkerInfo, err error) {
	err = f.call("Workers", name, func() error { workers = f.beating(); return nil })
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
			if run.StateType == prefect.StateScheduled && !run.State.Details.ScheduledTime.After(before) && !run.RetriesInProcess() {
				due = append(due, run)
			}
		}
		slices.SortStableFunc(due, func(a, b prefect.FlowRun) int {
			return a.State.Details.ScheduledTime.Compare(*b.State.Details.ScheduledTime)
		})
		if limit == 0 {
			limit = pageSize
		}
		due = due[:min(limit, len(due))]
		for i := range due {
			due[i].State = nil
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
		d = prefect.Deployment{ID: id, Name: "my deployment", Tags: []string{"b", "a"}, JobVariables: rawJSON(f.vars)}
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
