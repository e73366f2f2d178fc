// Package fakeaws is an AWS that tests run against. It is fake on the wire: one
// server speaks ECS, SQS and CloudWatch Logs (JSON), EC2 and STS (query and XML),
// so that Go's and Python's SDKs are both used as they are, and a misspelt field
// cannot agree with itself. It is
//
//   - recording: every call is kept, with its body, its header and who signed it
//     for which region (Server.Calls, Server.Hook);
//   - fault-injecting: calls are refused, delayed, answered otherwise, or lose
//     their answer (Server.Fail);
//   - scripted: tasks live as a test says beforehand (Server.Script) or sets them
//     by hand (Task.Set), and their changes go to a queue as EventBridge would
//     send them (Server.EventsTo, Task.Tell).
//
// Whoever is tested reaches it with AWS_ENDPOINT_URL or a base endpoint of
// Server.URL, and any credentials and region. What it refuses, it refuses as AWS
// does; it knows no permissions and checks no signatures.
package fakeaws

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Region and Account are those of everything that the server makes up. It
// answers calls for other regions as well, and from the same state.
const (
	Region  = "eu-central-1"
	Account = "123456789012"
)

// Server is the fake AWS. It has the clusters "default" and "blue", the default
// VPC vpc-1 with subnet-a and subnet-b, and vpc-2 with subnet-c.
type Server struct {
	// URL is what AWS_ENDPOINT_URL is to be.
	URL string

	t          testing.TB
	http       *httptest.Server
	operations map[string]operation

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something happens
	calls   []Call
	called  int // how many calls there were
	started int // how many tasks
	// forgetful keeps nothing of what is over.
	forgetful bool
	hook      func(Call)
	faults    map[string][]*Fault

	clusters    map[string]bool
	families    map[string][]*Definition
	added       object // what AWS adds to each definition of its own accord
	tasks       []*Task
	tokens      map[string]*token
	failures    []Failure
	scripts     map[string]Script // by flow run; "" is for all others
	stopsByHand bool
	eventQueue  string // where changes of tasks are told; "" is nowhere

	network    network
	logs       map[string]map[string][]logEvent // by group and stream
	queues     map[string]*queue
	visibility time.Duration // overrides all others; 0 does not

	registrationTakes time.Duration
	registeredAt      map[string]time.Time  // by family: the latest one
	quotas            map[string]*allowance // by operation
	play              func(context.Context, *Task)
	playing           context.Context
	players           sync.WaitGroup
}

// operation performs a call. s.mu is held, but by receive.
type operation func(Call) (any, *Fault)

// New starts a server for one test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		t:        t,
		changed:  make(chan struct{}),
		faults:   map[string][]*Fault{},
		clusters: map[string]bool{"default": true, "blue": true},
		families: map[string][]*Definition{},
		tokens:   map[string]*token{},
		scripts:  map[string]Script{},
		network:  newNetwork(),
		logs:     map[string]map[string][]logEvent{},
		queues:   map[string]*queue{},

		registeredAt: map[string]time.Time{},
		quotas:       map[string]*allowance{},
	}
	playing, stopPlaying := context.WithCancel(context.Background())
	s.playing = playing
	s.operations = map[string]operation{
		"RegisterTaskDefinition": s.register, "DeregisterTaskDefinition": s.deregister,
		"DescribeTaskDefinition": s.describeDefinition, "ListTaskDefinitions": s.listDefinitions,
		"RunTask": s.runTask, "DescribeTasks": s.describeTasks, "ListTasks": s.listTasks, "StopTask": s.stopTask,
		"DescribeVpcs": s.describeVPCs, "DescribeSubnets": s.describeSubnets,
		"AssumeRole": s.assumeRole, "GetCallerIdentity": s.getCallerIdentity,
		"GetLogEvents": s.getLogEvents,
		"GetQueueUrl":  s.getQueueURL, "GetQueueAttributes": s.getQueueAttributes,
		"SendMessage": s.sendMessage, "DeleteMessage": s.deleteMessage, "DeleteMessageBatch": s.deleteMessages,
		"ChangeMessageVisibility": s.changeVisibility, "ChangeMessageVisibilityBatch": s.changeVisibilities,
	}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = s.http.URL
	t.Cleanup(func() {
		s.http.CloseClientConnections()
		s.http.Close()
		stopPlaying()
		s.players.Wait()
	})
	return s
}

// AddCluster makes RunTask and its siblings find a cluster.
func (s *Server) AddCluster(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clusters[name] = true
}

// RemoveCluster makes them find it no more.
func (s *Server) RemoveCluster(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clusters, name)
}

// Hook has every call given to f before it is answered, those with faults
// included. f may use the server.
func (s *Server) Hook(f func(Call)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = f
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	call, err := readCall(r)
	if err != nil {
		return // the caller has gone
	}
	s.mu.Lock()
	fault := s.nextFault(call)
	if fault == nil {
		fault = s.throttle(call)
	}
	call.Refused = fault != nil && (fault.Code != "" || fault.Status != 0)
	s.called++
	if !s.forgetful {
		s.calls = append(s.calls, call)
	}
	w.Header().Set("X-Amzn-Requestid", fmt.Sprintf("00000000-0000-4000-8000-%012d", s.called))
	hook := s.hook
	s.wake()
	s.mu.Unlock()
	if hook != nil {
		hook(call)
	}
	if !fault.before(w, r, call) {
		return
	}
	answer, refusal := s.perform(r, call)
	switch {
	case fault != nil && fault.Lost:
		panic(http.ErrAbortHandler)
	case refusal != nil:
		refusal.write(w, call)
	default:
		writeAnswer(w, call, answer)
	}
}

func (s *Server) perform(r *http.Request, call Call) (any, *Fault) {
	if call.Op == "ReceiveMessage" {
		return s.receive(r.Context(), call)
	}
	perform := s.operations[call.Op]
	if perform == nil {
		s.t.Errorf("fakeaws has no %s", call.Op)
		return nil, &Fault{Code: "UnknownOperationException", Message: call.Op}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.wake()
	return perform(call)
}

func writeAnswer(w http.ResponseWriter, call Call, answer any) {
	if call.query {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = fmt.Fprint(w, answer) //nolint:gosec // a test reads it; the caller may have gone
		return
	}
	w.Header().Set("Content-Type", call.contentType())
	_ = json.NewEncoder(w).Encode(answer) // the same
}

// wake has all who wait for something look again; s.mu is held.
func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}
