package worker

import (
	"context"
	"log/slog"
	"time"

	"faber/internal/prefect"
)

// stopPatience is what lies between a stopped infrastructure's SIGKILL and its
// end being seen.
const stopPatience = 15 * time.Second

// stopReason is what the infrastructure is told, and tells of its end: the words of
// Prefect's worker.
const stopReason = "Stopped by Prefect worker"

// noticeCancelling begins to see to it that a run that is being cancelled ends,
// if it is in work here. It may be called often; the first call counts.
func (w *Worker) noticeCancelling(flowRunID string) {
	a := w.attempts.get(flowRunID)
	switch {
	case a != nil:
		if !a.beginCancel() {
			return
		}
	case !w.slots.claims(flowRunID) || !w.unlaunched.add(flowRunID):
		return
	}
	select {
	case w.cancels <- flowRunID:
	default: // the next sweep tries again
		if a != nil {
			a.cancelOver()
		} else {
			w.unlaunched.remove(flowRunID)
		}
	}
}

// cancelLoop runs cancellations, each on its own, until ctx ends.
func (w *Worker) cancelLoop(ctx, work context.Context) {
	for {
		select {
		case id := <-w.cancels:
			w.jobs.Go(func() {
				if a := w.attempts.get(id); a != nil && a.beingCancelled() {
					w.cancel(ctx, work, a)
				} else {
					w.cancelUnlaunched(work, id)
				}
			})
		case <-ctx.Done():
			return
		}
	}
}

// cancelUnlaunched ends a run that is cancelled between its claim and its launch:
// there is nothing yet that could end by itself. A launch that is under way already
// is stopped when it has come about.
func (w *Worker) cancelUnlaunched(work context.Context, flowRunID string) {
	run, err := w.readRun(work, flowRunID)
	if err == nil && run.StateType.Final() {
		return // the mark stays: the launch must not go on
	}
	if err != nil || run.StateType != prefect.StateCancelling || run.StartTime != nil {
		w.unlaunched.remove(flowRunID)
		return
	}
	if w.attempts.get(flowRunID) != nil {
		w.noticeCancelling(flowRunID) // launched meanwhile
		return
	}
	w.forceCancelled(work, flowRunID, noInfrastructure)
}

const noInfrastructure = "Flow run cancelled by worker (no infrastructure found)."

// cancel sees a cancelled run to its end. A run that is running cancels itself
// within the grace and knows best how, if its command listens; one that has not
// begun has nothing to lose. What is left is stopped, and the run is Cancelled
// whatever it was doing.
func (w *Worker) cancel(ctx, work context.Context, a *attempt) {
	run, err := w.readRun(ctx, a.run.ID)
	if err != nil || run.StateType != prefect.StateCancelling && !w.cancelledEarly(run) {
		a.cancelOver()
		return
	}
	if run.StartTime != nil && !a.deaf && !a.endsWithin(ctx, w.opts.CancelGrace) {
		if _, err = w.readRun(ctx, a.run.ID); err != nil || ctx.Err() != nil {
			a.cancelOver()
			return
		}
	}
	// Cancelled while the infrastructure still runs happens too: a hung process
	// must not outlive its run.
	if !w.stopInfrastructure(ctx, a) {
		a.cancelOver()
		return
	}
	if a.endsWithin(ctx, w.opts.StopGrace+stopPatience) {
		return // the report of the end says Cancelled
	}
	if run, err = w.readRun(work, a.run.ID); err == nil && run.StateType == prefect.StateCancelling {
		w.endCancelled(work, run)
	}
}

// cancelledEarly reports whether a run was ended here while its infrastructure was
// being launched: that has nothing to do any more.
func (w *Worker) cancelledEarly(run prefect.FlowRun) bool {
	return run.StateType == prefect.StateCancelled && run.StartTime == nil
}

// endCancelled makes a run Cancelled whose infrastructure is stopped.
func (w *Worker) endCancelled(ctx context.Context, run prefect.FlowRun) {
	w.forceCancelled(ctx, run.ID, w.cancelledMessage(run))
	if run.StartTime == nil {
		w.runLog(run.ID, slog.LevelInfo, "Cancelled pending flow run '%s'", run.ID)
	}
}

// stopInfrastructure asks until the request is taken. False when ctx ended first.
func (w *Worker) stopInfrastructure(ctx context.Context, a *attempt) bool {
	for failures := 1; ; failures++ {
		err := w.launcher.Stop(ctx, a.handle, stopReason, w.opts.StopGrace)
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

// beginCancel reports whether it is for the caller to cancel.
func (a *attempt) beginCancel() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancelling || a.exit != nil {
		return false
	}
	a.cancelling = true
	return true
}

func (a *attempt) beingCancelled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cancelling && !a.overdue
}

// cancelOver lets a later sweep begin again.
func (a *attempt) cancelOver() {
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

// cancelledMessage is what Prefect's workers say, as far as they stop anything.
func (w *Worker) cancelledMessage(run prefect.FlowRun) string {
	switch {
	case run.StartTime == nil:
		return "Flow run cancelled by worker while pending."
	case !w.executedAtLaunch():
		return "Flow run was cancelled successfully."
	default:
		return "Flow run cancelled by worker; its infrastructure was stopped."
	}
}
