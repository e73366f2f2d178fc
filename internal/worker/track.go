package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

const (
	// missingAge is how long infrastructure may be unknown to its own API after
	// the start before that means anything.
	missingAge = 5 * time.Minute
	// missingGap is what must lie between two sightings of nothing.
	missingGap = 10 * time.Second
	// longestSweep bounds the interval of sweeps that get no answer: when there is one
	// again, nobody should wait for long to hear it. The launcher paces its calls.
	longestSweep = 20 * time.Second
	// describeTimeout bounds one sweep: a hung call must not end all sweeping.
	describeTimeout = 2 * time.Minute
)

// attempt is one launched flow run whose infrastructure this worker watches.
type attempt struct {
	run        prefect.FlowRun
	flow       prefect.Flow
	deployment *prefect.Deployment
	handle     launch.Handle
	lease      *lease
	submitted  prefect.Event
	deaf       bool          // its command does not listen for a cancellation
	maxRuntime time.Duration // 0 is none
	engineCode *int          // exit code that the run reported of its own process; of the report
	executed   sync.Once     // that it was executed is told
	pidSaved   atomic.Bool
	pidDone    chan struct{} // closed when nothing will write the pid any more
	ended      chan struct{} // closed when exit is set
	done       chan struct{} // closed when the end was dealt with

	mu           sync.Mutex
	phase        launch.Phase
	seen         bool // its API has known it at least once
	missingSince time.Time
	runningSince time.Time
	began        time.Time // the run itself, for its max_runtime
	exit         *launch.Exit
	cancelling   bool
	overdue      bool // it is being stopped for its max_runtime
}

func newAttempt(run prefect.FlowRun, handle launch.Handle, l *lease) *attempt {
	return &attempt{
		run: run, handle: handle, lease: l,
		pidDone: make(chan struct{}), ended: make(chan struct{}), done: make(chan struct{}),
	}
}

func (a *attempt) describe(now time.Time) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	phase := a.phase
	if phase == "" {
		phase = launch.PhaseStarting
	}
	text := fmt.Sprintf("infrastructure %s is %s, started %s ago", a.handle.PID, phase, now.Sub(a.handle.StartedAt).Round(time.Second))
	if a.cancelling {
		text += ", being cancelled"
	}
	return text
}

// attempts are all tracked launches, by flow run: the lease sees to it that
// there is one for each.
type attempts struct {
	mu      sync.Mutex
	byRun   map[string]*attempt
	outside int           // open runs of the pool that somebody else works on
	emptied chan struct{} // closed and replaced on every removal
}

func newAttempts() *attempts {
	return &attempts{byRun: make(map[string]*attempt), emptied: make(chan struct{})}
}

func (as *attempts) add(a *attempt) {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.byRun[a.run.ID] = a
}

func (as *attempts) remove(a *attempt) int {
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.byRun[a.run.ID] == a {
		delete(as.byRun, a.run.ID)
	}
	close(as.emptied)
	as.emptied = make(chan struct{})
	return len(as.byRun)
}

func (as *attempts) get(flowRunID string) *attempt {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.byRun[flowRunID]
}

func (as *attempts) all() []*attempt { return as.where(func(*attempt) bool { return true }) }

// starting are those that do not run yet, as far as is known.
func (as *attempts) starting() []*attempt {
	return as.where(func(a *attempt) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.phase != launch.PhaseRunning
	})
}

func (as *attempts) where(match func(*attempt) bool) []*attempt {
	as.mu.Lock()
	defer as.mu.Unlock()
	var found []*attempt
	for _, a := range as.byRun {
		if match(a) {
			found = append(found, a)
		}
	}
	return found
}

func (as *attempts) setForeign(n int) {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.outside = n
}

func (as *attempts) foreign() int {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.outside
}

// waitEmpty returns when nothing is tracked, or ctx ends.
func (as *attempts) waitEmpty(ctx context.Context) {
	for {
		as.mu.Lock()
		empty, change := len(as.byRun) == 0, as.emptied
		as.mu.Unlock()
		if empty {
			return
		}
		select {
		case <-change:
		case <-ctx.Done():
			return
		}
	}
}

// track begins to watch an attempt.
func (w *Worker) track(a *attempt) {
	w.attempts.add(a)
	if w.opts.LimitCounts == LimitLaunches && w.executedAtLaunch() {
		a.lease.uncount()
	}
	w.metrics.tracked.Set(float64(len(w.attempts.all())))
}

// sweepLoop describes a part of the tracked infrastructure at its own pace. The
// sweeps are the truth; hints only make it come sooner.
func (w *Worker) sweepLoop(ctx, work context.Context, name string, every time.Duration, which func() []*attempt) {
	w.beat(name, every)
	for pause(ctx, jittered(every)) {
		batch := which()
		if len(batch) == 0 {
			w.idle(name, every)
			continue
		}
		seen, err := w.observe(ctx, work, batch)
		if ctx.Err() != nil {
			return
		}
		// One that cannot be described must not make the others wait.
		if failures := w.round(name, every, err, fmt.Sprintf("%d of %d described", seen, len(batch))); failures > 0 && seen == 0 {
			wait := backoff(failures, every, longestSweep)
			w.rest(name, every, wait)
			if !pause(ctx, wait) {
				return
			}
		}
	}
}

// hintLoop passes on the events of the infrastructure that come with hints, and
// describes early what the launcher hints at. A hint proves nothing, it may be late
// or about a state that is over; and there are several for each run, so that at
// scale they must not cost a description each: all that were hinted at since the
// last early look are described together.
func (w *Worker) hintLoop(ctx, work context.Context) {
	hints := w.launcher.Hints()
	if hints == nil {
		return
	}
	early := earlySweep{due: map[*attempt]bool{}, done: make(chan struct{}, 1)}
	defer early.wait()
	for {
		select {
		case hint, open := <-hints:
			if !open {
				return
			}
			batch := append([]launch.Hint{hint}, waiting(hints)...) // all that wait already
			w.replicate(work, batch)
			early.add(w.attempts.where(hintedAt(batch)))
		case <-early.time():
			hinted := early.begin()
			go func() {
				defer func() { early.done <- struct{}{} }()
				_, err := w.observe(ctx, work, hinted) // a sweep says it if it stays so
				w.metrics.round("early sweep", err)
			}()
		case <-early.done:
			early.end()
		case <-ctx.Done():
			w.replicate(work, waiting(hints)) // nobody else gets these events
			return
		}
	}
}

// waiting takes what a channel holds at this moment.
func waiting(hints <-chan launch.Hint) (all []launch.Hint) {
	for {
		select {
		case hint, open := <-hints:
			if !open {
				return all
			}
			all = append(all, hint)
		default:
			return all
		}
	}
}

func hintedAt(hints []launch.Hint) func(*attempt) bool {
	return func(a *attempt) bool {
		return slices.ContainsFunc(hints, func(h launch.Hint) bool {
			return h.FlowRunID == a.run.ID || sameInfrastructure(h.PID, a.handle.PID)
		})
	}
}

// observe describes attempts and takes in what was seen of how many. What
// follows from an end goes on under work, when the sweeps have stopped.
func (w *Worker) observe(ctx, work context.Context, batch []*attempt) (seen int, err error) {
	timed, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	byPID := make(map[string]*attempt, len(batch))
	handles := make([]launch.Handle, len(batch))
	for i, a := range batch {
		handles[i], byPID[a.handle.PID] = a.handle, a
	}
	observations, err := w.launcher.Describe(timed, handles)
	for _, o := range observations {
		if a := byPID[o.Handle.PID]; a != nil {
			seen++
			if o.Phase == launch.PhaseMissing {
				w.vouchFor(timed, a)
			}
			w.note(work, a, o)
		}
	}
	if err != nil {
		return seen, fmt.Errorf("describe infrastructure: %w", err)
	}
	return seen, nil
}

// note takes in one observation.
func (w *Worker) note(work context.Context, a *attempt, o launch.Observation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.exit != nil {
		return
	}
	switch o.Phase {
	case launch.PhaseStopped:
		a.phase, a.exit = o.Phase, o.Exit
		if a.exit == nil {
			a.exit = &launch.Exit{Kind: launch.ExitUnknown, Message: "The infrastructure ended; nothing says how.", At: time.Now()}
		}
	case launch.PhaseMissing:
		if !a.missing(time.Now()) {
			return
		}
		a.phase = o.Phase
		a.exit = &launch.Exit{
			Kind:    launch.ExitUnknown,
			Message: fmt.Sprintf("The flow run's infrastructure %s no longer exists, and it is too late to learn how it ended.", a.handle.PID),
			Hint:    "Look for the end of it in the infrastructure's own logs.",
			At:      time.Now(),
		}
	default:
		if o.Phase == launch.PhaseRunning && a.runningSince.IsZero() {
			a.runningSince = time.Now()
		}
		a.phase, a.seen, a.missingSince = o.Phase, true, time.Time{}
		return
	}
	w.metrics.ended(a.exit.Kind)
	close(a.ended)
	w.jobs.Go(func() { w.finish(work, a) })
}

// vouchFor looks at the run of infrastructure that was never seen and should be by
// now: if the run is over, there is nothing to be patient for. That it runs proves
// nothing: infrastructure may run and be unknown to its own API.
func (w *Worker) vouchFor(ctx context.Context, a *attempt) {
	a.mu.Lock()
	doubtful := !a.seen && !a.missingSince.IsZero() && time.Since(a.missingSince) >= missingGap
	a.mu.Unlock()
	if !doubtful {
		return
	}
	run, err := w.api.ReadFlowRun(ctx, a.run.ID)
	if err != nil || !run.StateType.Final() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = true
}

// missing reports whether not being found means being gone by now: it was found
// before, or should have been long ago, and two looks agree.
func (a *attempt) missing(now time.Time) bool {
	if a.missingSince.IsZero() {
		a.missingSince = now
		return false
	}
	old := a.seen || now.Sub(a.handle.StartedAt) >= missingAge
	return old && now.Sub(a.missingSince) >= missingGap
}
