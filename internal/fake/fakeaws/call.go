package fakeaws

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Call is one request as it was sent. It is not to be changed.
type Call struct {
	Op     string         // e.g. RunTask
	Body   map[string]any // JSON as decoded; of the query services, the form
	Header http.Header
	At     time.Time
	Host   string // the endpoint it was sent to
	// Refused says that a fault or a quota answered it with an error.
	Refused bool
	// AccessKey, Region and Service stand in the signature.
	AccessKey, Region, Service string

	query bool // the caller speaks the query form, and wants XML
}

// Calls returns the calls of the named operations, or all, oldest first. A call
// stands there from when it came in, also while it waits for its answer.
func (s *Server) Calls(ops ...string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.callsOf(ops)
}

func (s *Server) callsOf(ops []string) []Call {
	var out []Call
	for _, call := range s.calls {
		if len(ops) == 0 || slices.Contains(ops, call.Op) {
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

// Ops returns the names of all calls, oldest first.
func (s *Server) Ops() []string {
	var out []string
	for _, call := range s.Calls() {
		out = append(out, call.Op)
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
		_ = json.Unmarshal(raw, &call.Body) // what is no JSON has no fields, and is refused for that
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
