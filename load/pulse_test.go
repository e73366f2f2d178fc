//go:build load

package load

import (
	"context"
	"math"
	"sync"
	"time"

	"faber/internal/fake/fakeaws"
)

const (
	beat = 10 * time.Millisecond
	// standstill is a pause between two beats that says more about the machine than
	// about the program: nothing in this process ran in time.
	standstill = 30 * time.Millisecond
)

// pulse finds out when this process was kept from running. A rate that is measured
// then is that of its neighbours on the machine.
type pulse struct {
	mu     sync.Mutex
	pauses [][2]time.Time
}

// beat runs until the context ends.
func (p *pulse) beat(ctx context.Context) {
	for last := time.Now(); sleep(ctx, beat); last = time.Now() {
		if now := time.Now(); now.Sub(last) > standstill {
			p.mu.Lock()
			p.pauses = append(p.pauses, [2]time.Time{last, now})
			p.mu.Unlock()
		}
	}
}

// stood is for how long the process stood still between two moments.
func (p *pulse) stood(from, to time.Time) (sum time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pause := range p.pauses {
		begin, end := pause[0], pause[1]
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		if end.After(begin) {
			sum += end.Sub(begin)
		}
	}
	return sum
}

// rates are those of the emptiest and the fullest window, in calls a second, and
// how many windows were counted of all there were.
type rates struct {
	least, most  float64 // as they were
	atLeast      float64 // in the time in which the process ran
	atMost       float64 // the time before which it stood still counted in
	counted, all int
}

// windows counts the calls in every window that begins with one of them, skip
// after the first or later, and is over before the last one. What came while the
// process stood still came at its end: a window with a standstill, or right after
// one, has calls too few or too many by as much. Where that is more than a fifth
// nothing is said.
func (p *pulse) windows(calls []fakeaws.Call, window, skip time.Duration) rates {
	out := rates{least: math.MaxFloat64, atLeast: math.MaxFloat64}
	for i, call := range calls {
		from, to := call.At, call.At.Add(window)
		if from.Before(calls[0].At.Add(skip)) || to.After(calls[len(calls)-1].At) {
			continue
		}
		out.all++
		stood := p.stood(from.Add(-time.Second), to)
		if stood > window/5 {
			continue
		}
		out.counted++
		n := 0
		for _, other := range calls[i:] {
			if !other.At.Before(to) {
				break
			}
			n++
		}
		out.least, out.most = min(out.least, float64(n)/window.Seconds()), max(out.most, float64(n)/window.Seconds())
		out.atLeast = min(out.atLeast, float64(n)/(window-stood).Seconds())
		out.atMost = max(out.atMost, float64(n)/(window+stood).Seconds())
	}
	return out
}
