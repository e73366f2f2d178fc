//go:build load

package load

import (
	"context"
	"sync"
	"time"

	"faber/internal/fake/fakeaws"
)

const (
	beat = 10 * time.Millisecond
	// standstill is a pause between two beats that says more about the machine than
	// about the program: nothing in this process ran in time.
	standstill = 100 * time.Millisecond
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

// stood is for how long the process stood still.
func (p *pulse) stood() (sum time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pause := range p.pauses {
		sum += pause[1].Sub(pause[0])
	}
	return sum
}

// still reports whether the process stood still between two moments.
func (p *pulse) still(from, to time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pause := range p.pauses {
		if pause[0].Before(to) && pause[1].After(from) {
			return true
		}
	}
	return false
}

// counts are those of the emptiest and the fullest window.
type counts struct{ least, most, counted, all int }

// windows counts the calls in every window that begins with one of them, skip
// after the first or later, is over before the last one, and in which the process
// ran all the time.
func (p *pulse) windows(calls []fakeaws.Call, window, skip time.Duration) counts {
	out := counts{least: len(calls)}
	for i, call := range calls {
		from, to := call.At, call.At.Add(window)
		if from.Before(calls[0].At.Add(skip)) || to.After(calls[len(calls)-1].At) {
			continue
		}
		out.all++
		if p.still(from.Add(-standstill), to) {
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
		out.least, out.most = min(out.least, n), max(out.most, n)
	}
	return out
}
