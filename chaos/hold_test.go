//go:build chaos

package chaos

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"

	"faber/internal/front"
)

// A rule is a fault, or a break-point: one with Hold "before" holds calls before they
// take effect, one with "after" when they took effect and the answer is still out. A
// caller that dies while its call is held before the effect has made no call.
type rule struct {
	front.Fault
	Hold string `json:"hold,omitempty"`
}

// A breakpoint holds calls.
type breakpoint struct {
	rule
	operation, request, path *regexp.Regexp
	taken, held              int           // matched, and held by now
	open                     chan struct{} // closed when it is released
	armed                    bool
}

// breakpoints are those of one front.
type breakpoints struct {
	mu      sync.Mutex
	all     map[string]*breakpoint
	changed chan struct{}
}

func newBreakpoints() *breakpoints {
	return &breakpoints{all: map[string]*breakpoint{}, changed: make(chan struct{})}
}

// set puts a break-point.
func (b *breakpoints) set(r rule) error {
	if r.Hold != "before" && r.Hold != "after" {
		return fmt.Errorf(`a break-point holds "before" or "after", not %q`, r.Hold)
	}
	point := &breakpoint{rule: r, open: make(chan struct{}), armed: true}
	operation := regexp.QuoteMeta(r.Operation)
	operation = strings.NewReplacer(`\{id\}`, `[0-9a-fA-F-]{36}`, `\{name\}`, `[^/]+`).Replace(operation)
	for _, e := range []struct {
		into **regexp.Regexp
		text string
	}{{&point.operation, "^" + operation + "$"}, {&point.request, r.Request}, {&point.path, r.Path}} {
		compiled, err := regexp.Compile(e.text)
		if err != nil {
			return err
		}
		*e.into = compiled
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[r.ID] = point
	return nil
}

// release lets all that is held at a break-point go on, and holds nothing more.
func (b *breakpoints) release(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if point := b.all[id]; point != nil && point.armed {
		point.armed = false
		close(point.open)
	}
}

func (b *breakpoints) releaseAll() {
	b.mu.Lock()
	ids := []string{}
	for id := range b.all {
		ids = append(ids, id)
	}
	b.mu.Unlock()
	for _, id := range ids {
		b.release(id)
	}
}

// count is how many calls a break-point has held, and what tells of the next.
func (b *breakpoints) count(id string) (int, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if point := b.all[id]; point != nil {
		return point.held, b.changed
	}
	return 0, b.changed
}

// take finds the break-point that holds a call.
func (b *breakpoints) take(operation, path string, body []byte) *breakpoint {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, point := range b.all {
		if !point.armed || point.Count > 0 && point.taken >= point.Count {
			continue
		}
		if point.operation.MatchString(operation) && point.path.MatchString(path) && point.request.Match(body) {
			point.taken++
			if point.Hold == "before" {
				point.held++
				b.tell()
			}
			return point
		}
	}
	return nil
}

func (b *breakpoints) tell() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// wrap holds calls to next.
func (b *breakpoints) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			next.ServeHTTP(w, r)
			return
		}
		body, err := front.HoldBody(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		point := b.take(operationOf(r), r.URL.Path, body)
		switch {
		case point == nil:
			next.ServeHTTP(w, r)
		case point.Hold == "before":
			point.wait(r.Context())
			next.ServeHTTP(w, r)
		default:
			b.holdReply(w, r, point, body, next)
		}
	})
}

// wait waits until the break-point is released. The call of a caller who has gone
// meanwhile is never made.
func (p *breakpoint) wait(ctx context.Context) {
	select {
	case <-p.open:
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	}
}

// holdReply has the call take effect, whether or not the caller lives to see it.
func (b *breakpoints) holdReply(w http.ResponseWriter, r *http.Request, point *breakpoint, body []byte, next http.Handler) {
	answer := httptest.NewRecorder()
	gone := r.Clone(context.WithoutCancel(r.Context()))
	gone.Body = http.NoBody
	if body != nil {
		gone.Body = readCloser{bytes.NewReader(body)}
	}
	next.ServeHTTP(answer, gone)
	b.mu.Lock()
	point.held++
	b.tell()
	b.mu.Unlock()
	point.wait(r.Context())
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) //nolint:gosec // what the server behind answered
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// operationOf names a call: AWS's operation, or method and path of Prefect's.
func operationOf(r *http.Request) string {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return target[strings.LastIndexByte(target, '.')+1:]
	}
	return r.Method + " " + strings.TrimPrefix(r.URL.Path, "/api")
}
