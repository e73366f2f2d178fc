package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
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
	defeatEvicted     defeatKind = "evicted"       // its concurrency slot was given away
	defeatLost        defeatKind = "lost"          // nothing is known of its launch
	defeatMemory      defeatKind = "out_of_memory" // killed for want of memory, and there is more
)

// defeat is the end of a claim whose run shall come back.
type defeat struct {
	kind  defeatKind
	claim string // its id; "" when nobody knows it
	cause string
	hint  string
	// still says by the run's states whether there is a claim to give back; nil asks
	// whether it is the one above.
	still func([]prefect.State) bool
	// launches is how often the run may be launched; 0 is the worker's own number.
	launches int
	// over says that the run has ended in its last state, by what the claim ended of.
	over bool
	// memory is what the next launch gets after the one that ran out of it.
	memory string
}

// logger is who tells of it in the run's log: infrastructure that was there is the
// observer's matter.
func (d defeat) logger() string {
	if d.kind == defeatStart || d.kind == defeatInterrupted || d.kind == defeatMemory {
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
	if d.still == nil {
		d.still = standing(d.claim)
	}
	if run.DeploymentID == "" {
		// Without a deployment a run cannot come back to the pool.
		return w.giveUp(ctx, run, d, d.cause)
	}
	states, err := w.statesOf(ctx, run.ID)
	if err != nil {
		if !errors.Is(err, prefect.ErrNotFound) {
			w.log.Error("Read the states of a flow run", "flow_run", run.ID, "error", err)
		}
		return "error"
	}
	if !d.still(states) {
		// Somebody else has dealt with this claim, who knew it as dead as we do.
		return "superseded"
	}
	if d.over {
		states = states[:len(states)-1]
	}
	v := w.verdict(states, d, time.Now())
	if !v.again {
		return w.giveUp(ctx, run, d, v.message)
	}
	return w.reschedule(ctx, run, d, v)
}

// statesOf reads a run's states, however long that takes.
func (w *Worker) statesOf(ctx context.Context, flowRunID string) (states []prefect.State, err error) {
	err = persist(ctx, 0, func() (err error) {
		states, err = w.api.FlowRunStates(ctx, flowRunID)
		return err
	})
	return states, err
}

// giveUp ends a run that cannot come back, or has come back often enough.
func (w *Worker) giveUp(ctx context.Context, run prefect.FlowRun, d defeat, cause string) string {
	if d.kind == defeatCapacity {
		w.failSubmission(ctx, run, d.still, &launch.Failure{Message: cause}, d.hint)
		return "crashed"
	}
	w.observerLog(run.ID, slog.LevelError, sentences(cause, d.hint))
	w.crash(ctx, run.ID, d.still, cause)
	return "crashed"
}

func (w *Worker) reschedule(ctx context.Context, run prefect.FlowRun, d defeat, v verdict) string {
	// The pid goes first: once the run is scheduled another worker may claim it
	// and store a pid of its own, which must not be wiped.
	if run.InfrastructurePID != "" {
		err := persist(ctx, claimTries, func() error { return w.api.SetInfrastructurePID(ctx, run.ID, nil) })
		if err != nil {
			w.log.Warn("Clear the infrastructure_pid of a flow run", "flow_run", run.ID, "error", err)
		}
	}
	w.letGo(ctx, run)
	at := time.Now().Add(v.delay)
	result, err := w.propose(ctx, run.ID, proposal{state: prefect.State{
		Type: prefect.StateScheduled, Name: "AwaitingRetry", Message: v.message,
		Details: prefect.StateDetails{ScheduledTime: &at},
	}, still: d.still})
	switch {
	case errors.Is(err, errOvertaken):
		return "superseded"
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
	if w.opts.RunOnce {
		w.returned.add(run.ID, at)
	}
	w.logAs(d.logger(), run.ID, slog.LevelWarn, sentences(v.message, d.hint))
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
	memoryRemark   = "It ran out of memory %d times; the next launch gets %s."
	shutdownRemark = "It had not begun and goes back to its work pool."
	evictedRemark  = "It goes back to its work pool, to wait for another."
	capacityRemark = "(since %s; the next launch follows in %s)"
)

var (
	launchCount   = regexp.MustCompile(`\blaunch (\d+) of \d+;`)
	memoryCount   = regexp.MustCompile(`\bran out of memory (\d+) times;`)
	capacitySince = regexp.MustCompile(`\(since ([^;]+); the next launch follows`)
)

// verdict is what becomes of a run whose claim has ended.
type verdict struct {
	again   bool
	delay   time.Duration
	message string // of its state
}

// verdict decides whether a run comes back, when, and what its state says.
func (w *Worker) verdict(states []prefect.State, d defeat, now time.Time) verdict {
	h := pastOf(states, now)
	switch d.kind {
	case defeatShutdown:
		return verdict{true, 0, sentences(d.cause, shutdownRemark)}
	case defeatEvicted:
		return verdict{true, 0, sentences(d.cause, evictedRemark)}
	case defeatCapacity:
		if now.Sub(h.waitsSince) > w.opts.MaxCapacityWait {
			return verdict{message: sentences(d.cause, fmt.Sprintf("There was none for %s.", now.Sub(h.waitsSince).Round(time.Second)))}
		}
		delay := backoff(h.waits+1, capacityBackoff, backoffLimit).Round(time.Second)
		remark := fmt.Sprintf(capacityRemark, h.waitsSince.UTC().Format(time.RFC3339), delay)
		return verdict{true, delay, waitingFor + strings.TrimRight(oneLine(d.cause), " .;:") + " " + remark}
	case defeatMemory:
		remark := fmt.Sprintf(memoryRemark, h.outOfMemory+1, d.memory) // the ladder has an end of its own
		return verdict{true, 0, sentences(d.cause, remark)}
	}
	most := w.opts.MaxLaunches
	if d.launches > 0 {
		most = d.launches
	}
	n := h.launches + 1
	if n >= most {
		return verdict{message: sentences(d.cause, fmt.Sprintf("This was launch %d of %d.", n, most))}
	}
	delay := backoff(n, launchBackoff, backoffLimit).Round(time.Second)
	return verdict{true, delay, sentences(d.cause, fmt.Sprintf(launchRemark, n, most, delay))}
}
