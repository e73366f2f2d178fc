package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

const (
	janitorLoopName = "janitor"
	janitorEvery    = time.Minute
	// leftoverGrace is for how long infrastructure may outlive its run: a flow ends
	// before its process does, and hooks take their time.
	leftoverGrace = 5 * time.Minute
)

// janitorLoop looks for infrastructure whose run is over or deleted: it costs money,
// and nobody waits for it. Stopping it must be asked for; else it is only told.
func (w *Worker) janitorLoop(ctx context.Context) {
	if w.launcher.Type() == "process" {
		return // children end with their worker, or are adopted by the next
	}
	w.beat(janitorLoopName, w.opts.JanitorEvery)
	for pause(ctx, jittered(w.opts.JanitorEvery)) {
		view := w.pool.Load()
		w.beat(janitorLoopName, w.opts.JanitorEvery)
		if view == nil {
			continue
		}
		found, err := w.janitorRound(ctx, view)
		if ctx.Err() != nil {
			return
		}
		w.round(janitorLoopName, w.opts.JanitorEvery, err, fmt.Sprintf("%d leftovers", found))
	}
}

func (w *Worker) janitorRound(ctx context.Context, view *poolView) (leftovers int, err error) {
	byRun, searched, err := w.search(ctx, view, nil)
	if err != nil || !searched {
		return 0, err
	}
	var problems []error
	for flowRunID, handles := range byRun {
		if w.slots.holds(flowRunID) && !w.absent(flowRunID) {
			continue
		}
		w.beat(janitorLoopName, w.opts.JanitorEvery) // many take long
		reason, err := w.uselessFor(ctx, flowRunID)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, h := range handles {
			if h.ClaimID == "" {
				continue // not certainly launched by a worker of faber's
			}
			key := "leftover " + h.PID
			if reason == "" {
				w.sightings.forget(key)
				continue
			}
			leftovers++
			if w.sightings.seenFor(key, time.Now()) >= leftoverGrace {
				problems = append(problems, w.dealWithLeftover(ctx, h, reason))
			}
		}
	}
	w.metrics.leftovers.Set(float64(leftovers))
	return leftovers, errors.Join(problems...)
}

// absent reports whether a run in work was not among the pool's open runs when these
// were read last: it has ended, was deleted, or waits.
func (w *Worker) absent(flowRunID string) bool {
	open := w.open.Load()
	return open != nil && !(*open)[flowRunID]
}

// uselessFor says why nobody needs a run's infrastructure any more; "" when somebody
// may.
func (w *Worker) uselessFor(ctx context.Context, flowRunID string) (reason string, err error) {
	run, err := w.api.ReadFlowRun(ctx, flowRunID)
	switch {
	case errors.Is(err, prefect.ErrNotFound):
		return "its flow run was deleted", nil
	case err != nil:
		return "", fmt.Errorf("read flow run %s: %w", flowRunID, err)
	case run.StateType.Final():
		return "its flow run is " + run.StateName, nil
	default:
		return "", nil
	}
}

// dealWithLeftover stops infrastructure that was seen to be useless for the whole of
// its grace, or tells of it.
func (w *Worker) dealWithLeftover(ctx context.Context, h launch.Handle, reason string) error {
	if !w.opts.StopLeftovers {
		if w.toldLeftover.add(h.PID) {
			w.log.Warn("Infrastructure is left over", "pid", h.PID, "flow_run", h.FlowRunID, "reason", reason,
				"hint", "stop it, or let the worker do so with --stop-leftovers")
		}
		return nil
	}
	w.log.Warn("Stop infrastructure that is left over", "pid", h.PID, "flow_run", h.FlowRunID, "reason", reason)
	if err := w.launcher.Stop(ctx, h, stopReason, w.opts.StopGrace); err != nil {
		return fmt.Errorf("stop leftover %s: %w", h.PID, err)
	}
	return nil
}
