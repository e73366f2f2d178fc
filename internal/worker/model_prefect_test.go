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
	cluster  string // where the pool's template sends runs
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
			{id: "free"},
			{id: "single", limit: 1, grace: 30 * time.Second},
			{id: "pair", limit: 2, grace: 5 * time.Minute},
			{id: "timed", vars: map[string]any{variableMaxRuntime: modelMaxRuntime.Seconds()}},
			{id: "unforgiving", vars: map[string]any{variableReschedule: false, variableMaxLaunches: 2}},
		},
	}
	s.setCluster("blue")
	return s
}

// setCluster writes the pool's template anew.
func (s *modelServer) setCluster(name string) {
	s.cluster = name
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
	run.Raw = map[string]any{"id": r.ID, "name": r.Name, "state_id": r.State.ID, "labels": maps.Clone(r.labels), "empirical_policy": map[string]any{"retry_type": r.retryType}}
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
				values := stringsOf(value)
				switch part {
				case "type":
					match = append(match, func(r *modelRun) bool { return slices.Contains(values, string(r.StateType)) })
				case "name":
					match = append(match, func(r *modelRun) bool { return slices.Contains(values, r.StateName) })
				default:
					unknown = append(unknown, "state."+part)
				}
			})
		case "id":
			values := stringsOf(value)
			match = append(match, func(r *modelRun) bool { return slices.Contains(values, r.ID) })
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
	var list struct {
		Any []string `json:"any_"`
	}
	if json.Unmarshal(rawJSON(value), &list) != nil {
		return nil
	}
	return list.Any
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
