package worker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"faber/internal/launch"
)

// patience is how many intervals a part may be late before that is told.
const patience = 3

// restartAfter is how many intervals it may be late before a restart of the process
// is the best that can be done: as many as Prefect's worker may not poll.
const restartAfter = 30

// Check is one thing that a worker needs to serve flow runs, and how it is.
type Check struct {
	Name string
	// Age is the time since it was as it should be for the last time; since the
	// worker began, if it never was.
	Age     time.Duration
	Every   time.Duration // how often it should be
	Problem string        // "" when all is well
}

// Checks lists what the worker needs: each of its loops, the API, and the events of
// the infrastructure where there are any.
func (w *Worker) Checks() []Check {
	now := time.Now()
	checks := w.loops.checks(now, w.begun)
	if c, asked := w.checkAPI(now); asked {
		checks = append(checks, c)
	}
	if c, asked := w.checkHints(now); asked {
		checks = append(checks, c)
	}
	return checks
}

// Ready is nil when the pool is known, all loops go round and get answers, the API
// answers and the events of the infrastructure come in.
func (w *Worker) Ready() error {
	if w.pool.Load() == nil {
		return fmt.Errorf("work pool %q has not been read yet", w.opts.Pool)
	}
	if w.draining.Load() {
		return errors.New("worker is stopping")
	}
	var problems []string
	for _, c := range w.Checks() {
		if c.Problem != "" {
			problems = append(problems, c.Problem)
		}
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "; "))
	}
	return nil
}

// Live is nil while polls get answers. As with Prefect's worker no answer for
// thirty intervals counts as dead, unless the server asked for a pause or has not
// been reached at all yet: the watchdogs that look here were set up for that one.
func (w *Worker) Live() error {
	good := w.Polled()
	since := latest(w.begun, good, w.opts.MaintenanceUntil())
	if age := time.Since(since); age > restartAfter*w.opts.Query {
		w.log.Error(fmt.Sprintf("Worker has not polled in the last %.6f seconds and should be restarted", time.Since(latest(w.begun, good)).Seconds()))
		return fmt.Errorf("no poll for flow runs was answered in the last %s", age.Round(time.Second))
	}
	return nil
}

// Alive is Live, and that no loop has been stuck for as many of its own intervals.
// Prefect's worker cannot tell that of itself; a restart mends it.
func (w *Worker) Alive() error {
	if err := w.Live(); err != nil || w.draining.Load() {
		return err
	}
	w.loops.mu.Lock()
	defer w.loops.mu.Unlock()
	now := time.Now()
	for _, l := range w.loops.list {
		if silence := now.Sub(latest(l.due, w.opts.MaintenanceUntil())); l.every > 0 && silence > restartAfter*l.every {
			return fmt.Errorf("the %s is stuck for %s", l.name, silence.Round(time.Second))
		}
	}
	return nil
}

// checks judges each loop that has an interval.
func (l *loops) checks(now, begun time.Time) []Check {
	l.mu.Lock()
	defer l.mu.Unlock()
	var checks []Check
	for _, x := range l.list {
		if x.every <= 0 {
			continue
		}
		good := x.lastGood
		if x.failures == 0 {
			good = latest(good, x.seen) // it may have had nothing to do
		}
		c := Check{Name: x.name, Every: x.every, Age: now.Sub(latest(begun, good))}
		switch silence := now.Sub(x.due); {
		case silence > patience*x.every:
			c.Problem = fmt.Sprintf("the %s has not gone round for %s, it should every %s", x.name, now.Sub(latest(begun, x.lastDone)).Round(time.Millisecond), x.every)
		case x.failures >= patience:
			c.Problem = fmt.Sprintf("the %s has failed %d times in a row: %v", x.name, x.failures, x.lastErr)
		}
		checks = append(checks, c)
	}
	slices.SortStableFunc(checks, func(a, b Check) int { return strings.Compare(a.Name, b.Name) })
	return checks
}

// checkAPI judges whether Prefect's API answers. Somebody asks it in every interval
// of the adoption sweep, if not before.
func (w *Worker) checkAPI(now time.Time) (c Check, asked bool) {
	if w.opts.LastAnswer == nil || w.opts.RunOnce {
		return c, false
	}
	c = Check{Name: "Prefect API", Every: max(w.opts.AdoptEvery, w.opts.Query), Age: now.Sub(latest(w.begun, w.opts.LastAnswer()))}
	if c.Age > patience*c.Every {
		c.Problem = fmt.Sprintf("the Prefect API has not answered for %s", c.Age.Round(time.Millisecond))
	}
	return c, true
}

// checkHints judges whether the launcher hears of its infrastructure.
func (w *Worker) checkHints(now time.Time) (c Check, asked bool) {
	source, ok := w.launcher.(launch.Freshness)
	if !ok {
		return c, false
	}
	last, every, err := source.HintsFresh()
	if every <= 0 {
		return c, false
	}
	c = Check{Name: "infrastructure events", Every: every, Age: now.Sub(latest(w.begun, last))}
	if c.Age > patience*every {
		c.Problem = fmt.Sprintf("the infrastructure's events have not been read for %s", c.Age.Round(time.Millisecond))
		if err != nil {
			c.Problem += fmt.Sprintf(": %v", err)
		}
	}
	return c, true
}
