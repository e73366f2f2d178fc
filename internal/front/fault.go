package front

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Where a call can be cut.
const (
	// DropRequest resets the connection before the call takes effect.
	DropRequest = "request"
	// DropReply lets the call take effect and loses the answer: the caller
	// cannot know what happened.
	DropReply = "reply"
)

// Fault is a rule: which calls it spoils, and how. Empty selectors select
// everything; of several faults that match, the oldest acts.
type Fault struct {
	ID string `json:"id,omitempty"`

	// Service and Operation as the ledger shows them.
	Service   string `json:"service,omitempty"`
	Operation string `json:"operation,omitempty"`
	// Path and Request are regular expressions over the path and the body.
	Path    string `json:"path,omitempty"`
	Request string `json:"request,omitempty"`
	// Skip lets so many matching calls through first.
	Skip int `json:"skip,omitempty"`
	// Count is how many calls are spoilt; 0 means every one.
	Count int `json:"count,omitempty"`
	// Probability is the share of matching calls that is spoilt; 0 means all.
	Probability float64 `json:"probability,omitempty"`

	// Delay comes before any other effect. "1.5s" in JSON.
	Delay Duration `json:"delay,omitzero"`
	// Status with Body and Header is answered instead of making the call. With
	// Code and Message and no Body, the error is written as the service would.
	Status  int               `json:"status,omitempty"`
	Header  map[string]string `json:"header,omitempty"`
	Body    string            `json:"body,omitempty"`
	Code    string            `json:"code,omitempty"`
	Message string            `json:"message,omitempty"`
	// Drop is DropRequest or DropReply.
	Drop string `json:"drop,omitempty"`

	// Hits counts the calls spoilt so far.
	Hits int `json:"hits"`
}

// Duration is a time.Duration that reads and prints as text in JSON.
type Duration time.Duration

// MarshalText prints the duration as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// answers reports whether the fault answers in the service's stead.
func (f Fault) answers() bool { return f.Status != 0 || f.Code != "" }

func (f Fault) check() error {
	switch {
	case f.Delay == 0 && !f.answers() && f.Drop == "":
		return errors.New("a fault needs an effect: delay, status, code or drop")
	case f.Drop != "" && f.Drop != DropRequest && f.Drop != DropReply:
		return fmt.Errorf("drop must be %q or %q, not %q", DropRequest, DropReply, f.Drop)
	case f.Drop != "" && f.answers():
		return errors.New("a call that is dropped cannot be answered as well")
	case f.Probability < 0 || f.Probability > 1:
		return fmt.Errorf("probability %v is not between 0 and 1", f.Probability)
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("status %d is none a server can answer", f.Status)
	case f.Delay < 0 || f.Skip < 0 || f.Count < 0:
		return errors.New("delay, skip and count cannot be negative")
	}
	return nil
}

// rule is a fault with its expressions compiled and its state.
type rule struct {
	Fault
	path, request *regexp.Regexp
	seen          int
}

// Faults is the table of faults. Safe for concurrent use.
type Faults struct {
	mu     sync.Mutex
	rules  []*rule
	nextID int
	rand   func() float64
}

// NewFaults returns an empty table.
func NewFaults() *Faults { return &Faults{rand: rand.Float64} }

// Add puts faults at the end of the table, all or none, and returns them with
// their ids. A fault with the id of an older one replaces it.
func (t *Faults) Add(faults ...Fault) ([]Fault, error) {
	var rules []*rule
	for i, f := range faults {
		r, err := compile(f)
		if err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
		rules = append(rules, r)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	added := []Fault{}
	for _, r := range rules {
		if r.ID == "" {
			t.nextID++
			r.ID = "fault-" + strconv.Itoa(t.nextID)
		}
		t.rules = slices.DeleteFunc(t.rules, func(old *rule) bool { return old.ID == r.ID })
		t.rules = append(t.rules, r)
		added = append(added, r.Fault)
	}
	return added, nil
}

func compile(f Fault) (*rule, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	f.Hits = 0
	path, err := regexp.Compile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	request, err := regexp.Compile(f.Request)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	return &rule{Fault: f, path: path, request: request}, nil
}

// Remove takes a fault out of the table and reports whether it was there.
func (t *Faults) Remove(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(t.rules)
	t.rules = slices.DeleteFunc(t.rules, func(r *rule) bool { return r.ID == id })
	return len(t.rules) < before
}

// Clear empties the table.
func (t *Faults) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rules = nil
}

// List returns the table as it stands.
func (t *Faults) List() []Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []Fault{}
	for _, r := range t.rules {
		list = append(list, r.Fault)
	}
	return list
}

// Take returns the fault to inject into a call, counting it as a hit.
func (t *Faults) Take(op Op, path string, body []byte) (Fault, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.rules {
		if !r.matches(op, path, body) || (r.Count > 0 && r.Hits >= r.Count) {
			continue
		}
		r.seen++
		if r.seen <= r.Skip || (r.Probability > 0 && t.rand() >= r.Probability) {
			continue
		}
		r.Hits++
		return r.Fault, true
	}
	return Fault{}, false
}

func (r *rule) matches(op Op, path string, body []byte) bool {
	return (r.Service == "" || r.Service == op.Service) &&
		(r.Operation == "" || r.Operation == op.Operation) &&
		r.path.MatchString(path) && r.request.Match(body)
}

// parseFaults reads one fault or a list of them. Unknown fields are errors: a
// misspelt selector would select everything.
func parseFaults(data []byte) ([]Fault, error) {
	strict := func(v any) error {
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			return err
		}
		if d.More() {
			return errors.New("there is more than one JSON value")
		}
		return nil
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		var list []Fault
		err := strict(&list)
		return list, err
	}
	var one Fault
	if err := strict(&one); err != nil {
		return nil, err
	}
	return []Fault{one}, nil
}
