package worker

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"faber/internal/prefect"
)

// modelServer is a Prefect server with its rules for states, in its order:
// orchestration/core_policy.py of Prefect 3.8. It is guarded by the world's mu.
type modelServer struct {
	w        *modelWorld
	pool     prefect.WorkPool
	runs     map[string]*modelRun
	order    []string
	deployed []*modelDeployment
	leases   map[string]*modelLease
	beats    map[string]modelBeat // by worker
	names    []string             // of workers, as they came
	ids      int
}

// modelRun is a flow run.
type modelRun struct {
	prefect.FlowRun
	index      int
	deployment *modelDeployment
	states     []prefect.State
	retryType  string
	retries    int
	labels     map[string]any
	due        *time.Time
	deleted    bool
	plans      []modelPlan
	foreign    bool      // Prefect's own worker has it
	ours       bool      // a worker of ours has claimed it
	freed      time.Time // when a user scheduled it anew
	cancelled  bool      // a user has asked for its cancellation
	stuckSince time.Time // since when it is ill, as the check saw it
	told       string    // the rule that it broke
}

// modelDeployment is a deployment, with its limit on runs at a time.
type modelDeployment struct {
	id      string
	limit   int // 0 is none
	grace   time.Duration
	vars    map[string]any
	active  int
	deleted bool
}

// modelLease is a lease on a slot of a deployment.
type modelLease struct {
	deployment *modelDeployment
	expires    time.Time
}

// modelBeat is what the server knows of a worker.
type modelBeat struct {
	at    time.Time
	every time.Duration
	gap   time.Time // when a beat came late for the last time
}

// Intervals of the server's services, and what it gives at first.
const (
	modelForeman     = 15 * time.Second
	modelRepossessor = 10 * time.Second
	modelMaxRuntime  = 90 * time.Second
	modelSlotWait    = 30 * time.Second
)

func newModelServer(w *modelWorld) *modelServer {
	s := &modelServer{
		w: w, runs: map[string]*modelRun{}, leases: map[string]*modelLease{}, beats: map[string]modelBeat{},
		pool: prefect.WorkPool{ID: "pool-id", Name: "pool", Type: "fake", Status: "READY"},
		deployed: []*modelDeployment{
			{id: "free"}, {id: "single", limit: 1, grace: 30 * time.Second}, {id: "pair", limit: 2, grace: 5 * time.Minute},
			{id: "timed", vars: map[string]any{variableMaxRuntime: modelMaxRuntime.Seconds()}},
			{id: "unforgiving", vars: map[string]any{variableReschedule: false, variableMaxLaunches: 2}},
		},
	}
	s.setCluster("blue")
	return s
}

// setCluster writes the pool's template anew.
func (s *modelServer) setCluster(name string) {
	s.pool.BaseJobTemplate = rawJSON(map[string]any{
		"job_configuration": map[string]any{"command": "{{ command }}", "env": "{{ env }}", "labels": "{{ labels }}", "name": "{{ name }}", "cluster": "{{ cluster }}"},
		"variables": map[string]any{"type": "object", "properties": map[string]any{
			"command": map[string]any{"type": "string"}, "env": map[string]any{"type": "object"}, "labels": map[string]any{"type": "object"},
			"name": map[string]any{"type": "string"}, "cluster": map[string]any{"type": "string", "default": name},
		}},
	})
}

func (s *modelServer) id(kind string) string {
	s.ids++
	return fmt.Sprintf("%s-%04d", kind, s.ids)
}

// schedule adds a run.
func (s *modelServer) schedule(d *modelDeployment, due time.Time, plans []modelPlan) *modelRun {
	id := fmt.Sprintf("flow-%03d", len(s.order))
	r := &modelRun{
		FlowRun: prefect.FlowRun{ID: id, Name: id, FlowID: "the-flow", WorkPoolName: "pool"},
		index:   len(s.order), deployment: d, plans: plans, labels: map[string]any{},
	}
	if d != nil {
		r.DeploymentID = d.id
	}
	for _, p := range plans {
		if p.Kind == modelRetries || p.Kind == modelRetryDies {
			r.retries = 1
		}
	}
	s.runs[id] = r
	s.order = append(s.order, id)
	s.set(r, prefect.State{Type: prefect.StateScheduled, Name: "Scheduled", Details: prefect.StateDetails{ScheduledTime: &due}}, "user")
	return r
}

// set puts a run into a state: the server's global transforms.
func (s *modelServer) set(r *modelRun, state prefect.State, by string) *prefect.State {
	now := time.Now()
	if n := len(r.states); n > 0 && !now.After(*r.states[n-1].Timestamp) {
		now = r.states[n-1].Timestamp.Add(time.Microsecond)
	}
	from := r.StateType
	state.ID, state.Timestamp, state.Details.FlowRunID = s.id("state"), &now, r.ID
	if state.Name == "" {
		state.Name = string(state.Type[0]) + lowerASCII(string(state.Type[1:]))
	}
	r.State, r.StateType, r.StateName = &state, state.Type, state.Name
	r.states = append(r.states, state)
	r.due = nil
	switch {
	case state.Type == prefect.StateScheduled:
		r.due = state.Details.ScheduledTime
		r.foreign = false // anybody's
	case state.Type == prefect.StateRunning:
		r.RunCount++
		if r.StartTime == nil {
			r.StartTime = &now
		}
	case state.Type.Final() && r.StartTime == nil:
		r.StartTime = &now
	}
	if state.Type.Final() != from.Final() {
		r.retryType = ""
	}
	s.w.note("%s: %s %s by %s %s", short(r.ID), state.Type, state.Name, by, state.Message)
	s.w.tell(r, state)
	return &state
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// propose applies the rules to a proposed state.
func (s *modelServer) propose(r *modelRun, next prefect.State, force bool, by string) prefect.OrchestrationResult {
	s.reap()
	before := *r.State
	result, state := s.rule(r, before, &next, force)
	if state == nil {
		result.State = &before
		return result
	}
	inProcess := result.Status == prefect.StatusReject && state.Name == "AwaitingRetry"
	if holdsSlot(before.Type) && !holdsSlot(state.Type) && !inProcess {
		s.release(r, before)
	}
	result.State = s.set(r, *state, by)
	return result
}

func holdsSlot(t prefect.StateType) bool {
	return t == prefect.StatePending || t == prefect.StateRunning || t == prefect.StateCancelling
}

// rule is the verdict on a proposal and the state to be set, nil for none.
func (s *modelServer) rule(r *modelRun, now prefect.State, next *prefect.State, force bool) (prefect.OrchestrationResult, *prefect.State) {
	accept := prefect.OrchestrationResult{Status: prefect.StatusAccept}
	answer := func(status prefect.SetStateStatus, reason string, state *prefect.State) (prefect.OrchestrationResult, *prefect.State) {
		a := prefect.OrchestrationResult{Status: status}
		a.Details.Reason = reason
		return a, state
	}
	if force {
		return accept, next
	}
	if next.Details.DeploymentConcurrencyLeaseID == "" {
		next.Details.DeploymentConcurrencyLeaseID = now.Details.DeploymentConcurrencyLeaseID
	}
	switch {
	case next.Details.TransitionID != "" && now.Details.TransitionID == next.Details.TransitionID:
		return answer(prefect.StatusReject, "This run has already made this state transition.", nil)
	case now.Type.Final() && (next.Type == prefect.StateCancelling || next.Type == prefect.StatePaused || next.Type == prefect.StateCrashed):
		return answer(prefect.StatusAbort, "Run is already in terminal state "+string(now.Type)+".", nil)
	case now.Type.Final() && next.Type == prefect.StateScheduled && r.deployment == nil:
		return answer(prefect.StatusAbort, "Cannot reschedule a run without an associated deployment.", nil)
	case now.Type == prefect.StateCancelling && next.Type != prefect.StateCancelled:
		return answer(prefect.StatusReject, "Cannot transition flows that are cancelling to a state other than Cancelled.", nil)
	case next.Type == prefect.StateCancelling && (now.Type == prefect.StateScheduled && r.InfrastructurePID == "" || now.Name == "Resuming" || now.Name == "Suspended"):
		return answer(prefect.StatusReject, "No infrastructure to terminate.", &prefect.State{Type: prefect.StateCancelled})
	case next.Type == prefect.StatePending && !mayBePending(now, *next):
		return answer(prefect.StatusAbort, "This run is in a "+string(now.Type)+" state and cannot transition to a PENDING state.", nil)
	}
	if now.Type == prefect.StatePending && next.Type == prefect.StateRunning && !s.keepsSlot(r, next) {
		if first := s.runs[s.order[0]]; s.w.h.Alone && first.deployment != r.deployment {
			s.w.violate(ruleSlotLost, "%s", r.ID)
		}
		return answer(prefect.StatusReject, "Deployment concurrency limit reached after lease expiry.",
			&prefect.State{Type: prefect.StateCancelled, Message: "Deployment concurrency slot lost during provisioning - no slots available to continue execution"})
	}
	if next.Type == prefect.StatePending && !holdsSlot(now.Type) && r.deployment != nil {
		switch {
		case r.deployment.deleted:
			return answer(prefect.StatusAbort, "Deployment not found.", nil)
		case !s.takeSlot(r.deployment, next):
			at := time.Now().Add(modelSlotWait)
			return answer(prefect.StatusReject, "Deployment concurrency limit reached.",
				&prefect.State{Type: prefect.StateScheduled, Name: "AwaitingConcurrencySlot", Details: prefect.StateDetails{ScheduledTime: &at}})
		}
	}
	return s.laterRules(r, now, next)
}

// laterRules are those that come after the deployment's concurrency.
func (s *modelServer) laterRules(r *modelRun, now prefect.State, next *prefect.State) (prefect.OrchestrationResult, *prefect.State) {
	var answer prefect.OrchestrationResult
	scheduled := now.Details.ScheduledTime
	switch {
	case next.Type == prefect.StatePaused && now.Type != prefect.StateRunning,
		next.Name == "Suspended" && r.deployment == nil,
		now.Type == prefect.StatePaused && (next.Type == prefect.StatePending || next.Type == prefect.StatePaused):
		answer.Status = prefect.StatusReject
		return answer, nil
	case next.Type == prefect.StatePending && next.Details.ScheduledTime == nil && (now.Type == prefect.StateScheduled || now.Type == prefect.StatePending):
		next.Details.ScheduledTime = scheduled
	case next.Type == prefect.StateRunning && holdsTime(now.Type) && scheduled != nil && time.Until(*scheduled) > time.Second/2:
		answer.Status = prefect.StatusWait
		answer.Details.DelaySeconds = max(1, time.Until(*scheduled).Round(time.Second).Seconds())
		return answer, nil
	case now.Type == prefect.StateRunning && next.Type == prefect.StateFailed:
		if r.RunCount > r.retries {
			r.retryType = ""
			break
		}
		r.retryType = "in_process"
		at := time.Now().Add(10 * time.Second)
		answer.Status = prefect.StatusReject
		retry := prefect.State{Type: prefect.StateScheduled, Name: "AwaitingRetry", Details: prefect.StateDetails{ScheduledTime: &at}}
		retry.Details.DeploymentConcurrencyLeaseID = now.Details.DeploymentConcurrencyLeaseID
		return answer, &retry
	}
	answer.Status = prefect.StatusAccept
	return answer, next
}

func holdsTime(t prefect.StateType) bool {
	return t == prefect.StateScheduled || t == prefect.StatePending
}

// mayBePending keeps two workers from taking the same run, and lets the one that
// took it go on through named sub-states.
func mayBePending(now, next prefect.State) bool {
	switch now.Type {
	case prefect.StatePending:
		return next.Name != now.Name && next.Name != "Pending"
	case prefect.StateCancelling, prefect.StateRunning, prefect.StateCancelled:
		return false
	default:
		return true
	}
}

// takeSlot takes a slot of a deployment and puts the lease on it into the state.
func (s *modelServer) takeSlot(d *modelDeployment, next *prefect.State) bool {
	next.Details.DeploymentConcurrencyLeaseID = ""
	if d.limit == 0 {
		return true
	}
	if d.active >= d.limit {
		return false
	}
	d.active++
	id := s.id("lease")
	s.leases[id] = &modelLease{deployment: d, expires: time.Now().Add(d.grace)}
	next.Details.DeploymentConcurrencyLeaseID = id
	return true
}

// keepsSlot renews the lease of a run that begins to run, or takes a slot again if
// the lease is gone.
func (s *modelServer) keepsSlot(r *modelRun, next *prefect.State) bool {
	id := next.Details.DeploymentConcurrencyLeaseID
	if id == "" || r.deployment == nil || r.deployment.limit == 0 || r.deployment.deleted {
		return true
	}
	if l := s.leases[id]; l != nil {
		l.expires = time.Now().Add(l.deployment.grace)
		return true
	}
	return s.takeSlot(r.deployment, next)
}

// release gives the slot of a run back. Without its lease a slot is given back all
// the same, somebody else's perhaps: that is what the server does.
func (s *modelServer) release(r *modelRun, before prefect.State) {
	if r.deployment == nil || r.deployment.limit == 0 {
		return
	}
	id := before.Details.DeploymentConcurrencyLeaseID
	if id == "" {
		return
	}
	delete(s.leases, id)
	r.deployment.active = max(0, r.deployment.active-1)
}

// reap takes back the slots whose leases have expired. A process that runs renews
// its own.
func (s *modelServer) reap() {
	tick := time.Now().Truncate(modelRepossessor)
	for id, l := range s.leases {
		if l.expires.After(tick) {
			continue
		}
		if r := s.holder(id); r != nil && r.StateType != prefect.StatePending && s.w.cloud.living(r.ID) != nil {
			l.expires = time.Now().Add(5 * time.Minute)
			continue
		}
		s.w.note("lease %s has expired", id)
		delete(s.leases, id)
		l.deployment.active = max(0, l.deployment.active-1)
	}
}

func (s *modelServer) holder(lease string) *modelRun {
	for _, r := range s.runs {
		if r.State.Details.DeploymentConcurrencyLeaseID == lease {
			return r
		}
	}
	return nil
}

// scheduled are the runs that are due before a time.
func (s *modelServer) scheduled(before time.Time, limit int) []prefect.FlowRun {
	var due []*modelRun
	for _, id := range s.order {
		if r := s.runs[id]; !r.deleted && r.due != nil && !r.due.After(before) && r.retryType != "in_process" && !s.pool.IsPaused {
			due = append(due, r)
		}
	}
	slices.SortStableFunc(due, func(a, b *modelRun) int { return a.due.Compare(*b.due) })
	if limit == 0 {
		limit = pageSize
	}
	found := make([]prefect.FlowRun, 0, len(due))
	for _, r := range due[:min(limit, len(due))] {
		run := r.read()
		run.State = nil
		found = append(found, run)
	}
	return found
}

// read is a run as the API returns it.
func (r *modelRun) read() prefect.FlowRun {
	run := r.FlowRun
	state := *r.State
	run.State = &state
	run.NextScheduledStart = r.due
	run.Raw = map[string]any{"id": r.ID, "name": r.Name, "labels": maps.Clone(r.labels), "empirical_policy": map[string]any{"retry_type": r.retryType}}
	return run
}

// filter answers a flow run filter. What it does not know it must not ignore.
func (s *modelServer) filter(filter map[string]any) (page []prefect.FlowRun, err error) {
	match := []func(*modelRun) bool{func(r *modelRun) bool { return !r.deleted }}
	var unknown []string
	each(filter["flow_runs"], func(field string, value any) {
		switch field {
		case "state":
			each(value, func(part string, value any) {
				any := stringsOf(value)
				switch part {
				case "type":
					match = append(match, func(r *modelRun) bool { return slices.Contains(any, string(r.StateType)) })
				case "name":
					match = append(match, func(r *modelRun) bool { return slices.Contains(any, r.StateName) })
				default:
					unknown = append(unknown, "state."+part)
				}
			})
		case "id":
			any := stringsOf(value)
			match = append(match, func(r *modelRun) bool { return slices.Contains(any, r.ID) })
		default:
			unknown = append(unknown, field)
		}
	})
	if len(unknown) > 0 {
		s.w.violate("the model does not know a filter", "%v", unknown)
	}
	var found []prefect.FlowRun
	for _, id := range s.order {
		r := s.runs[id]
		if !slices.ContainsFunc(match, func(m func(*modelRun) bool) bool { return !m(r) }) {
			found = append(found, r.read())
		}
	}
	slices.SortFunc(found, func(a, b prefect.FlowRun) int { return -cmp.Compare(a.ID, b.ID) })
	offset, _ := filter["offset"].(int)
	limit, ok := filter["limit"].(int)
	if !ok || limit > pageSize {
		limit = pageSize
	}
	return found[min(offset, len(found)):min(offset+limit, len(found))], nil
}

func each(object any, visit func(string, any)) {
	fields, _ := object.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		visit(name, fields[name])
	}
}

// stringsOf are the values of {"any_": [...]}, whatever their Go type.
func stringsOf(value any) (all []string) {
	var any struct {
		Any []string `json:"any_"`
	}
	if json.Unmarshal(rawJSON(value), &any) != nil {
		return nil
	}
	return any.Any
}

// workers are the workers that the server knows, with the status that its foreman
// gave them at its last round.
func (s *modelServer) workers() (all []prefect.WorkerInfo) {
	tick := time.Now().Truncate(modelForeman)
	for _, name := range s.names {
		b := s.beats[name]
		info := prefect.WorkerInfo{ID: "id-of-" + name, Name: name, Status: "ONLINE", LastHeartbeat: &b.at, HeartbeatInterval: b.every.Seconds()}
		if tick.Sub(b.at) > 3*b.every {
			info.Status = "OFFLINE"
		}
		all = append(all, info)
	}
	return all
}

func (s *modelServer) beat(name string, every time.Duration) {
	if _, known := s.beats[name]; !known {
		s.names = append(s.names, name)
	}
	b := s.beats[name]
	now := time.Now()
	if !b.at.IsZero() && now.Sub(b.at) > 2*every {
		b.gap = now
	}
	b.at, b.every = now, every
	s.beats[name] = b
}
