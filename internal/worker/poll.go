package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"faber/internal/prefect"
)

const (
	pollLoopName = "poll for flow runs"
	// pollGap keeps a burst of events, one per new run, from becoming as many polls.
	pollGap = 250 * time.Millisecond
	// pageSize is how many runs the server returns at most.
	pageSize = 200
)

// pollLoop asks for flow runs until fetch ends: at jittered intervals, when an
// event says there are some, and when a slot frees that was missing. No answer
// of the API ends it.
func (w *Worker) pollLoop(fetch, work context.Context) {
	w.beat(pollLoopName, w.opts.Query)
	for {
		known := w.synced // closed while a round had no pool to ask for: time for another
		if w.pool.Load() != nil {
			known = nil
		}
		more, err := w.pollRound(fetch, work, nil)
		if fetch.Err() != nil {
			return
		}
		failures := w.round(pollLoopName, w.opts.Query, err, "")
		wait := jittered(w.opts.Query)
		switch {
		case failures >= 3:
			wait = backoff(failures/3, 2*w.opts.Query, 16*w.opts.Query)
			if failures%3 == 0 {
				w.log.Warn(fmt.Sprintf("Failed the last %d attempts. Please check your environment and configuration."+
					" Backing off due to consecutive errors, using increased interval of %s.", failures, wait.Round(time.Second)), "error", err)
			}
		case more:
			wait = pollGap
		}
		w.rest(pollLoopName, w.opts.Query, wait)
		if !w.awaitPoll(fetch, wait, failures > 0, known) {
			return
		}
	}
}

// awaitPoll waits for the next poll. While polls fail, hints do not shorten the
// wait, there is nothing to be had; that another loop has got an answer again does.
func (w *Worker) awaitPoll(ctx context.Context, wait time.Duration, failing bool, known <-chan struct{}) bool {
	if wait <= pollGap {
		return pause(ctx, wait)
	}
	if !pause(ctx, pollGap) {
		return false
	}
	wake := w.wake
	if failing {
		wake = w.recovered
	}
	timer := time.NewTimer(wait - pollGap)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-wake:
		return true
	case <-known:
		return true
	case <-ctx.Done():
		return false
	}
}

// pollRound asks once and hands out what it gets, of the runs in only, if that is
// not nil. It reports whether another poll should follow at once because the
// answer was cut off and made progress.
func (w *Worker) pollRound(fetch, work context.Context, only map[string]bool) (more bool, err error) {
	if w.pool.Load() == nil {
		return false, nil // the sync loop says why; a poll would only say it again
	}
	free := w.slots.free()
	if free == 0 {
		w.slots.leftWork() // perhaps: the first slot to free finds out
		return false, nil
	}
	limit := 0
	if free < math.MaxInt && only == nil {
		limit = min(free, pageSize)
	}
	asked := time.Now() // the answer may be as old as this
	runs, err := w.api.GetScheduledFlowRuns(fetch, w.opts.Pool, w.opts.Queues, time.Now().Add(w.opts.Prefetch), limit)
	if errors.Is(err, prefect.ErrNotFound) {
		return false, nil // pool or queue is not there yet
	}
	if err != nil {
		return false, fmt.Errorf("get scheduled flow runs: %w", err)
	}
	taken := 0
	for _, run := range runs {
		if only != nil && !only[run.ID] {
			continue
		}
		l, full := w.slots.acquire(run.ID)
		if full {
			return false, nil
		}
		if l == nil {
			continue
		}
		taken++
		w.metrics.inWork.Set(float64(w.slots.inUse()))
		w.dispatches.Go(func() { w.dispatch(fetch, work, run, l, asked) })
	}
	if limit > 0 && len(runs) >= limit && taken > 0 {
		w.slots.leftWork()
	}
	return taken > 0 && len(runs) >= pageSize, nil
}
