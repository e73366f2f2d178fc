// Package fakeprefect is a Prefect API in memory, spoken on the wire: just what
// a worker asks, with the answers that Prefect 3.8.8 gives. Its JSON is written
// down here a second time, so that a field misspelt by the client cannot agree
// with itself. For tests alone.
package fakeprefect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Call is one request that the server has answered.
type Call struct {
	Method string
	Path   string // below /api, escaped
	Header http.Header
	Body   json.RawMessage
	Status int
}

// Server is a Prefect API. Requests go to ServeHTTP, below /api.
type Server struct {
	mux *http.ServeMux

	mu          sync.Mutex
	calls       []Call
	changed     chan struct{} // closed and replaced after each call
	pools       []*Pool
	queues      map[string]*Queue // by pool id
	workers     map[string][]*Worker
	flows       map[string]*Flow
	deployments map[string]*Deployment
	runs        []*FlowRun
	states      map[string][]State
	blocks      []Block
	variables   map[string]Variable
	logs        []Log
	events      []json.RawMessage
	forgetful   bool // keeps no calls, logs and events
}

// New is a server with nothing in it.
func New() *Server {
	s := &Server{
		mux: http.NewServeMux(), changed: make(chan struct{}),
		queues: map[string]*Queue{}, workers: map[string][]*Worker{}, flows: map[string]*Flow{},
		deployments: map[string]*Deployment{}, states: map[string][]State{}, variables: map[string]Variable{},
	}
	s.route()
	return s
}

// now is the moment that objects are stamped with.
func (s *Server) now() Time { return Time{time.Now().UTC().Truncate(time.Microsecond)} }

// ServeHTTP answers one request and records it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/api")
	if path == "/events/in" {
		s.swallowEvents(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away; there is nobody to answer
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
	s.mux.ServeHTTP(recorder, r)

	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.forgetful {
		s.calls = append(s.calls, Call{r.Method, path, r.Header.Clone(), body, recorder.status})
	}
	s.announce()
}

// announce wakes those who wait in Until. s.mu is held.
func (s *Server) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

type statusRecorder struct {
	http.ResponseWriter

	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Calls are the requests so far, in the order in which they were answered.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Run is a flow run as it is now.
func (s *Server) Run(id string) (FlowRun, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run := s.run(id); run != nil {
		return *run, true
	}
	return FlowRun{}, false
}

// Runs are all flow runs as they are now, the oldest first.
func (s *Server) Runs() []FlowRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	runs := make([]FlowRun, len(s.runs))
	for i, run := range s.runs {
		runs[i] = *run
	}
	return runs
}

// Open counts the flow runs that are not over.
func (s *Server) Open() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, run := range s.runs {
		if !final(run.StateType) {
			n++
		}
	}
	return n
}

// States are the states that a run went through, the first one first.
func (s *Server) States(runID string) []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.states[runID])
}

// Logs are the log lines that arrived.
func (s *Server) Logs() []Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logs)
}

// Events are the events that arrived over the socket.
func (s *Server) Events() []json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Forgetful has the server keep no calls, logs and events: it may then serve for
// ever. Flow runs go by Forget.
func (s *Server) Forgetful() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetful, s.calls, s.logs, s.events = true, nil, nil, nil
}

// Forget deletes a flow run.
func (s *Server) Forget(runID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = slices.DeleteFunc(s.runs, func(r *FlowRun) bool { return r.ID == runID })
	delete(s.states, runID)
}

// Until waits until reached says so; it is asked again after each call.
func (s *Server) Until(ctx context.Context, reached func() bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if reached() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// AddPool adds a work pool with its default queue. What is not given gets a
// value: id, status, times.
func (s *Server) AddPool(p Pool) Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.addPool(p)
}

func (s *Server) addPool(p Pool) *Pool {
	now := s.now()
	s.stamp(&p.ID, &p.Created, &p.Updated)
	if p.Status == "" {
		p.Status = "NOT_READY"
	}
	if p.BaseJobTemplate == nil {
		p.BaseJobTemplate = json.RawMessage("{}")
	}
	queue := &Queue{
		ID: uuid.NewString(), Created: now, Updated: now, Name: "default", Description: "The work pool's default queue.",
		Priority: 1, WorkPoolID: p.ID, WorkPoolName: p.Name, Status: "READY",
	}
	p.DefaultQueueID = queue.ID
	s.queues[p.ID] = queue
	s.pools = append(s.pools, &p)
	return &p
}

// AddFlow adds a flow.
func (s *Server) AddFlow(f Flow) Flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamp(&f.ID, &f.Created, &f.Updated)
	f.Tags, f.Labels = orEmpty(f.Tags), orNone(f.Labels)
	s.flows[f.ID] = &f
	return f
}

// AddDeployment adds a deployment to the pool that it names.
func (s *Server) AddDeployment(d Deployment) Deployment {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamp(&d.ID, &d.Created, &d.Updated)
	pool := s.pool(d.WorkPoolName)
	d.WorkQueueName, d.WorkQueueID, d.Status = "default", pool.DefaultQueueID, "READY"
	d.Schedules, d.PullSteps, d.Tags = []any{}, []any{}, orEmpty(d.Tags)
	d.Parameters, d.ParameterSchema = orNone(d.Parameters), orNone(d.ParameterSchema)
	d.Labels = map[string]string{"prefect.flow.id": d.FlowID}
	d.JobVariables = orObject(d.JobVariables)
	d.EnforceParameterSchema = true
	s.deployments[d.ID] = &d
	return d
}

// AddRun schedules a flow run, for now unless NextScheduledStart says otherwise,
// on the pool that it names.
func (s *Server) AddRun(r FlowRun) FlowRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamp(&r.ID, &r.Created, &r.Updated)
	pool := s.pool(r.WorkPoolName)
	queue := "default"
	r.WorkPoolID, r.WorkQueueID, r.WorkQueueName = pool.ID, pool.DefaultQueueID, &queue
	r.Parameters, r.Context, r.Tags = orNone(r.Parameters), orNone(r.Context), orEmpty(r.Tags)
	r.Policy.PauseKeys = []string{}
	r.Labels = map[string]string{"prefect.flow.id": r.FlowID}
	if r.DeploymentID != nil {
		r.Labels["prefect.deployment.id"] = *r.DeploymentID
	}
	r.JobVariables = orObject(r.JobVariables)
	due := r.NextScheduledStart
	if due == nil {
		due = &r.Created
	}
	r.ExpectedStart = *due
	s.become(&r, &State{Type: "SCHEDULED", Name: "Scheduled", Details: StateDetails{ScheduledTime: due}})
	s.runs = append(s.runs, &r)
	s.announce()
	return r
}

// AddBlock adds a block document of the type with that slug.
func (s *Server) AddBlock(b Block) Block {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamp(&b.ID, &b.Created, &b.Updated)
	b.SchemaID, b.TypeID, b.TypeName = uuid.NewString(), uuid.NewString(), b.TypeSlug
	b.References = orNone(b.References)
	s.blocks = append(s.blocks, b)
	return b
}

// AddVariable adds a variable; its value is JSON.
func (s *Server) AddVariable(name string, value json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := Variable{Name: name, Value: value, Tags: []string{}}
	s.stamp(&v.ID, &v.Created, &v.Updated)
	s.variables[name] = v
}

// Become puts a run into a state, as whoever may.
func (s *Server) Become(runID, stateType, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.run(runID)
	if run == nil {
		return fmt.Errorf("no flow run %s", runID)
	}
	s.become(run, &State{Type: stateType, Name: name})
	s.announce()
	return nil
}

// stamp gives an object what every object has.
func (s *Server) stamp(id *string, created, updated *Time) {
	if *id == "" {
		*id = uuid.NewString()
	}
	if created.IsZero() {
		*created = s.now()
	}
	if updated.IsZero() {
		*updated = *created
	}
}

func (s *Server) pool(name string) *Pool {
	for _, p := range s.pools {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (s *Server) run(id string) *FlowRun {
	for _, r := range s.runs {
		if r.ID == id {
			return r
		}
	}
	return nil
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func orNone[T any](object map[string]T) map[string]T {
	if object == nil {
		return map[string]T{}
	}
	return object
}

func orObject(data json.RawMessage) json.RawMessage {
	if data == nil {
		return json.RawMessage("{}")
	}
	return data
}

func lower(s string) string { return strings.ToLower(s) }
