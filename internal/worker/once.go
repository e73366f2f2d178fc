package worker

import (
	"context"
	"sync"
	"time"
)

// runOnce serves what one poll gives, to its end. What a predecessor left is
// taken up first: there may be nobody else to do it. A flow run that had to go
// back to its pool is fetched again for the same reason.
func (w *Worker) runOnce(ctx, work context.Context) {
	if w.pool.Load() == nil {
		return
	}
	if _, err := w.adoptRound(ctx, work); err != nil && ctx.Err() == nil {
		w.log.Warn("Look for flow runs that were left behind", "error", err)
	}
	if _, err := w.pollRound(ctx, work, nil); err != nil && ctx.Err() == nil {
		w.log.Error("Poll for flow runs", "error", err)
	}
	for w.awaitBatch(ctx) {
		again, due := w.returned.take()
		if len(again) == 0 || !pause(ctx, time.Until(due)) {
			return
		}
		if _, err := w.pollRound(ctx, work, again); err != nil && ctx.Err() == nil {
			w.log.Error("Poll for flow runs that went back", "error", err)
		}
	}
}

// awaitBatch returns when nothing is in work, or, with false, when ctx ends: then
// the drain waits, for as long as it may.
func (w *Worker) awaitBatch(ctx context.Context) bool {
	launched := make(chan struct{})
	w.jobs.Go(func() {
		w.dispatches.Wait()
		close(launched)
	})
	select {
	case <-launched:
		w.attempts.waitEmpty(ctx)
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// returned are the flow runs that this worker gave back to the pool, with the
// time when they are due again.
type returned struct {
	mu   sync.Mutex
	runs map[string]time.Time
}

func (r *returned) add(flowRunID string, due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.runs == nil {
		r.runs = make(map[string]time.Time)
	}
	r.runs[flowRunID] = due
}

// take empties the list; due is when the last of them is.
func (r *returned) take() (runs map[string]bool, due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	runs = make(map[string]bool)
	for id, at := range r.runs {
		runs[id] = true
		due = latest(due, at)
	}
	clear(r.runs)
	return runs, due
}

// idSet is a set of flow run ids.
type idSet struct {
	mu  sync.Mutex
	ids map[string]bool
}

// add reports whether the id is new.
func (s *idSet) add(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = make(map[string]bool)
	}
	if s.ids[id] {
		return false
	}
	s.ids[id] = true
	return true
}

func (s *idSet) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}

func (s *idSet) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, id)
}
