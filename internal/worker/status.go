package worker

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// loop is what is known of one loop: for health, for the status page, and for
// saying once that it fails and once that it works again.
type loop struct {
	name     string
	every    time.Duration
	rounds   int
	seen     time.Time // when it showed itself last
	due      time.Time // from when on it is waited for
	lastDone time.Time // end of the last round, good or bad
	lastGood time.Time
	failures int // in a row
	lastErr  error
	note     string
}

type loops struct {
	mu   sync.Mutex
	list []*loop
}

func (l *loops) get(name string, every time.Duration) *loop {
	i := slices.IndexFunc(l.list, func(x *loop) bool { return x.name == name })
	if i < 0 {
		l.list = append(l.list, &loop{name: name, every: every})
		i = len(l.list) - 1
	}
	if every > 0 {
		l.list[i].every = every
	}
	return l.list[i]
}

// beat says that a loop is alive where no end of a round says it: it begins, it has
// nothing to do, or a round makes progress.
func (w *Worker) beat(name string, every time.Duration) { w.rest(name, every, every) }

// rest says that a loop is going to pause, and for how long, if that is more than its
// interval. What does not show itself again some intervals later is stuck.
func (w *Worker) rest(name string, every, pause time.Duration) {
	w.loops.mu.Lock()
	defer w.loops.mu.Unlock()
	l := w.loops.get(name, every)
	l.seen = time.Now()
	l.due = l.seen.Add(max(0, pause-longest(every)))
}

// idle is beat for a loop that has nothing to do any more: that its last round
// failed says nothing of the worker now.
func (w *Worker) idle(name string, every time.Duration) {
	w.beat(name, every)
	w.loops.mu.Lock()
	defer w.loops.mu.Unlock()
	l := w.loops.get(name, every)
	l.failures, l.lastErr = 0, nil
}

// round notes the end of a loop's round and returns how many have failed in a
// row. A failure is logged when it is the first of its kind, and so is the
// recovery: a loop that fails every five seconds for an hour says two things.
func (w *Worker) round(name string, every time.Duration, err error, note string) int {
	w.loops.mu.Lock()
	defer w.loops.mu.Unlock()
	l := w.loops.get(name, every)
	l.rounds++
	l.lastDone = time.Now()
	l.seen, l.due = l.lastDone, l.lastDone
	l.note = note
	w.metrics.round(name, err)
	if err == nil {
		if l.failures > 0 {
			w.log.Info(fmt.Sprintf("The %s works again after %d failed rounds. Resetting backoff due to successful run.", name, l.failures))
			if name == syncLoopName || name == adoptLoopName {
				select {
				case w.recovered <- struct{}{}:
				default:
				}
			}
		}
		l.failures, l.lastErr, l.lastGood = 0, nil, l.lastDone
		return 0
	}
	if l.failures == 0 || l.lastErr.Error() != err.Error() && l.failures < 3 {
		w.log.Warn(fmt.Sprintf("The %s fails; it goes on trying.", name), "error", err)
	}
	l.failures, l.lastErr = l.failures+1, err
	return l.failures
}

// Polled is when the latest poll that went well was over; zero before the first.
func (w *Worker) Polled() time.Time {
	w.loops.mu.Lock()
	defer w.loops.mu.Unlock()
	return w.loops.get(pollLoopName, 0).lastGood
}

// Status describes the worker in plain words.
func (w *Worker) Status() string {
	var b strings.Builder
	fmt.Fprintf(&b, "worker %s (%s) for work pool %s\n", w.name, w.launcher.Type(), w.opts.Pool)
	if view := w.pool.Load(); view == nil {
		b.WriteString("work pool: not read yet\n")
	} else {
		fmt.Fprintf(&b, "work pool: %s, id %s, paused: %t\n", view.pool.Status, view.pool.ID, view.pool.IsPaused)
		if view.err != nil {
			fmt.Fprintf(&b, "work pool's base job template is malformed: %v\n", view.err)
		}
	}
	limit := "no limit"
	if w.opts.Limit > 0 {
		limit = fmt.Sprintf("limit %d, counting %s", w.opts.Limit, w.opts.LimitCounts)
	}
	fmt.Fprintf(&b, "flow runs in work: %d (%s); tracked infrastructure: %d; foreign: %d\n", w.slots.inUse(), limit, len(w.attempts.all()), w.attempts.foreign())
	if w.draining.Load() {
		b.WriteString("stopping\n")
	}
	w.loops.mu.Lock()
	defer w.loops.mu.Unlock()
	now := time.Now()
	for _, l := range w.loops.list {
		fmt.Fprintf(&b, "%s: every %s, %d rounds", l.name, l.every, l.rounds)
		if l.rounds > 0 {
			fmt.Fprintf(&b, ", last one %s ago", now.Sub(l.lastDone).Round(time.Second))
		} else {
			b.WriteString(", nothing to do so far")
		}
		if l.failures > 0 {
			fmt.Fprintf(&b, ", %d failed in a row: %v", l.failures, l.lastErr)
		}
		if l.note != "" {
			fmt.Fprintf(&b, ", %s", l.note)
		}
		b.WriteByte('\n')
	}
	for _, a := range w.attempts.all() {
		fmt.Fprintf(&b, "flow run %s (%s): %s\n", a.run.ID, a.run.Name, a.describe(now))
	}
	return b.String()
}

func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}
