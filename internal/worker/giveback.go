package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// defeatKind is why a claim ended without the run's code being to blame.
type defeatKind string

const (
	defeatStart       defeatKind = "start_failure" // infrastructure that never ran user code
	defeatInterrupted defeatKind = "interrupted"   // capacity taken away
	defeatCapacity    defeatKind = "capacity"      // none to be had
	defeatShutdown    defeatKind = "shutdown"      // our own
)

// defeat is the end of a claim whose run shall come back.
type defeat struct {
	kind  defeatKind
	cause string
	hint  string
}

// logger is who tells of it in the run's log: infrastructure that was there is the
// observer's matter.
func (d defeat) logger() string {
	if d.kind == defeatStart || d.kind == defeatInterrupted {
		return observerLogger
	}
	return runLogger
}

const (
	launchBackoff   = 10 * time.Second
	capacityBackoff = 15 * time.Second
	backoffLimit    = 5 * time.Minute
)

// giveBack ends a claim: the run returns to the pool as AwaitingRetry, for any
// worker, until it was launched often enough or waited long enough. What was
// before is counted from the run's state history, so that no restart forgets it.
func (w *Worker) giveBack(ctx context.Context, run prefect.FlowRun, d defeat) (outcome string) {
	if run.DeploymentID == "" {
		// Without a deployment a run cannot come back to the pool.
		return w.giveUp(ctx, run, d, d.cause)
	}
	var states []prefect.State
	err := persist(ctx, 0, func() (err error) {
		states, err = w.api.FlowRunStates(ctx, run.ID)
		return err
	})
	if err != nil {
		if !errors.Is(err, prefect.ErrNotFound) {
			w.log.Error("Read the states of a flow run", "flow_run", run.ID, "error", err)
		}
		return "error"
	}
	delay, remark, again := w.verdict(states, d.kind, time.Now())
	if !again {
		return w.giveUp(ctx, run, d, sentences(d.cause, remark))
	}
	return w.reschedule(ctx, run, d, delay, sentences(d.cause, remark))
}

// giveUp ends a run that cannot come back, or has come back often enough.
func (w *Worker) giveUp(ctx context.Context, run prefect.FlowRun, d defeat, cause string) string {
	if d.kind == defeatCapacity {
		w.failSubmission(ctx, run, &launch.Failure{Message: cause}, d.hint)
		return "crashed"
	}
	w.observerLog(run.ID, slog.LevelError, sentences(cause, d.hint))
	w.crash(ctx, run.ID, cause)
	return "crashed"
}

func (w *Worker) reschedule(ctx context.Context, run prefect.FlowRun, d defeat, delay time.Duration, message string) string {
	// The pid goes first: once the run is scheduled another worker may claim it
	// and store a pid of its own, which must not be wiped.
	if run.InfrastructurePID != "" {
		err := persist(ctx, claimTries, func() error { return w.api.SetInfrastructurePID(ctx, run.ID, nil) })
		if err != nil {
			w.log.Warn("Clear the infrastructure_pid of a flow run", "flow_run", run.ID, "error", err)
		}
	}
	w.letGo(ctx, run)
	at := time.Now().Add(delay)
	result, err := w.propose(ctx, run.ID, proposal{state: prefect.State{
		Type: prefect.StateScheduled, Name: "AwaitingRetry", Message: message,
		Details: prefect.StateDetails{ScheduledTime: &at},
	}})
	switch {
	case err != nil:
		w.log.Error("Give flow run back to its work pool", "flow_run", run.ID, "error", err)
		return "error"
	case result.Status != prefect.StatusAccept:
		w.log.Info(fmt.Sprintf("Flow run '%s' was not given back to its work pool", run.ID), "reason", result.Details.Reason)
		if now, err := w.readRun(ctx, run.ID); err == nil && now.StateType == prefect.StateCancelling {
			w.forceCancelled(ctx, run.ID, w.cancelledMessage(now))
		}
		return "refused"
	}
	w.returned.add(run.ID, at)
	w.logAs(d.logger(), run.ID, slog.LevelWarn, sentences(message, d.hint))
	return "given_back_" + string(d.kind)
}

// letGo makes the server hand out a run again that it keeps for the process that
// ran it. A flow that has retried once is kept so for ever, and its process is gone.
func (w *Worker) letGo(ctx context.Context, run prefect.FlowRun) {
	if !run.RetriesInProcess() {
		return
	}
	err := persist(ctx, 0, func() error { return w.api.AllowReschedule(ctx, run) })
	if err != nil && !errors.Is(err, prefect.ErrNotFound) {
		w.log.Error("Take a flow run from the process that kept it; it is not handed out to any worker", "flow_run", run.ID, "error", err)
	}
}

// The remarks that AwaitingRetry states carry, and are counted by.
const (
	launchRemark   = "This was launch %d of %d; the next one follows in %s."
	capacityRemark = "Waiting for capacity since %s; the next launch follows in %s."
)

var (
	launchCount   = regexp.MustCompile(`\blaunch \d+ of \d+;`)
	capacitySince = regexp.MustCompile(`Waiting for capacity since ([^;]+);`)
)

// verdict decides whether a run comes back, when, and what its state says.
func (w *Worker) verdict(states []prefect.State, kind defeatKind, now time.Time) (delay time.Duration, remark string, again bool) {
	launches, waits, since := history(states, now)
	switch kind {
	case defeatShutdown:
		return 0, "It had not begun and goes back to its work pool.", true
	case defeatCapacity:
		if now.Sub(since) > w.opts.MaxCapacityWait {
			return 0, fmt.Sprintf("There was none for %s.", now.Sub(since).Round(time.Second)), false
		}
		delay = backoff(waits+1, capacityBackoff, backoffLimit).Round(time.Second)
		return delay, fmt.Sprintf(capacityRemark, since.UTC().Format(time.RFC3339), delay), true
	default:
		n := launches + 1
		if n >= w.opts.MaxLaunches {
			return 0, fmt.Sprintf("This was launch %d of %d.", n, w.opts.MaxLaunches), false
		}
		delay = backoff(n, launchBackoff, backoffLimit).Round(time.Second)
		return delay, fmt.Sprintf(launchRemark, n, w.opts.MaxLaunches, delay), true
	}
}

// history counts earlier defeats since the run was last over: somebody who runs
// it again by hand starts anew. Waiting for capacity also starts anew once there
// was some.
func history(states []prefect.State, now time.Time) (launches, waits int, since time.Time) {
	since = now
	for _, s := range states {
		switch {
		case s.Type.Final():
			launches, waits, since = 0, 0, now
		case s.Type == prefect.StateRunning:
			waits, since = 0, now
		case s.Type != prefect.StateScheduled:
		case launchCount.MatchString(s.Message):
			launches++
		default:
			m := capacitySince.FindStringSubmatch(s.Message)
			if m == nil {
				continue
			}
			if waits++; waits == 1 {
				if t, err := time.Parse(time.RFC3339, m[1]); err == nil {
					since = t
				}
			}
		}
	}
	return launches, waits, since
}
