// Package fakeaws is an AWS that tests run against. It is fake on the wire: one
// server speaks ECS, SQS and CloudWatch Logs (JSON), EC2 and STS (query and XML),
// so that Go's and Python's SDKs are both used as they are, and a misspelt field
// cannot agree with itself. It records every call, answers with the faults a test
// injects, and its tasks live as the test scripts them or sets them by hand.
package fakeaws

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Region and Account are those of everything that the server makes up.
const (
	Region  = "eu-central-1"
	Account = "123456789012"
)

// Server is the fake AWS. It has the clusters "default" and "blue", the default
// VPC vpc-1 with subnet-a and subnet-b, and vpc-2 with subnet-c.
type Server struct {
	// URL is what AWS_ENDPOINT_URL is to be.
	URL string

	t        testing.TB
	http     *httptest.Server
	mu       sync.Mutex
	calls    []Call
	hook     func(Call)
	faults   map[string][]*Fault
	clusters map[string]bool
	families map[string][]*Definition
	tasks    []*Task
	tokens   map[string]token
	failures []Failure
	scripts  map[string]Script // by flow run; "" is for all others
	network  network
	logs     map[string][]logEvent // by group and stream
	queues   map[string]*queue
	arrived  chan struct{} // closed and replaced when a queue changes
}

// New starts a server for one test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		t:        t,
		faults:   map[string][]*Fault{},
		clusters: map[string]bool{"default": true, "blue": true},
		families: map[string][]*Definition{},
		tokens:   map[string]token{},
		scripts:  map[string]Script{},
		network:  newNetwork(),
		logs:     map[string][]logEvent{},
		queues:   map[string]*queue{},
		arrived:  make(chan struct{}),
	}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = s.http.URL
	t.Cleanup(func() {
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

// AddCluster makes RunTask and its siblings find a cluster.
func (s *Server) AddCluster(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clusters[name] = true
}

// Hook has every call given to f before it is answered, faults included. f may
// use the server.
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
	s.calls = append(s.calls, call)
	hook := s.hook
	fault := s.nextFault(call)
	s.mu.Unlock()
	if hook != nil {
		hook(call)
	}
	if !fault.before(w, r, call) {
		return
	}
	answer, refusal := s.answer(r, call)
	switch {
	case fault != nil && fault.Lost:
		panic(http.ErrAbortHandler)
	case refusal != nil:
		refusal.write(w, call)
	default:
		writeAnswer(w, call, answer)
	}
}

func writeAnswer(w http.ResponseWriter, call Call, answer any) {
	if call.query {
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, answer.(string)) // the caller may have gone
		return
	}
	w.Header().Set("Content-Type", call.contentType())
	_ = json.NewEncoder(w).Encode(answer) // the same
}

// answer performs a call.
func (s *Server) answer(r *http.Request, call Call) (any, *Fault) {
	if call.Op == "ReceiveMessage" {
		return s.receive(r.Context(), call.Body)
	}
	operations := map[string]func(object) (any, *Fault){
		"RegisterTaskDefinition": s.register, "DeregisterTaskDefinition": s.deregister, "DescribeTaskDefinition": s.describeDefinition,
		"RunTask": s.runTask, "DescribeTasks": s.describeTasks, "ListTasks": s.listTasks, "StopTask": s.stopTask,
		"DescribeVpcs": s.describeVPCs, "DescribeSubnets": s.describeSubnets, "AssumeRole": s.assumeRole,
		"GetLogEvents": s.getLogEvents,
		"GetQueueUrl":  s.getQueueURL, "DeleteMessageBatch": s.deleteMessages,
	}
	perform := operations[call.Op]
	if perform == nil {
		s.t.Errorf("fakeaws has no %s", call.Op)
		return nil, &Fault{Code: "UnknownOperationException", Message: call.Op}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return perform(call.Body)
}

// A Call is one request as it was sent.
type Call struct {
	Op     string         // e.g. RunTask
	Body   map[string]any // JSON as decoded; of the query services, the form
	Header http.Header
	At     time.Time
	Host   string // the endpoint it was sent to
	// AccessKey, Region and Service stand in the signature.
	AccessKey, Region, Service string

	query bool // the caller speaks the query form, and wants XML
}

// Calls returns the calls of the named operations, or all, oldest first.
func (s *Server) Calls(ops ...string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Call
	for _, call := range s.calls {
		if len(ops) == 0 || contains(ops, call.Op) {
			out = append(out, call)
		}
	}
	return out
}

// Bodies returns the bodies of the calls of one operation, oldest first.
func (s *Server) Bodies(op string) []map[string]any {
	var out []map[string]any
	for _, call := range s.Calls(op) {
		out = append(out, call.Body)
	}
	return out
}

func readCall(r *http.Request) (Call, error) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return Call{}, err
	}
	call := Call{Body: map[string]any{}, Header: r.Header, At: time.Now(), Host: r.Host}
	call.readScope(r.Header.Get("Authorization"))
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		call.Op = target[strings.LastIndex(target, ".")+1:]
		_ = json.Unmarshal(raw, &call.Body) // an empty body is one without fields
		return call, nil
	}
	call.query = true
	form, err := url.ParseQuery(string(raw))
	for key := range form {
		call.Body[key] = form.Get(key)
	}
	call.Op = form.Get("Action")
	return call, err
}

// readScope takes apart "AWS4-HMAC-SHA256 Credential=key/date/region/service/aws4_request, …".
func (c *Call) readScope(authorization string) {
	_, rest, _ := strings.Cut(authorization, "Credential=")
	scope, _, _ := strings.Cut(rest, ",")
	if parts := strings.Split(scope, "/"); len(parts) == 5 {
		c.AccessKey, c.Region, c.Service = parts[0], parts[2], parts[3]
	}
}

func (c *Call) contentType() string {
	if c.Service == "sqs" {
		return "application/x-amz-json-1.0"
	}
	return "application/x-amz-json-1.1"
}
