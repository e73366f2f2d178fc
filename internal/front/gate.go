// Package front is what both fronts of the local stack share: a gate that every
// call passes, with a ledger of what was called, a table of faults to inject,
// and a door to read the one and fill the other:
//
//	GET    /_front/health          200 when everything behind the front answers
//	GET    /_front/ledger          calls, oldest first (service, operation, status, path, run, fault, since, limit)
//	GET    /_front/faults          the fault table, with hits
//	POST   /_front/faults          add one fault or a list of them
//	DELETE /_front/faults[/<id>]   remove all faults, or one
//	GET    /_front/seed            what rules with a probability draw from
//	PUT    /_front/seed            draw anew: {"seed": 7}
//	GET    /_front/holds           the calls that are held, those held longest first
//	DELETE /_front/holds[/<id>]    let all of them go on, or one, or those of a fault
//	DELETE /_front/sockets         cut every open WebSocket
//
// A front stands before a server that is not ours to change. What it adds must
// look to the caller as if the real service had done it.
package front

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// IdleTimeout is how long a front keeps a connection that is not used. The servers
// behind close theirs after 5 s (Uvicorn's and Hypercorn's default), and a call that
// meets the closing would be lost.
const IdleTimeout = 4 * time.Second

// Op names a call: which service, and what was asked of it.
type Op struct {
	Service   string
	Operation string
}

// Options of a Gate. Every function but Classify may be nil.
type Options struct {
	// Name tells the fronts of one machine apart, in logs and in health.
	Name string
	// Logger receives one line per injected fault, and refused doors.
	Logger *slog.Logger
	// LedgerSize is how many calls are remembered; 0 means 4096.
	LedgerSize int
	// Classify names a call. The body is nil when it is too large to be held.
	Classify func(r *http.Request, body []byte) Op
	// Locate returns the method and the path of a call as the service behind knows
	// them; nil means those of the request.
	Locate func(r *http.Request) (method, path string)
	// Runs lists the flow runs that a call concerns; nil means RunsIn.
	Runs func(path string, body []byte) []string
	// Throttled says how the service refuses a call that comes too soon; nil means
	// 429.
	Throttled func(op Op) Fault
	// Check refuses faults that this front cannot inject.
	Check func(Fault) error
	// Changed is told that faults were added.
	Changed func()
	// Refuse writes an injected error as the service behind would write it.
	Refuse func(w http.ResponseWriter, r *http.Request, op Op, f Fault)
	// Redact turns a request body into what the ledger may keep; nil means Redact.
	Redact func(r *http.Request, op Op, body []byte) []byte
	// Probe reports whether what stands behind the front answers.
	Probe func(ctx context.Context) error
}

// Gate is the place every call of a front passes. Safe for concurrent use.
type Gate struct {
	o       Options
	ledger  *Ledger
	faults  *Faults
	holds   *Holds
	sockets *sockets
	door    *http.ServeMux
}

// maxHeldBody is the largest request body that is read ahead for the ledger,
// for rules that look into it, and for patches. Image layers and archives are
// larger and stream through unseen.
const maxHeldBody = 1 << 20

// NewGate returns a gate with an empty ledger and no faults.
func NewGate(o Options) *Gate {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Refuse == nil {
		o.Refuse = refusePlainly
	}
	if o.Redact == nil {
		o.Redact = func(_ *http.Request, _ Op, body []byte) []byte { return Redact(body) }
	}
	if o.Locate == nil {
		o.Locate = func(r *http.Request) (string, string) { return r.Method, r.URL.Path }
	}
	if o.Runs == nil {
		o.Runs = RunsIn
	}
	if o.Throttled == nil {
		o.Throttled = func(Op) Fault {
			return Fault{Status: http.StatusTooManyRequests, Code: "TooManyRequests", Message: "Rate exceeded"}
		}
	}
	g := &Gate{o: o, ledger: NewLedger(o.LedgerSize), faults: NewFaults(), holds: newHolds(), sockets: newSockets()}
	g.faults.also, g.faults.changed = o.Check, o.Changed
	g.door = g.newDoor()
	return g
}

// Ledger is what was called.
func (g *Gate) Ledger() *Ledger { return g.ledger }

// Faults is the table of faults to inject.
func (g *Gate) Faults() *Faults { return g.faults }

// Holds are the calls that are held at a break-point.
func (g *Gate) Holds() *Holds { return g.holds }

// Release lets held calls go on; see Holds.Release.
func (g *Gate) Release(id string) int { return g.holds.Release(id) }

// Close cuts the calls that are held, so that their servers can close.
func (g *Gate) Close() { g.holds.close() }

// Handle adds a front's own page to the door, below /_front/.
func (g *Gate) Handle(pattern string, handler http.HandlerFunc) { g.door.HandleFunc(pattern, handler) }

// Wrap returns a handler that serves the door and sends every other call to
// next: recorded, and spoilt where a fault matches.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, doorPath) {
			g.door.ServeHTTP(w, r)
			return
		}
		g.pass(w, r, next)
	})
}

func (g *Gate) pass(w http.ResponseWriter, r *http.Request, next http.Handler) {
	start := time.Now()
	body, err := HoldBody(r)
	if err != nil {
		// The caller went away while sending: nobody is left to answer.
		panic(http.ErrAbortHandler)
	}
	s := g.subject(r, body)
	call := Call{
		Time: start.UTC(), Service: s.Service, Operation: s.Operation, Run: first(s.Runs),
		Method: r.Method, Path: r.URL.Path, Request: LedgerBody(g.o.Redact(r, s.Op, body)),
	}
	if len(s.Runs) > 1 {
		call.Runs = s.Runs
	}
	fault, spoilt := g.faults.Take(s)
	if spoilt {
		call.Fault = fault.ID
		g.o.Logger.Info("injecting a fault", "front", g.o.Name, "fault", fault.ID, "service", s.Service, "operation", s.Operation, "run", call.Run)
	}
	entry := &Entry{ledger: g.ledger, id: g.ledger.Begin(call), fault: fault}
	r = r.WithContext(context.WithValue(r.Context(), entryKey{}, entry))
	rec := &recorder{ResponseWriter: w, sockets: g.sockets, ended: func(status int) {
		entry.settle(status)
		g.ledger.End(entry.id, status, time.Since(start))
	}}
	// Once more at the end, for the whole duration. Deferred, since a call may
	// be cut by a panic.
	defer func() { rec.ended(rec.status) }()
	if !spoilt {
		next.ServeHTTP(rec, r)
		return
	}
	g.spoil(&passage{w: rec, r: r, subject: s, entry: entry, next: next})
}

func (g *Gate) subject(r *http.Request, body []byte) Subject {
	s := Subject{Op: g.o.Classify(r, body), URLPath: r.URL.Path, Body: body}
	s.Method, s.Path = g.o.Locate(r)
	s.Runs = g.o.Runs(s.Path, body)
	return s
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// HoldBody reads the request's body ahead and puts it back, so that it can be
// looked at and still be sent on. A body that is too large, or the stream of an
// upgraded connection, is left as it was, and nil is returned.
func HoldBody(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength > maxHeldBody || r.Header.Get("Upgrade") != "" {
		return nil, nil
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, maxHeldBody+1))
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	rest := r.Body
	if len(head) > maxHeldBody {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), rest), rest}
		return nil, nil
	}
	r.Body = io.NopCloser(bytes.NewReader(head))
	return head, rest.Close()
}
