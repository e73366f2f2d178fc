package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"faber/internal/fair"
	"faber/internal/launch"
)

// moments are when turns were given.
type moments struct {
	mu  sync.Mutex
	all []time.Time
}

func (m *moments) now() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, time.Now())
}

// most and least are the counts of the fullest and the emptiest window that lies
// within the moments after the first skip.
func (m *moments) counts(window, skip time.Duration) (least, most int) {
	slices.SortFunc(m.all, time.Time.Compare)
	from, last := m.all[0].Add(skip), m.all[len(m.all)-1]
	least = len(m.all)
	for _, at := range m.all {
		if at.Before(from) || at.Add(window).After(last) {
			continue
		}
		n := 0
		for _, other := range m.all {
			if !other.Before(at) && other.Before(at.Add(window)) {
				n++
			}
		}
		least, most = min(least, n), max(most, n)
	}
	return least, most
}

func TestRunTaskKeepsToAWSRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(quotas["RunTask"], newCallMetrics(nil))
		var given moments
		var all sync.WaitGroup
		for range 500 {
			all.Go(func() {
				if _, err := b.take(t.Context(), caller{}); err != nil {
					t.Error(err)
				}
				given.now()
			})
		}
		all.Wait()
		if _, most := given.counts(time.Second, 0); most > 22 { // three at once, then nineteen
			t.Errorf("%d calls in a second", most)
		}
		if least, most := given.counts(5*time.Second, 0); least < 90 || most > 100 {
			t.Errorf("between %d and %d calls in five seconds", least, most)
		}
	})
}

// account is an account's own bucket at AWS, as its documentation tells it.
type account struct {
	tokens, burst, rate float64
	at                  time.Time
}

func (a *account) takes() bool {
	now := time.Now()
	a.tokens = min(a.burst, a.tokens+now.Sub(a.at).Seconds()*a.rate)
	a.at = now
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}

// call takes turns until AWS takes the call.
func (a *account) call(ctx context.Context, b *bucket, mu *sync.Mutex, calls *int, c caller) error {
	for {
		p, err := b.take(ctx, c)
		if err != nil {
			return err
		}
		time.Sleep(30 * time.Millisecond) // on the way
		mu.Lock()
		*calls++
		taken := a.takes()
		mu.Unlock()
		time.Sleep(30 * time.Millisecond)
		if taken {
			b.accepted()
			return nil
		}
		b.throttled(p)
	}
}

// An account that is shared has a rest of its quota for this worker, and nobody
// says how much.
func TestASharedAccountIsFoundOut(t *testing.T) {
	for _, share := range []account{{burst: 10, rate: 2}, {burst: 1, rate: 2}, {burst: 10, rate: 0.5}, {burst: 50, rate: 12}} {
		t.Run(fmt.Sprintf("%g at once and %g a second", share.burst, share.rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBucket(quotas["RunTask"], newCallMetrics(nil))
				aws := share
				aws.tokens, aws.at = aws.burst, time.Now()
				began, calls := time.Now(), 0
				var mu sync.Mutex
				var all sync.WaitGroup
				for range 300 {
					all.Go(func() {
						if err := aws.call(t.Context(), b, &mu, &calls, caller{}); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				took, ideal := time.Since(began).Seconds(), (300-share.burst)/share.rate
				t.Logf("%d calls, %.0f s of at least %.0f s", calls, took, ideal)
				if calls > 300*115/100 || took > 1.35*ideal+5 {
					t.Errorf("%d calls for 300, in %.0f s where %.0f s were needed", calls, took, ideal)
				}
			})
		})
	}
}

func TestCallsUnderWayTogetherLowerTheRateOnce(t *testing.T) {
	b := newBucket(quotas["DescribeTasks"], newCallMetrics(nil))
	var permits []permit
	for range 8 {
		p, err := b.take(t.Context(), caller{})
		if err != nil {
			t.Fatal(err)
		}
		permits = append(permits, p)
	}
	for _, p := range permits {
		b.throttled(p)
	}
	if b.rate != b.quota.rate*cutTo {
		t.Errorf("the rate is %g after one moment of throttling", b.rate)
	}
}

func TestTheRateHasAFloorAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(quotas["RunTask"], newCallMetrics(nil))
		take := func() permit {
			p, err := b.take(t.Context(), caller{})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		for range 30 {
			b.throttled(take())
		}
		if b.rate != b.quota.floor {
			t.Fatalf("throttled thirty times, the rate is %g", b.rate)
		}
		began := time.Now()
		for n := 1; b.rate < b.quota.rate; n++ {
			if take(); n > 900 {
				t.Fatalf("the rate is %g after %d calls that AWS took", b.rate, n)
			}
			b.accepted()
		}
		t.Logf("the full rate is back after %s", time.Since(began))
	})
}

func TestDeploymentsAndQueuesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(quotas["RunTask"], newCallMetrics(nil))
		var mu sync.Mutex
		var order []string
		var all sync.WaitGroup
		ask := func(queue, deployment string) {
			all.Go(func() {
				if _, err := b.take(t.Context(), caller{who: fair.Who{Queue: queue, Deployment: deployment}}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, queue+"/"+deployment)
			})
			synctest.Wait()
		}
		for range 500 {
			ask("day", "big")
		}
		for i := range 50 {
			ask("day", fmt.Sprint("small", i))
		}
		ask("night", "one")
		all.Wait()
		if at := slices.Index(order, "night/one") - 3; at > 2 { // three went at once
			t.Errorf("the single run of its queue was number %d to get a turn", at)
		}
		last := 0
		for i, who := range order {
			if strings.HasPrefix(who, "day/small") {
				last = i
			}
		}
		if last > 3+1+2*50 {
			t.Errorf("the last single run of a deployment was number %d to get a turn", last)
		}
	})
}

func TestWhoGivesUpKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := quota{api: "RunTask", rate: 0.1, burst: 1, floor: 0.1}
		b := newBucket(slow, newCallMetrics(nil))
		if _, err := b.take(t.Context(), caller{}); err != nil { // takes the only one
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		var served []string
		wait := func(ticket string) {
			all.Go(func() {
				if _, err := b.take(t.Context(), caller{ticket: ticket}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				served = append(served, ticket)
			})
			synctest.Wait()
		}
		_, err := b.take(t.Context(), caller{ticket: "first", since: time.Now(), until: time.Now().Add(5 * time.Second)})
		var failure *launch.Failure
		if !errors.As(err, &failure) || failure.Kind != launch.FailureRetry || !strings.Contains(failure.Message, "AWS limits RunTask") || !strings.Contains(failure.Message, "waiting for a turn, for 5s so far, beside 0 others") {
			t.Fatalf("gave up with %v", err)
		}
		wait("second")
		wait("third")
		wait("first")
		all.Wait()
		if got := strings.Join(served, " "); got != "first second third" {
			t.Errorf("served %s", got)
		}
		if len(b.line.kept) != 0 || b.line.Len() != 0 {
			t.Errorf("left behind: %d places, %d waiting", len(b.line.kept), b.line.Len())
		}
	})
}

func TestATurnThatNobodyTakesGoesToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(quota{api: "RunTask", rate: 1, burst: 1, floor: 1}, newCallMetrics(nil))
		if _, err := b.take(t.Context(), caller{}); err != nil {
			t.Fatal(err)
		}
		// All of them end at the very moment that the next turn is given.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { _, _ = b.take(ctx, caller{}) })
		}
		all.Go(func() {
			if _, err := b.take(t.Context(), caller{}); err != nil {
				t.Error(err)
			}
		})
		began := time.Now()
		all.Wait()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the one that was left waited for %s", took)
		}
	})
}
