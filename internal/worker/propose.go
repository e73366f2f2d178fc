package worker

import (
	"context"
	"errors"
	"time"

	"faber/internal/prefect"

	"github.com/google/uuid"
)

// proposal is a state to be proposed and how much patience goes with it.
type proposal struct {
	state prefect.State
	force bool
	// tries bounds calls that fail in transit; 0 is no bound but the context.
	tries int
	// wait bounds the waiting between calls, the calls themselves are bounded
	// by propose's context alone: cutting one short leaves its outcome unknown.
	wait context.Context
	// still says by the run's states whether the reason for the proposal stands. It
	// is asked before each further try: an outage may have lasted, and another
	// worker may have taken the run on meanwhile. Nil: the server's rules suffice.
	still func(states []prefect.State) bool
}

// errOvertaken is a proposal that was not repeated, because the run went on
// without it.
var errOvertaken = errors.New("the flow run has gone on meanwhile")

// propose proposes a state and stays with it: it sends the same proposal again
// when the answer was lost, and waits when the server says to wait. A proposal
// that is found in the run's history was taken by an earlier try, which is
// acceptance, whatever the run became afterwards.
func (w *Worker) propose(ctx context.Context, flowRunID string, p proposal) (prefect.OrchestrationResult, error) {
	if p.wait == nil {
		p.wait = ctx
	}
	p.state.Details.FlowRunID = flowRunID
	p.state.Details.TransitionID = uuid.NewString()
	for failures := 0; ; {
		result, err := w.proposeOnce(ctx, flowRunID, p, failures > 0)
		var delay time.Duration
		switch {
		case err == nil && result.Status == prefect.StatusWait:
			delay = time.Duration(result.Details.DelaySeconds * float64(time.Second))
			// The wait was a definite answer; what follows is a new proposal.
			p.state.Details.TransitionID = uuid.NewString()
		case err == nil:
			if ours(result, p.state) {
				result.Status = prefect.StatusAccept
			}
			return result, nil
		default:
			failures++
			if !prefect.IsTransient(err) || failures == p.tries {
				return result, err
			}
			delay = retryDelay(err, failures)
		}
		if !pause(p.wait, delay) {
			return result, errors.Join(context.Cause(p.wait), err)
		}
	}
}

// proposeOnce sends a proposal. One that may have been taken by an earlier try is
// looked for first: the server knows a proposal again only for as long as the run
// is in the state that came of it.
func (w *Worker) proposeOnce(ctx context.Context, flowRunID string, p proposal, again bool) (prefect.OrchestrationResult, error) {
	if !again {
		return w.api.SetFlowRunState(ctx, flowRunID, p.state, p.force)
	}
	states, err := w.api.FlowRunStates(ctx, flowRunID)
	if err != nil {
		return prefect.OrchestrationResult{}, err
	}
	for _, s := range states {
		if s.Details.TransitionID == p.state.Details.TransitionID {
			return prefect.OrchestrationResult{Status: prefect.StatusAccept, State: &s}, nil
		}
	}
	if p.still != nil && !p.still(states) {
		return prefect.OrchestrationResult{}, errOvertaken
	}
	return w.api.SetFlowRunState(ctx, flowRunID, p.state, p.force)
}

// standing says by a run's states whether the claim is still the one that the run
// stands under. Without a claim's id it says whether the run is under way at all.
func standing(claimID string) func([]prefect.State) bool {
	return func(states []prefect.State) bool {
		if len(states) == 0 {
			return false
		}
		switch last := states[len(states)-1]; {
		case last.Type.Final(), last.Type == prefect.StateScheduled, last.Type == prefect.StatePaused:
			return false
		case claimID == "":
			return true
		}
		claim, _, _ := lastClaim(states)
		return claim.ID == claimID
	}
}

func ours(r prefect.OrchestrationResult, proposed prefect.State) bool {
	return r.Status == prefect.StatusReject && r.State != nil && r.State.Details.TransitionID == proposed.Details.TransitionID
}

func retryDelay(err error, failures int) time.Duration {
	var status *prefect.StatusError
	if errors.As(err, &status) && status.RetryAfter > 0 {
		return status.RetryAfter
	}
	return backoff(failures, time.Second, 30*time.Second)
}

// persist repeats a call until it succeeds, fails for good, has been tried
// often enough (0: no bound), or ctx ends.
func persist(ctx context.Context, tries int, call func() error) error {
	for failures := 1; ; failures++ {
		err := call()
		if err == nil || !prefect.IsTransient(err) || failures == tries {
			return err
		}
		if !pause(ctx, retryDelay(err, failures)) {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// readRun reads a flow run as it is now, however long that takes.
func (w *Worker) readRun(ctx context.Context, id string) (run prefect.FlowRun, err error) {
	err = persist(ctx, 0, func() (err error) {
		run, err = w.api.ReadFlowRun(ctx, id)
		return err
	})
	return run, err
}
