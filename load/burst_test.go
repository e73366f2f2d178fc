//go:build load

package load

import (
	"fmt"
	"testing"
	"time"
)

// 500 runs are due at once, in an account with the quotas that AWS publishes.
func TestBurstUnderPublishedQuotas(t *testing.T) {
	const runs = 500
	s := newStand(t)
	s.aws.PublishedQuotas()
	s.schedule(runs, func(int) time.Duration { return 0 })
	s.work(5 * time.Minute)
	took := time.Since(s.began)

	o, calls := s.outcome(), s.aws.Calls("RunTask")
	w := s.pulse.windows(calls, 5*time.Second, time.Second)
	var figures table
	figures.add("runs", "%d", runs)
	figures.add("completed / crashed on the way / with two tasks", "%d / %d / %d", o.completed, o.crashes, o.doubled)
	figures.add("all over after", "%.1f s", took.Seconds())
	figures.add("calls of RunTask, throttled", "%d, %d", len(calls), refused(calls))
	figures.add("RunTask in five seconds, after the first second", "%.1f/s to %.1f/s (standstills allowed for: %.1f/s, %.1f/s)", w.least, w.most, w.atLeast, w.atMost)
	figures.add("windows that were counted, of all", "%d, %d (the machine stood still for %.1f s in all)", w.counted, w.all, s.pulse.stood(s.began, time.Now()).Seconds())
	figures.add("longest time between two polls", "%.1f s", s.polls.longest().Seconds())
	figures.add("DescribeTasks, throttled", "%d, %d", len(s.aws.Calls("DescribeTasks")), refused(s.aws.Calls("DescribeTasks")))
	figures.add("RegisterTaskDefinition", "%d", len(s.aws.Calls("RegisterTaskDefinition")))
	figures.print(t)

	if o.completed != runs || o.crashes != 0 || o.doubled != 0 {
		t.Errorf("of %d runs: %+v", runs, o)
	}
	if w.counted < 50 {
		t.Errorf("this machine stands still too often to measure a rate: %d of %d windows count; run it on one that is less busy", w.counted, w.all)
	} else if w.atLeast < 18 || w.atMost > 20 {
		t.Errorf("between %.1f and %.1f launches a second in five seconds, want 18 to 20", w.atLeast, w.atMost)
	}
	if late := s.polls.longest(); late > 3*query {
		t.Errorf("a poll came %s after the one before", late)
	}
}

// Others use up most of the account's quota: 10 calls at once and 2 a second are
// left, and nobody told the worker.
func TestSharedAccount(t *testing.T) {
	const runs = 300
	s := newStand(t)
	s.aws.PublishedQuotas()
	s.aws.Quota("RunTask", 10, 2)
	s.schedule(runs, func(int) time.Duration { return 0 })
	s.work(10 * time.Minute)
	took := time.Since(s.began)

	o, calls := s.outcome(), s.aws.Calls("RunTask")
	var figures table
	figures.add("runs", "%d", runs)
	figures.add("completed / crashed on the way / with two tasks", "%d / %d / %d", o.completed, o.crashes, o.doubled)
	figures.add("all over after", "%.1f s (the quota alone takes %.1f s)", took.Seconds(), (runs-10)/2.0)
	figures.add("calls of RunTask, wasted", "%d, %d (%.1f %%)", len(calls), refused(calls), 100*float64(refused(calls))/float64(len(calls)))
	figures.add("longest time between two polls", "%.1f s", s.polls.longest().Seconds())
	figures.print(t)

	if o.completed != runs || o.crashes != 0 || o.doubled != 0 {
		t.Errorf("of %d runs: %+v", runs, o)
	}
	if wasted := refused(calls); wasted > runs/5 {
		t.Errorf("%d calls were wasted on %d runs", wasted, runs)
	}
	if late := s.polls.longest(); late > 3*query {
		t.Errorf("a poll came %s after the one before", late)
	}
}

// One deployment has 300 runs due, another has one, and it is the last in the
// server's list.
func TestOneDeploymentDoesNotHoldUpAnother(t *testing.T) {
	const runs, submitLimit = 300, 64
	s := newStand(t)
	s.aws.PublishedQuotas()
	for i := range runs {
		s.add(fmt.Sprint("run-", i), s.deployed[0], time.Now())
	}
	single := s.add("single", s.deployed[1], time.Now())
	s.work(5 * time.Minute)

	o, place := s.outcome(), 0
	for i, task := range s.aws.Tasks() {
		if task.FlowRunID() == single {
			place = i + 1
		}
	}
	var figures table
	figures.add("runs of the one deployment, of the other", "%d, 1", runs)
	figures.add("place of the single run among all launches", "%d", place)
	figures.print(t)

	if o.completed != runs+1 || o.crashes != 0 || o.doubled != 0 {
		t.Errorf("of %d runs: %+v", runs+1, o)
	}
	// Those that were under way before it was polled go first.
	if place == 0 || place > submitLimit+10 {
		t.Errorf("the single run was launched as number %d", place)
	}
}
