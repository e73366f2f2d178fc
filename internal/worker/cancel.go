package worker

import (
	"context"
	"time"

	"faber/internal/prefect"
)

// stopPatience is what lies between a stopped infrastructure's SIGKILL and its
// end being seen.
const stopPatience = 15 * time.Second

// noticeCancelling begins to see to it that a run that is being cancelled ends,
// if this worker tracks it. It may be called often; the first call counts.
func (w *Worker) noticeCancelling(flowRunID string) {
	a := w.attempts.get(flowRunID)
	if a == nil {
		// Between claim and launch: the sweep that follows the launch finds it.
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancelling || a.exit != nil {
		return
	}
	a.cancelling = true
	select {
	case w.cancels <- a:
	default:
		a.cancelling = false // the next sweep tries again
	}
}

// cancelLoop runs cancellations, each on its own, until ctx ends.
func (w *Worker) cancelLoop(ctx, work context.Context) {
	for {
		select {
		case a := <-w.cancels:
			w.jobs.Go(func() { w.cancel(ctx, work, a) })
		case <-ctx.Done():
			return
		}
	}
}

// cancel sees a cancelled run to its end. A run that is running cancels itself
// within the grace and knows best how; one that has not begun has nothing to
// lose. What is left is stopped, and the run is Cancelled whatever it was doing.
func (w *Worker) cancel(ctx, work context.Context, a *attempt) {
	run, err := w.readRun(ctx, a.run.ID)
	if err != nil || run.StateType != prefect.StateCancelling {
		w.cancelOver(a)
		return
	}
	if run.StartTime != nil && !a.endsWithin(ctx, w.opts.CancelGrace) {
		if _, err = w.readRun(ctx, a.run.ID); err != nil || ctx.Err() != nil {
			w.cancelOver(a)
			return
		}
	}
	// Cancelled while the infrastructure still runs happens too: a hung process
	// must not outlive its run.
	if !w.stopInfrastructure(ctx, a) {
		w.cancelOver(a)
		return
	}
	if a.endsWithin(ctx, w.opts.StopGrace+stopPatience) {
		return // the report of the end says Cancelled
	}
	if run, err = w.readRun(work, a.run.ID); err == nil && run.StateType == prefect.StateCancelling {
		w.forceCancelled(work, a.run.ID, cancelledMessage(run))
	}
}

// stopInfrastructure asks until the request is taken. False when ctx ended first.
func (w *Worker) stopInfrastructure(ctx context.Context, a *attempt) bool {
	for failures := 1; ; failures++ {
		err := w.launcher.Stop(ctx, a.handle, "Flow run was cancelled", w.opts.StopGrace)
		if err == nil {
			return true
		}
		if failures == 1 {
			w.log.Warn("Stop infrastructure of a cancelled flow run; it goes on trying", "flow_run", a.run.ID, "error", err)
		}
		if !pause(ctx, backoff(failures, 2*time.Second, 30*time.Second)) {
			return false
		}
	}
}

// cancelOver lets a later sweep begin again.
func (w *Worker) cancelOver(a *attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancelling = false
}

// endsWithin waits for the end of the infrastructure.
func (a *attempt) endsWithin(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-a.ended:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

func cancelledMessage(run prefect.FlowRun) string {
	if run.StartTime == nil {
		return "Flow run cancelled by worker while pending."
	}
	return "Flow run cancelled by worker; its infrastructure was stopped."
}
