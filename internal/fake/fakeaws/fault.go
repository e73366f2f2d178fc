package fakeaws

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// A Fault is what happens to a call instead of, or on top of, its answer. One
// with nothing but a Delay slows the call down.
type Fault struct {
	Status        int            // HTTP; 0 is 400
	Code, Message string         // the error; the code in AWS's own or its older SQS spelling
	Fields        map[string]any // further fields of the error
	Answer        any            // answered as a success, without any effect: JSON, or a query service's XML
	Dropped       bool           // the connection breaks, and the call has no effect
	Lost          bool           // the connection breaks, and the call has its effect
	Delay         time.Duration  // passes before anything else
	Times         int            // how many calls it is for; 0 is one, below 0 all
	When          func(Call) bool
}

// Fail has the faults happen to the next calls of an operation, in this order.
func (s *Server) Fail(op string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fault := range faults {
		if fault.Times == 0 {
			fault.Times = 1
		}
		s.faults[op] = append(s.faults[op], &fault)
	}
}

// Heal takes back all faults of an operation that are still to come.
func (s *Server) Heal(op string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faults, op)
}

func (s *Server) nextFault(call Call) *Fault {
	for _, fault := range s.faults[call.Op] {
		if fault.Times != 0 && (fault.When == nil || fault.When(call)) {
			fault.Times--
			return fault
		}
	}
	return nil
}

// before lets the fault happen that comes before a call's effect, and tells
// whether there is to be one.
func (f *Fault) before(w http.ResponseWriter, r *http.Request, call Call) bool {
	if f == nil {
		return true
	}
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return false
		}
	}
	switch {
	case f.Dropped:
		panic(http.ErrAbortHandler)
	case f.Answer != nil:
		writeAnswer(w, call, f.Answer)
	case f.Lost || f.Code == "" && f.Status == 0:
		return true
	default:
		f.write(w, call)
	}
	return false
}

func (f *Fault) write(w http.ResponseWriter, call Call) {
	status := f.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	if call.query {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, f.xml(call.Service)) //nolint:gosec // a test reads it; the caller may have gone
		return
	}
	w.Header().Set("Content-Type", call.contentType())
	kind := f.Code
	if call.Service == "sqs" {
		shape, code := sqsCodes(f.Code)
		kind = "com.amazonaws.sqs#" + shape
		w.Header().Set("X-Amzn-Query-Error", code+";Sender")
	}
	body := object{"__type": kind, "message": f.Message}
	maps.Copy(body, f.Fields)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the same
}

// xml is the error as EC2 and STS write it.
func (f *Fault) xml(service string) string {
	what := element("Code", escape(f.Code)) + element("Message", escape(f.Message))
	if service == "sts" {
		return element("ErrorResponse", element("Error", element("Type", "Sender")+what)+element("RequestId", "r"))
	}
	return element("Response", element("Errors", element("Error", what))+element("RequestID", "r"))
}

// sqsCodes returns the two names of an SQS error: that of its shape, which is in
// the body, and that of the older query API, which is in a header and is the one
// that the SDKs show.
func sqsCodes(code string) (shape, query string) {
	const old = "AWS.SimpleQueueService."
	shape = strings.TrimPrefix(code[strings.LastIndex(code, "#")+1:], old)
	switch shape {
	case "QueueDoesNotExist", "NonExistentQueue":
		return "QueueDoesNotExist", old + "NonExistentQueue"
	case "MessageNotInflight", "TooManyEntriesInBatchRequest", "EmptyBatchRequest", "BatchEntryIdsNotDistinct", "PurgeQueueInProgress":
		return shape, old + shape
	}
	return shape, strings.TrimSuffix(shape, "Exception")
}
