package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

const (
	// launchPatience is for how long a launch that is held back keeps its run
	// pending. Longer than that the run waits in its pool, where it holds no slot.
	launchPatience = time.Minute
	// tellWaiting is after how long a run's state says what it waits for.
	tellWaiting = 15 * time.Second
	// longestRetry lies between two tries of one launch.
	longestRetry = 15 * time.Second
	// longWait is how long a try takes that was held back by the launcher itself.
	longWait = 10 * time.Second
)

// launchJob launches until there is a definite answer, or until it was held back for
// long enough. The same job again is safe: the launcher knows the claim. A launch
// that may have come about, though no answer came, is asked for until one does:
// nobody may launch the run elsewhere meanwhile.
func (w *Worker) launchJob(ctx context.Context, s *submission, job launch.Job) (launch.Handle, *launch.Failure) {
	began, told := time.Now(), false
	for n := 1; ; n++ {
		tried := time.Now()
		handle, failure := w.launchOnce(ctx, job)
		if failure == nil {
			return handle, nil
		}
		s.open = s.open || failure.Unknown
		if failure.Kind != launch.FailureRetry {
			if handle, ok := w.launchedAnyway(ctx, s, job); ok {
				return handle, nil
			}
			return launch.Handle{}, failure
		}
		waited := time.Since(began)
		if waited >= launchPatience && !s.open {
			return launch.Handle{}, &launch.Failure{Kind: launch.FailureCapacity, Message: failure.Message, Hint: failure.Hint, Err: failure.Err}
		}
		if waited >= tellWaiting {
			if handle, found, over := w.overtaken(ctx, s, job); over {
				return handle, failureUnless(found, failure)
			}
			if !told {
				told = true
				w.tellWaiting(ctx, s, failure)
			}
		}
		wait := backoff(n, time.Second, longestRetry)
		if time.Since(tried) >= longWait {
			wait = jittered(pollGap) // it has waited for its turn, and keeps its place
		}
		if !pause(ctx, wait) || w.unlaunched.has(job.FlowRunID) || w.evicted.has(job.FlowRunID) && !s.open {
			return launch.Handle{}, failure
		}
	}
}

func (w *Worker) launchOnce(ctx context.Context, job launch.Job) (launch.Handle, *launch.Failure) {
	handle, err := w.launcher.Launch(ctx, job)
	if err == nil {
		return handle, nil
	}
	var failure *launch.Failure
	if !errors.As(err, &failure) {
		failure = &launch.Failure{Kind: launch.FailurePermanent, Message: err.Error(), Err: err}
	}
	w.metrics.launches.WithLabelValues(string(failure.Kind)).Inc()
	return launch.Handle{}, failure
}

// launchedAnyway looks for infrastructure of a claim that is refused now, and may
// have been launched by an earlier call whose answer was lost. A new one is not
// seen at once everywhere, so it is looked more than once.
func (w *Worker) launchedAnyway(ctx context.Context, s *submission, job launch.Job) (launch.Handle, bool) {
	if !s.open {
		return launch.Handle{}, false
	}
	for look := 1; ; look++ {
		handle, found, err := w.findClaim(ctx, job.ClaimID, s.tried.place)
		if found {
			return handle, true
		}
		if err == nil && look >= 3 || !pause(ctx, 5*time.Second) {
			return launch.Handle{}, false
		}
	}
}

// overtaken reports whether the run went on while its launch was insisted on: then
// it was launched, by an earlier call or by another worker, and there is nothing to
// insist on.
func (w *Worker) overtaken(ctx context.Context, s *submission, job launch.Job) (handle launch.Handle, found, over bool) {
	states, err := w.api.FlowRunStates(ctx, job.FlowRunID)
	if err != nil || s.stands(states) {
		return launch.Handle{}, false, false
	}
	handle, found, _ = w.findClaim(ctx, job.ClaimID, s.tried.place)
	return handle, found, true
}

func failureUnless(found bool, f *launch.Failure) *launch.Failure {
	if found {
		return nil
	}
	return f
}

// findClaim looks for the live infrastructure of a claim where the pool's template
// says, and in another place if that is named.
func (w *Worker) findClaim(ctx context.Context, claimID, place string) (launch.Handle, bool, error) {
	pool, err := w.poolToSearch(ctx, w.pool.Load())
	if err != nil {
		return launch.Handle{}, false, err
	}
	if place != "" {
		pool.Places = append(pool.Places, place)
	}
	live, err := w.launcher.Find(ctx, pool)
	for _, handle := range live {
		if handle.ClaimID == claimID {
			return handle, true, nil
		}
	}
	return launch.Handle{}, false, err
}

// waitingFor is how states begin whose run waits for the infrastructure's owner.
const waitingFor = "waiting for capacity: "

// tellWaiting says in the run's state what its launch waits for, and in its log.
func (w *Worker) tellWaiting(ctx context.Context, s *submission, f *launch.Failure) {
	message := waitingFor + oneLine(f.Message)
	if s.open {
		message = fmt.Sprintf("waiting for an answer to the launch: %s", oneLine(f.Message))
	}
	w.runLog(s.run.ID, slog.LevelWarn, "Launching the flow run's infrastructure takes longer than usual, and goes on: %s", sentences(f.Message, f.Hint))
	result, err := w.propose(ctx, s.run.ID, proposal{
		state: prefect.State{Type: prefect.StatePending, Name: "InfrastructurePending", Message: message}, tries: 1,
	})
	s.took(result)
	if err != nil {
		w.log.Debug("Tell what a launch waits for", "flow_run", s.run.ID, "error", err)
	}
}

// onFailure deals with a run that was not launched.
func (w *Worker) onFailure(ctx context.Context, s *submission, f *launch.Failure) {
	run := s.run
	switch {
	case w.unlaunched.has(run.ID):
		w.log.Info("Flow run was cancelled while it was launched", "flow_run", run.ID, "failure", f)
	case f.Kind == launch.FailureRetry && w.evicted.has(run.ID):
		w.giveBack(ctx, run, evictedDefeat(s.stands))
	case f.Kind == launch.FailureRetry:
		// Only a shutdown ends the retries. The outcome is unknown, so the claim
		// stays, and whoever finds it next launches again under the same claim.
		w.log.Warn("Flow run is left claimed, its launch has no answer yet", "flow_run", run.ID, "error", f)
	case f.Kind == launch.FailureCapacity:
		w.giveBack(ctx, run, defeat{kind: defeatCapacity, still: s.stands, cause: f.Message, hint: f.Hint})
	default:
		w.failSubmission(ctx, run, s.stands, f, f.Hint)
	}
}
