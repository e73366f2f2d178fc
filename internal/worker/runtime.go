package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

const (
	// timedOut is the name of the state of a run that had its time.
	timedOut        = "TimedOut"
	runtimeLoopName = "watch over run times"
	runtimeTick     = 2 * time.Second
	// quickEvery is how often a loop is expected to come round that looks more often
	// than its calls may take.
	quickEvery = 10 * time.Second
)

// runtimeLoop ends runs that run for longer than their deployment allows.
func (w *Worker) runtimeLoop(ctx, work context.Context) {
	w.beat(runtimeLoopName, quickEvery)
	for pause(ctx, runtimeTick) {
		w.beat(runtimeLoopName, quickEvery)
		limited := w.attempts.where(func(a *attempt) bool { return a.limited() })
		if len(limited) == 0 {
			continue
		}
		now := time.Now()
		var failed error
		for _, a := range limited {
			due, err := w.overdue(ctx, a, now)
			if err != nil {
				failed = err
			}
			if due && a.beginCancel() {
				w.jobs.Go(func() { w.endOverdue(work, a) })
			}
		}
		w.round(runtimeLoopName, quickEvery, failed, fmt.Sprintf("%d runs with a limit", len(limited)))
	}
}

// limited reports whether the attempt has a time to end by.
func (a *attempt) limited() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.maxRuntime > 0 && a.exit == nil && !a.cancelling && a.phase == launch.PhaseRunning
}

// overdue reports whether a run has had its time. It counts from when the run itself
// began; its infrastructure begins earlier, and a run that never began has other
// troubles.
func (w *Worker) overdue(ctx context.Context, a *attempt, now time.Time) (bool, error) {
	a.mu.Lock()
	began := a.began
	earliest := a.runningSince.Add(a.maxRuntime)
	a.mu.Unlock()
	if began.IsZero() {
		if now.Before(earliest.Add(-runtimeTick)) {
			return false, nil // not even if it had begun with its infrastructure
		}
		run, err := w.api.ReadFlowRun(ctx, a.run.ID)
		if err != nil || run.StateType != prefect.StateRunning || run.State == nil || run.State.Timestamp == nil {
			return false, err
		}
		began = *run.State.Timestamp
		if run.StartTime != nil && run.RunCount <= 1 {
			began = *run.StartTime
		}
		a.mu.Lock()
		a.began = began
		a.mu.Unlock()
	}
	return now.Sub(began) >= a.maxRuntime, nil
}

// endOverdue ends a run and its infrastructure. The run's state comes first: a flow
// that is told to end would report something else.
func (w *Worker) endOverdue(work context.Context, a *attempt) {
	message := fmt.Sprintf("The flow run ran for longer than its max_runtime of %s; its infrastructure was stopped.", a.maxRuntime)
	states, err := w.statesOf(work, a.run.ID)
	if err != nil || !standing(a.handle.ClaimID)(states) {
		a.cancelOver()
		return
	}
	result, err := w.propose(work, a.run.ID, proposal{
		state: prefect.State{Type: prefect.StateCrashed, Name: timedOut, Message: message},
		still: standing(a.handle.ClaimID),
	})
	if err != nil || result.Status != prefect.StatusAccept {
		a.cancelOver() // it ended by itself, is paused, or the next look tries again
		return
	}
	w.runLog(a.run.ID, slog.LevelError, "%s Raise it in the deployment's job variables if the flow needs longer.", message)
	a.mu.Lock()
	a.overdue = true
	a.mu.Unlock()
	w.metrics.reports.WithLabelValues("timed_out").Inc()
	w.stopInfrastructure(work, a)
}
