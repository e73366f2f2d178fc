package fakeaws

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strings"
	"time"
)

// A Fault is what happens to a call instead of, or on top of, its answer.
type Fault struct {
	Status        int    // HTTP; 0 is 400
	Code, Message string // the error; without a code there is none
	Lost          bool   // the call has its effect, and the connection breaks
	Delay         time.Duration
	Times         int             // how many calls it is for; 0 is one, below 0 all
	When          func(Call) bool // nil: any call of the operation
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
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			return false
		}
	}
	if f.Lost || f.Code == "" && f.Status == 0 {
		return true
	}
	f.write(w, call)
	return false
}

func (f *Fault) write(w http.ResponseWriter, call Call) {
	status := f.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	if call.query {
		writeQueryFault(w, call, status, f)
		return
	}
	w.Header().Set("Content-Type", call.contentType())
	body := object{"__type": f.Code, "message": f.Message}
	if f.Code == "ConflictException" {
		body["resourceIds"] = []string{f.Message}
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller may have gone
}

func writeQueryFault(w http.ResponseWriter, call Call, status int, f *Fault) {
	text := strings.Builder{}
	text.WriteString("<Error><Code>")
	_ = xml.EscapeText(&text, []byte(f.Code)) // a builder takes everything
	text.WriteString("</Code><Message>")
	_ = xml.EscapeText(&text, []byte(f.Message)) // the same
	text.WriteString("</Message></Error>")
	before, after := "<Response><Errors>", "</Errors><RequestID>r</RequestID></Response>"
	if call.Service == "sts" {
		before, after = "<ErrorResponse>", "<RequestId>r</RequestId></ErrorResponse>"
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(before + text.String() + after)) // the caller may have gone
}
