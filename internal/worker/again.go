package worker

import (
	"context"
	"errors"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// interruptionNotice is how long before its capacity is taken away a task is told
// so at the most: Fargate Spot gives two minutes. A run that ended itself within it
// ended for that reason.
const interruptionNotice = 3 * time.Minute

// defeatOf is the end of an attempt's claim, with what the run's policy says of
// further launches.
func (w *Worker) defeatOf(ctx context.Context, a *attempt, run prefect.FlowRun, kind defeatKind) defeat {
	return defeat{
		kind: kind, claim: a.handle.ClaimID, cause: a.exit.Message, hint: a.exit.Hint,
		launches: w.launches(w.policyOfAttempt(ctx, a, run)),
	}
}

// policyOfAttempt reads what the run's deployment asks for. That of an adopted run
// was not read yet.
func (w *Worker) policyOfAttempt(ctx context.Context, a *attempt, run prefect.FlowRun) policy {
	if a.deployment == nil && run.DeploymentID != "" {
		if d, err := w.readDeployment(ctx, run.DeploymentID); err == nil {
			a.deployment = d
		} else {
			w.log.Debug("Read the deployment of a flow run", "flow_run", run.ID, "error", err)
		}
	}
	return w.policyFor(run, a.deployment)
}

// endedByInterruption reports whether a run crashed because its capacity was taken
// away: a flow that gets SIGTERM calls it a crash, unless it was told to leave the
// verdict to the worker. Then it is launched again, if it was still this attempt's.
func (w *Worker) endedByInterruption(ctx context.Context, a *attempt, run prefect.FlowRun) bool {
	if a.exit.Kind != launch.ExitInterrupted || run.StateType != prefect.StateCrashed || run.StateName == timedOut || run.State == nil {
		return false
	}
	told := run.State.Timestamp
	if told == nil || told.Before(a.exit.At.Add(-interruptionNotice)) || a.beingCancelled() {
		return false
	}
	return run.DeploymentID != "" && w.policyOfAttempt(ctx, a, run).reschedule && w.current(ctx, a, run)
}

// reportInterruption launches a run anew whose capacity was taken away, unless its
// deployment does not want that.
func (w *Worker) reportInterruption(ctx context.Context, a *attempt, run prefect.FlowRun) string {
	if !w.policyOfAttempt(ctx, a, run).reschedule {
		w.reportCrash(ctx, a, run)
		return "crashed"
	}
	d := w.defeatOf(ctx, a, run, defeatInterrupted)
	if run.StateType == prefect.StateCrashed {
		d.over = true
		d.still = func(states []prefect.State) bool {
			return len(states) > 0 && states[len(states)-1].ID == run.State.ID
		}
	}
	return w.giveBack(ctx, run, d)
}

// moreMemory is the end of a claim whose run ran out of memory, if its deployment has
// more to give.
func (w *Worker) moreMemory(ctx context.Context, a *attempt, run prefect.FlowRun) (defeat, bool) {
	ladder, ok := w.launcher.(launch.MemoryLadder)
	if !ok || !a.exit.OutOfMemory || run.DeploymentID == "" {
		return defeat{}, false
	}
	p := w.policyOfAttempt(ctx, a, run)
	if p.memoryLadder == nil {
		return defeat{}, false
	}
	states, err := w.statesOf(ctx, run.ID)
	if err != nil {
		return defeat{}, false
	}
	job, err := w.render(ctx, &submission{run: run, deployment: a.deployment, claim: prefect.State{ID: a.handle.ClaimID}})
	if err != nil {
		return defeat{}, false // what it would get now cannot be known
	}
	memory, ok := ladder.MemoryAfter(job, pastOf(states, time.Now()).outOfMemory+1)
	d := w.defeatOf(ctx, a, run, defeatMemory)
	d.memory = memory
	return d, ok
}

// keepTerms gives an adopted run what its deployment sets for it: its time, and, while
// it does not run yet, its concurrency slot.
func (w *Worker) keepTerms(ctx context.Context, a *attempt) {
	if a.run.DeploymentID == "" {
		return
	}
	hold := func(*prefect.Deployment) {}
	if s := a.run.State; s != nil && a.run.StateType == prefect.StatePending {
		claim := *s
		claim.ID = a.handle.ClaimID
		hold = func(d *prefect.Deployment) { w.leases.hold(&claim, a.run.ID, graceOf(d), time.Now()) }
	}
	hold(nil) // the slot does not wait for the deployment to be read
	w.jobs.Go(func() {
		deployment, err := w.readDeployment(ctx, a.run.DeploymentID)
		if errors.Is(err, prefect.ErrNotFound) {
			w.leases.drop(a.run.ID)
		}
		if err != nil {
			return // gone, or an outage: then it runs on without a limit
		}
		hold(deployment)
		p := w.policyFor(a.run, deployment)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.maxRuntime = p.maxRuntime
	})
}
