package front

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"
)

// Call is one call as the ledger keeps it.
type Call struct {
	ID        int64     `json:"id"`
	Time      time.Time `json:"time"`
	Service   string    `json:"service"`
	Operation string    `json:"operation"`
	Method    string    `json:"method,omitempty"`
	Path      string    `json:"path,omitempty"`
	// Status is 0 while the call is under way, and when its reply was dropped.
	Status int `json:"status"`
	// Request is the body with secrets cut: JSON as it was, anything else as a string.
	Request json.RawMessage `json:"request,omitempty"`
	// Run is the flow run that the call concerns, Runs all of them if they are
	// several.
	Run  string   `json:"run,omitempty"`
	Runs []string `json:"runs,omitempty"`
	// Tasks are the ARNs of the tasks that the call started.
	Tasks []string `json:"tasks,omitempty"`
	// Effect says whether the call was carried out, whatever its caller was told.
	Effect Effect `json:"effect"`
	// Fault is the id of the fault that was injected into this call.
	Fault    string        `json:"fault,omitempty"`
	Duration time.Duration `json:"duration_ns"`
	// Done is set before the caller gets the first byte of its answer, so that
	// whoever has an answer finds it here.
	Done bool `json:"done"`
}

// Effect says whether a call was carried out by the service behind.
type Effect string

// A call has no effect when a fault kept it back, when the service refused it,
// and when it repeats one that had it. Of a call that is under way or went wrong
// in the service, nobody knows.
const (
	EffectYes     Effect = "true"
	EffectNo      Effect = "false"
	EffectUnknown Effect = "unknown"
)

// effectOf is what a status tells of a call that reached the service.
func effectOf(status int) Effect {
	switch {
	case status == 0 || status >= 500:
		return EffectUnknown
	case status >= 400:
		return EffectNo
	default:
		return EffectYes
	}
}

// Query selects calls. Zero fields select everything.
type Query struct {
	Service   string
	Operation string
	Path      string
	Status    int
	// Run selects the calls that concern a flow run.
	Run string
	// Fault selects the calls into which a fault was injected.
	Fault string
	// Since selects calls with a larger id.
	Since int64
	// Limit keeps the newest so many.
	Limit int
}

// Ledger remembers the newest calls. Safe for concurrent use.
type Ledger struct {
	mu   sync.Mutex
	ring []Call
	last int64
}

const (
	defaultLedgerSize = 4096
	maxLedgerBody     = 16 << 10
)

// NewLedger returns a ledger of so many calls; 0 means 4096.
func NewLedger(size int) *Ledger {
	if size <= 0 {
		size = defaultLedgerSize
	}
	return &Ledger{ring: make([]Call, size)}
}

// Begin records a call that is under way and returns its id, 1 being the first.
func (l *Ledger) Begin(c Call) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	c.ID = l.last
	if c.Effect == "" {
		c.Effect = EffectUnknown
	}
	l.ring[c.ID%int64(len(l.ring))] = c
	return c.ID
}

// End completes a call, unless newer ones have displaced it. It may be called
// again, to correct what was said before.
func (l *Ledger) End(id int64, status int, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.ring[id%int64(len(l.ring))]
	if c.ID == id {
		c.Status, c.Duration, c.Done = status, d, true
	}
}

// update changes a call, unless newer ones have displaced it.
func (l *Ledger) update(id int64, change func(*Call)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := &l.ring[id%int64(len(l.ring))]; c.ID == id {
		change(c)
	}
}

// Calls returns the calls that q selects, oldest first.
func (l *Ledger) Calls(q Query) []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := max(l.last-int64(len(l.ring))+1, q.Since+1, 1)
	calls := []Call{}
	for id := first; id <= l.last; id++ {
		if c := l.ring[id%int64(len(l.ring))]; q.selects(c) {
			calls = append(calls, c)
		}
	}
	if q.Limit > 0 && len(calls) > q.Limit {
		calls = calls[len(calls)-q.Limit:]
	}
	return calls
}

// Last is the id of the newest call: what a later Query gives as Since.
func (l *Ledger) Last() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (q Query) selects(c Call) bool {
	return (q.Service == "" || q.Service == c.Service) &&
		(q.Operation == "" || q.Operation == c.Operation) &&
		(q.Path == "" || q.Path == c.Path) &&
		(q.Status == 0 || q.Status == c.Status) &&
		(q.Fault == "" || q.Fault == c.Fault) &&
		(q.Run == "" || strings.EqualFold(q.Run, c.Run) || slices.Contains(c.Runs, strings.ToLower(q.Run)))
}

// LedgerBody is a redacted body in the form the ledger keeps: compact, bounded,
// and always valid JSON, since it is printed inside some.
func LedgerBody(body []byte) json.RawMessage {
	if len(body) == 0 {
		return nil
	}
	if len(body) <= maxLedgerBody && json.Valid(body) {
		var b bytes.Buffer
		if json.Compact(&b, body) == nil {
			return b.Bytes()
		}
	}
	text := string(body[:min(len(body), maxLedgerBody)])
	quoted, err := json.Marshal(text)
	if err != nil {
		return nil
	}
	return quoted
}
