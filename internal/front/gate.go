// Package front is what both fronts of the local stack share: a gate that every
// call passes, with a ledger of what was called, a table of faults to inject,
// and a door to read the one and fill the other:
//
//	GET    /_front/health          200 when everything behind the front answers
//	GET    /_front/ledger          calls, oldest first (service, operation, status, path, since, limit)
//	GET    /_front/faults          the fault table, with hits
//	POST   /_front/faults          add one fault or a list of them
//	DELETE /_front/faults[/<id>]   remove all faults, or one
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
	sockets *sockets
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
	return &Gate{o: o, ledger: NewLedger(o.LedgerSize), faults: NewFaults(), sockets: newSockets()}
}

// Ledger is what was called.
func (g *Gate) Ledger() *Ledger { return g.ledger }

// Faults is the table of faults to inject.
func (g *Gate) Faults() *Faults { return g.faults }

// Wrap returns a handler that serves the door and sends every other call to
// next: recorded, and spoilt where a fault matches.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	door := g.door()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, doorPath) {
			door.ServeHTTP(w, r)
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
	op := g.o.Classify(r, body)
	call := Call{
		Time: start.UTC(), Service: op.Service, Operation: op.Operation,
		Method: r.Method, Path: r.URL.Path, Request: ledgerBody(g.o.Redact(r, op, body)),
	}
	fault, spoilt := g.faults.Take(op, r.URL.Path, body)
	if spoilt {
		call.Fault = fault.ID
		g.o.Logger.Info("injecting a fault", "front", g.o.Name, "fault", fault.ID, "service", op.Service, "operation", op.Operation)
	}
	id := g.ledger.Begin(call)
	rec := &recorder{ResponseWriter: w, sockets: g.sockets, ended: func(status int) { g.ledger.End(id, status, time.Since(start)) }}
	// Once more at the end, for the whole duration. Deferred, since a call may
	// be cut by a panic.
	defer func() { rec.ended(rec.status) }()
	if !spoilt {
		next.ServeHTTP(rec, r)
		return
	}
	g.spoil(rec, r, op, fault, next)
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
