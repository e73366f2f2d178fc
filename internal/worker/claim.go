package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"faber/internal/prefect"
)

// claimTries bounds the proposals of one claim. A claim whose answer is lost
// for good is found by the adoption sweep, by its message.
const claimTries = 4

// dispatch takes one polled flow run to launched infrastructure, or out of this
// worker's hands. fetch ends before work does: what is not claimed by then stays
// for another worker. The run was as it is told no earlier than when it was polled.
func (w *Worker) dispatch(fetch, work context.Context, run prefect.FlowRun, l *lease, polled time.Time) {
	tracked := false
	defer func() { w.dispatched(l, tracked) }()
	w.announceSubmission(run.ID)
	if !w.submits.take(fetch, lineOf(run)) {
		return
	}
	defer w.submits.giveBack()
	deployment, ok := w.deploymentOf(work, run, asPolled(run))
	if !ok || fetch.Err() != nil {
		return
	}
	if w.stillThere(fetch, run) || !w.stillScheduled(fetch, run, polled) {
		return // it comes again with the next poll
	}
	began := time.Now()
	claim, states, ok := w.claim(fetch, work, run)
	if !ok {
		return
	}
	w.slots.claim(run.ID)
	w.forgetPID(work, &run)
	tracked = w.submit(work, submission{run: run, deployment: deployment, claim: claim, states: states, lease: l, at: began})
}

// dispatched ends the way of a flow run from the poll: to tracked infrastructure,
// or out of this worker's hands.
func (w *Worker) dispatched(l *lease, tracked bool) {
	w.unlaunched.remove(l.flowRunID)
	if !tracked {
		w.evicted.remove(l.flowRunID)
		w.leases.drop(l.flowRunID)
	}
	if !tracked {
		l.release()
		w.metrics.inWork.Set(float64(w.slots.inUse()))
	}
}

// forgetPID wipes what an earlier launch of a claimed run left in it: whoever takes
// over this claim must not take that for the claim's own infrastructure.
func (w *Worker) forgetPID(ctx context.Context, run *prefect.FlowRun) {
	if run.InfrastructurePID == "" {
		return
	}
	err := persist(ctx, claimTries, func() error { return w.api.SetInfrastructurePID(ctx, run.ID, nil) })
	if err != nil {
		w.log.Warn("Clear the infrastructure_pid of a flow run", "flow_run", run.ID, "error", err)
	}
	run.InfrastructurePID = ""
}

// announceSubmission tells in the run's log who took it up, and where on Cloud
// that worker's own log is.
func (w *Worker) announceSubmission(flowRunID string) {
	w.runLog(flowRunID, slog.LevelInfo, "Worker '%s' submitting flow run '%s'", w.name, flowRunID)
	links, ok := w.api.(interface{ WorkerURL(pool, id string) string })
	if id := w.opts.WorkerID(); ok && id != "" {
		w.runLog(flowRunID, slog.LevelInfo, "Running on worker id: %s. See worker logs here: %s", id, links.WorkerURL(w.opts.Pool, id))
	}
}

// deploymentOf reads the run's deployment; nil for a run without one. A run
// whose deployment is gone cannot be run and is cancelled, as Prefect does, if by its
// states it still waits for that.
func (w *Worker) deploymentOf(ctx context.Context, run prefect.FlowRun, still func([]prefect.State) bool) (*prefect.Deployment, bool) {
	if run.DeploymentID == "" {
		return nil, true
	}
	deployment, err := w.readDeployment(ctx, run.DeploymentID)
	switch {
	case errors.Is(err, prefect.ErrNotFound):
		if states, err := w.statesOf(ctx, run.ID); err != nil || !still(states) {
			return nil, false
		}
		w.log.Error(fmt.Sprintf("Deployment %s no longer exists. Flow run %s will not be submitted for execution", run.DeploymentID, run.ID))
		w.forceCancelled(ctx, run.ID, fmt.Sprintf("Deployment %s no longer exists, cancelled run.", run.DeploymentID))
		return nil, false
	case err != nil:
		// Nothing was claimed: the run comes again with the next poll.
		w.log.Warn("Read deployment of flow run; it stays scheduled", "flow_run", run.ID, "error", err)
		w.metrics.claims.WithLabelValues("error").Inc()
		return nil, false
	}
	return deployment, true
}

// readDeployment reads a deployment, with the patience of a claim.
func (w *Worker) readDeployment(ctx context.Context, id string) (*prefect.Deployment, error) {
	var deployment prefect.Deployment
	err := persist(ctx, claimTries, func() (err error) {
		deployment, err = w.api.ReadDeployment(ctx, id)
		return err
	})
	return &deployment, err
}

// claim proposes Pending. The accepted state is the claim: it is the only mutual
// exclusion between workers, and its id names this launch for ever after.
func (w *Worker) claim(fetch, work context.Context, run prefect.FlowRun) (claim prefect.State, states []prefect.State, ok bool) {
	result, err := w.propose(work, run.ID, proposal{
		state: prefect.State{Type: prefect.StatePending, Name: "Pending", Message: claimMessage(w.name)},
		tries: claimTries, wait: fetch, still: asPolled(run),
	})
	switch {
	case errors.Is(err, errOvertaken):
		w.metrics.claims.WithLabelValues("rejected").Inc()
		return prefect.State{}, nil, false
	case errors.Is(err, prefect.ErrNotFound):
		w.metrics.claims.WithLabelValues("gone").Inc()
		return prefect.State{}, nil, false
	case err != nil:
		w.runLog(run.ID, slog.LevelError, "Failed to update state of flow run '%s'\n%s", run.ID, err)
		w.metrics.claims.WithLabelValues("error").Inc()
		return prefect.State{}, nil, false
	case result.Status == prefect.StatusAccept && result.State != nil && result.State.Type == prefect.StatePending:
		if states, ok = w.claimedAsPolled(work, run, *result.State); !ok {
			w.metrics.claims.WithLabelValues("rejected").Inc()
			return prefect.State{}, nil, false
		}
		w.metrics.claimed(run.NextScheduledStart)
		return *result.State, states, true
	case result.Status == prefect.StatusAbort:
		w.metrics.claims.WithLabelValues("aborted").Inc()
		w.runLog(run.ID, slog.LevelInfo, "Aborted submission of flow run '%s'. Server sent an abort signal: %s", run.ID, result.Details.Reason)
	default:
		got := prefect.StateType("unknown")
		if result.State != nil {
			got = result.State.Type
		}
		w.metrics.claims.WithLabelValues("rejected").Inc()
		w.runLog(run.ID, slog.LevelInfo, "Aborted submission of flow run '%s': Server returned a non-pending state '%s'", run.ID, got)
	}
	return prefect.State{}, nil, false
}

// isScheduled reports whether a run waits for its launch.
func isScheduled(states []prefect.State) bool {
	return len(states) > 0 && states[len(states)-1].Type == prefect.StateScheduled
}

// claimableFor is for how long the answer to a poll is taken as it is.
const claimableFor = time.Second

// stillScheduled reads a run again whose turn came long after the poll: another
// worker may have had it meanwhile, and the server lets a run that has ended be
// claimed again.
func (w *Worker) stillScheduled(ctx context.Context, run prefect.FlowRun, polled time.Time) bool {
	if time.Since(polled) < claimableFor {
		return true
	}
	now, err := w.api.ReadFlowRun(ctx, run.ID)
	return err == nil && now.StateType == prefect.StateScheduled && !now.RetriesInProcess() && stateID(now) == stateID(run)
}

// claimedAsPolled looks what a claim was made of. The server lets a run that has ended
// be claimed again: one that another worker had since the poll, be it for a moment,
// becomes again what it was.
func (w *Worker) claimedAsPolled(ctx context.Context, run prefect.FlowRun, claim prefect.State) (states []prefect.State, ok bool) {
	states, err := w.statesOf(ctx, run.ID)
	if err != nil {
		return nil, false // the claim is found by the adoption sweep
	}
	i := slices.IndexFunc(states, func(s prefect.State) bool { return s.ID == claim.ID })
	if i < 1 || asPolled(run)(states[:i]) {
		return states, true
	}
	w.log.Info("Flow run was claimed too late, and becomes again what it was", "flow_run", run.ID, "state", states[i-1].Name)
	w.restore(ctx, run.ID, states[i-1], claim.Details.TransitionID)
	return nil, false
}

// stateID is the id of the run's state, "" where the API does not tell.
func stateID(run prefect.FlowRun) string {
	id, _ := run.Raw["state_id"].(string)
	return id
}

// asPolled reports by the run's states whether it still is in the state in which it
// was polled.
func asPolled(run prefect.FlowRun) func([]prefect.State) bool {
	polled := stateID(run)
	return func(states []prefect.State) bool {
		return isScheduled(states) && (polled == "" || states[len(states)-1].ID == polled)
	}
}

// forceCancelled ends a run as Cancelled whatever its state.
func (w *Worker) forceCancelled(ctx context.Context, flowRunID, message string) {
	_, err := w.propose(ctx, flowRunID, proposal{
		state: prefect.State{Type: prefect.StateCancelled, Name: "Cancelled", Message: message}, force: true,
	})
	if err != nil && !errors.Is(err, prefect.ErrNotFound) {
		w.log.Error("Mark flow run as cancelled", "flow_run", flowRunID, "error", err)
	}
}
