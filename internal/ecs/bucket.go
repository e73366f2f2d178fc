package ecs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"faber/internal/fair"
	"faber/internal/launch"
)

// bucket holds back the calls of one API to a rate. The rate falls when AWS
// throttles, and rises a little with each call that AWS takes: what an account
// has left for this worker is found by trying, at the price of few calls.
type bucket struct {
	quota   quota
	metrics *callMetrics

	mu     sync.Mutex
	rate   float64 // calls a second, as AWS seems to bear
	cuts   int     // times that the rate was lowered
	tokens float64 // calls that may be made at once
	at     time.Time
	line   waitingLine
	armed  bool // a timer serves the line
}

// permit is leave to make one call.
type permit struct {
	caller caller
	place  uint64
	cuts   int // of the bucket when it was given
}

// caller is who asks for a turn.
type caller struct {
	who fair.Who // those of different work queues and deployments take turns
	// ticket keeps the place of a caller that gave up waiting and comes back.
	ticket string
	since  time.Time // since when it has been waiting for its turns, one after the other
	until  time.Time // when it gives up; zero is never
}

const (
	// cutTo is what throttling leaves of the rate.
	cutTo = 0.7
	// A call that AWS took raises the rate by riseBy of the full one, but never by
	// more than growBy of what it is: a small rest of a quota is approached in small
	// steps. It takes some six hundred calls to come back from nothing.
	riseBy = 1.0 / 600
	growBy = 0.02
	// enough is a whole token, as far as floating point goes.
	enough = 1 - 1e-6
)

func newBucket(q quota, metrics *callMetrics) *bucket {
	return &bucket{quota: q, metrics: metrics, rate: q.rate, tokens: q.burst, at: time.Now()}
}

// take waits for a turn.
func (b *bucket) take(ctx context.Context, c caller) (permit, error) {
	began := time.Now()
	b.mu.Lock()
	w := b.line.join(c)
	b.serve()
	b.mu.Unlock()
	b.metrics.waiting.WithLabelValues(b.quota.api).Inc()
	defer b.metrics.waiting.WithLabelValues(b.quota.api).Dec()
	if err := w.wait(ctx); err != nil {
		return permit{}, b.leave(w, err)
	}
	b.metrics.waited.WithLabelValues(b.quota.api).Observe(time.Since(began).Seconds())
	return w.turn, nil
}

// leave takes out a caller that waits no longer, or gives its turn back.
func (b *bucket) leave(w *waiter, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	others := b.line.Len()
	select {
	case <-w.ready: // in the last moment
		b.tokens++
		b.line.keepPlace(w.caller, w.place)
		b.serve()
	default:
		b.line.leave(w)
		others--
	}
	if !errors.Is(err, errGaveUp) {
		return err
	}
	return &launch.Failure{
		Kind: launch.FailureRetry,
		Message: fmt.Sprintf("AWS limits %s, to %.3g a second as it is now; waiting for a turn, for %s so far, beside %d others.",
			b.quota.api, b.rate, time.Since(w.since).Round(time.Second), others),
		Hint: "The launch goes on by itself. If it takes too long: launch fewer runs at once, or ask AWS for a higher limit.",
	}
}

// giveBack returns a turn that was not used.
func (b *bucket) giveBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens++
	b.serve()
}

// accepted notes a call that AWS did not throttle, whatever else it said.
func (b *bucket) accepted() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill()
	b.rate = min(b.quota.rate, b.rate+min(b.quota.rate*riseBy, b.rate*growBy))
}

// throttled notes a call that AWS throttled. Calls that were under way together
// tell of the same moment, and lower the rate once. Whoever made it keeps its
// place in the line.
func (b *bucket) throttled(p permit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill()
	b.tokens = min(b.tokens, 0)
	b.line.keepPlace(p.caller, p.place)
	if p.cuts == b.cuts {
		b.cuts++
		b.rate = max(b.quota.floor, b.rate*cutTo)
	}
}

// refill adds the tokens of the time that has passed. While AWS grants less than
// it publishes, it also grants less at once.
func (b *bucket) refill() {
	now := time.Now()
	most := max(1, b.quota.burst*b.rate/b.quota.rate)
	b.tokens = min(most, b.tokens+now.Sub(b.at).Seconds()*b.rate)
	b.at = now
}

// serve gives turns to those who wait, as many as there are tokens, and sees to it
// that it is called again for the rest.
func (b *bucket) serve() {
	b.refill()
	for b.tokens >= enough {
		w, ok := b.line.Next()
		if !ok {
			return
		}
		b.tokens--
		w.turn = permit{caller: w.caller, place: w.place, cuts: b.cuts}
		close(w.ready)
	}
	if b.armed || b.line.Len() == 0 {
		return
	}
	b.armed = true
	after := time.Duration(math.Ceil((1 - b.tokens) / b.rate * float64(time.Second)))
	time.AfterFunc(after, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.armed = false
		b.serve()
	})
}
