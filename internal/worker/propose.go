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
}

// propose proposes a state and stays with it: it sends the same proposal again
// when the answer was lost, and waits when the server says to wait. A rejection
// whose state is this very proposal means that an earlier try was taken, which
// is acceptance.
func (w *Worker) propose(ctx context.Context, flowRunID string, p proposal) (prefect.OrchestrationResult, error) {
	if p.wait == nil {
		p.wait = ctx
	}
	p.state.Details.FlowRunID = flowRunID
	p.state.Details.TransitionID = uuid.NewString()
	for failures := 0; ; {
		result, err := w.api.SetFlowRunState(ctx, flowRunID, p.state, p.force)
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
