package worker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

const adoptLoopName = "adoption sweep"

// adoptLoop looks for runs of the pool that nobody sees to: at the start what a
// predecessor left, later also what other workers leave when they vanish. It is
// also what notices cancelled runs when no event tells.
func (w *Worker) adoptLoop(fetch, work context.Context) {
	for {
		wait := soonestRound // while the pool is not known yet
		if w.pool.Load() == nil {
			w.beat(adoptLoopName, w.opts.AdoptEvery)
		} else {
			soon, err := w.adoptRound(fetch, work)
			if fetch.Err() != nil {
				return
			}
			failures := w.round(adoptLoopName, w.opts.AdoptEvery, err, "")
			wait = w.untilAdoption(soon, failures)
		}
		if !pause(fetch, wait) {
			return
		}
	}
}

// soonestRound keeps runs that are nearly due from becoming many rounds.
const soonestRound = 2 * time.Second

// untilAdoption is how long to wait for the next round: until there may be more to
// see, if that is known, and after failures not as long as after a success. A worker
// that has just taken another one's place must not lose a whole interval to an API
// that stumbled once.
func (w *Worker) untilAdoption(soon time.Duration, failures int) time.Duration {
	wait := jittered(w.opts.AdoptEvery)
	switch {
	case failures > 0:
		return min(wait, jittered(soonestRound<<min(failures-1, 4)))
	case soon > 0:
		return min(wait, max(soon, soonestRound))
	}
	return wait
}

// adoptRound looks once. soon is after how long the next look may find more, 0 when
// that is not known.
func (w *Worker) adoptRound(fetch, work context.Context) (soon time.Duration, err error) {
	view := w.pool.Load()
	runs, err := w.openRuns(fetch, view.pool.ID)
	if err != nil {
		return 0, fmt.Errorf("read open flow runs: %w", err)
	}
	var unheld []prefect.FlowRun
	open := make(map[string]bool, len(runs))
	for _, run := range runs {
		open[run.ID] = true
		if !w.slots.holds(run.ID) {
			unheld = append(unheld, run)
		} else if run.StateType == prefect.StateCancelling {
			w.noticeCancelling(run.ID)
		}
	}
	w.open.Store(&open)
	if len(unheld) == 0 {
		w.attempts.setForeign(0)
		return 0, nil
	}
	if err := w.lookAtPeers(fetch); err != nil {
		return 0, fmt.Errorf("read workers: %w", err)
	}
	orphans, foreign, soon := w.orphans(fetch, unheld)
	byRun, searched, err := w.search(fetch, view, places(orphans))
	if err != nil {
		return 0, fmt.Errorf("find infrastructure: %w", err)
	}
	for _, o := range orphans {
		if fetch.Err() != nil {
			return 0, nil
		}
		w.beat(adoptLoopName, w.opts.AdoptEvery) // many runs take long
		ours, wait := w.adopt(fetch, work, o, byRun[o.run.ID], searched)
		if !ours {
			foreign++
		}
		soon = sooner(soon, wait)
	}
	w.attempts.setForeign(foreign)
	return soon, nil
}

// orphans are the runs whose worker is gone, as far as it is known whose they are.
// soon is after how long there may be more of them.
func (w *Worker) orphans(ctx context.Context, unheld []prefect.FlowRun) (orphans []orphan, foreign int, soon time.Duration) {
	for _, run := range unheld {
		if wait := w.silenceOf(quickOwner(run)); wait > 0 {
			foreign++
			soon = sooner(soon, wait)
			continue
		}
		w.beat(adoptLoopName, w.opts.AdoptEvery)
		o, err := w.orphanOf(ctx, run)
		if err != nil {
			w.log.Debug("Read the states of a flow run", "flow_run", run.ID, "error", err)
			foreign++
			continue
		}
		if w.restoreEnd(ctx, run, o.states) {
			continue
		}
		o.claim, o.owner, o.claimed = claimOf(run, o.states)
		if wait := w.silenceOf(o.owner); o.claimed && wait > 0 {
			foreign++
			soon = sooner(soon, wait)
			continue
		}
		orphans = append(orphans, o)
	}
	return orphans, foreign, soon
}

// orphanOf reads what a run has been. It fails for one that is another by then.
func (w *Worker) orphanOf(ctx context.Context, run prefect.FlowRun) (orphan, error) {
	states, err := w.api.FlowRunStates(ctx, run.ID)
	if err != nil {
		return orphan{}, err
	}
	if len(states) == 0 {
		return orphan{}, errOvertaken
	}
	o := orphan{run: run, states: states, newest: states[len(states)-1].ID}
	stored := asStored(run, states)
	if stored == nil {
		return o, nil
	}
	o.states = stored
	now, err := w.api.ReadFlowRun(ctx, run.ID) // it may have become Late since it was read
	if err == nil && asStored(now, states) == nil {
		err = errOvertaken
	}
	return o, err
}

// sooner is the shorter of two times, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// places are where orphans were being submitted to, each once: the pool's template
// may say another by now.
func places(orphans []orphan) (all []string) {
	for _, o := range orphans {
		if place := lastPlace(o).place; place != "" && !slices.Contains(all, place) {
			all = append(all, place)
		}
	}
	return all
}

// search lists the live infrastructure of the pool, by flow run. Where the pool's
// template does not tell where to look, nothing is searched: what lives cannot be
// told from what does not, but a run that names its infrastructure can be tracked.
func (w *Worker) search(ctx context.Context, view *poolView, places []string) (byRun map[string][]launch.Handle, searched bool, err error) {
	pool, err := w.poolToSearch(ctx, view)
	if prefect.IsTransient(err) || ctx.Err() != nil {
		return nil, false, err
	}
	if err != nil {
		w.log.Debug("The work pool does not tell where its infrastructure is", "error", err)
		return nil, false, nil
	}
	pool.Places = places
	found, err := w.launcher.Find(ctx, pool)
	if err != nil {
		return nil, false, err
	}
	byRun = make(map[string][]launch.Handle)
	for _, h := range found {
		byRun[h.FlowRunID] = append(byRun[h.FlowRunID], h)
	}
	return byRun, true, nil
}

// openRuns are the pool's runs that may have infrastructure or a claim. A run that
// waits for its next try in its own process is scheduled, and has both.
func (w *Worker) openRuns(ctx context.Context, poolID string) ([]prefect.FlowRun, error) {
	open, err := w.runsIn(ctx, poolID, map[string]any{"type": map[string]any{"any_": []string{"PENDING", "RUNNING", "CANCELLING"}}})
	if err != nil {
		return nil, err
	}
	waiting, err := w.runsIn(ctx, poolID, map[string]any{"name": map[string]any{"any_": []string{"AwaitingRetry"}}})
	for _, run := range waiting {
		if run.StateType == prefect.StateScheduled && run.RetriesInProcess() {
			open = append(open, run)
		}
	}
	return open, err
}

// runsIn are the pool's runs in certain states.
func (w *Worker) runsIn(ctx context.Context, poolID string, state map[string]any) ([]prefect.FlowRun, error) {
	var all []prefect.FlowRun
	for {
		page, err := w.api.FilterFlowRuns(ctx, map[string]any{
			"flow_runs":  map[string]any{"state": state},
			"work_pools": map[string]any{"id": map[string]any{"any_": []string{poolID}}},
			"sort":       "ID_DESC",
			"limit":      pageSize,
			"offset":     len(all),
		})
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < pageSize {
			return all, nil
		}
	}
}

// adopt takes an orphan over if it is for this worker to do so. It reports false for
// a run that is somebody else's, and after how long that may be otherwise.
func (w *Worker) adopt(fetch, work context.Context, o orphan, live []launch.Handle, searched bool) (ours bool, wait time.Duration) {
	if !o.claimed {
		return w.adoptForeign(fetch, work, o, live), 0
	}
	if handle, ok := handleOfClaim(live, o.claim.ID); ok {
		return w.adoptInfrastructure(fetch, work, o.run, named(handle, o.run)), 0
	}
	switch {
	case len(live) > 0: // of an earlier claim: it must end first
		return false, 0
	case searched:
		return w.adoptOrphan(fetch, work, o)
	case o.run.InfrastructurePID != "" && o.run.StateType != prefect.StatePending:
		return w.adoptForeign(fetch, work, o, nil), 0
	default:
		return false, 0 // what lives cannot be told from what does not
	}
}

// silenceOf is how long it takes until a worker counts as gone; for this worker
// itself, which sees to its own as long as it holds them, it is over.
func (w *Worker) silenceOf(owner string) time.Duration {
	if owner == "" || owner == w.name {
		return 0
	}
	return w.peers.silence(owner)
}

// quickOwner is whose run it is as far as the run itself tells: the claimant while it
// is the claim, then who labelled it.
func quickOwner(run prefect.FlowRun) string {
	if run.State != nil && run.StateType == prefect.StatePending {
		if owner, ok := claimant(run.State.Message); ok {
			return owner
		}
	}
	return labelOf(run, workerNameLabel)
}

// handleOfClaim picks the live infrastructure of a claim. One that does not tell its
// claim may be it.
func handleOfClaim(live []launch.Handle, claimID string) (launch.Handle, bool) {
	for _, h := range live {
		if h.ClaimID == claimID || h.ClaimID == "" {
			return h, true
		}
	}
	return launch.Handle{}, false
}

// named is a handle under the name that the run has for it.
func named(h launch.Handle, run prefect.FlowRun) launch.Handle {
	if h.WorkerName == "" {
		h.WorkerName = labelOf(run, workerNameLabel)
	}
	if sameInfrastructure(h.PID, run.InfrastructurePID) {
		h.PID = run.InfrastructurePID
	}
	return h
}

// adoptForeign tracks the infrastructure of a run that no worker of faber's has
// claimed, when its own worker is gone. What another kind of worker does between
// Pending and launch, nobody can know: that is left alone.
func (w *Worker) adoptForeign(fetch, work context.Context, o orphan, live []launch.Handle) bool {
	handle, ok := w.handleOf(o.run, live)
	if at := o.pendingSince(); len(live) == 0 && !at.IsZero() {
		handle.StartedAt = at // a run that is due again, or cancelled, may have it from long ago
	}
	if !ok || handle.WorkerName == "" || w.silenceOf(handle.WorkerName) > 0 {
		return false
	}
	return w.adoptInfrastructure(fetch, work, o.run, handle)
}

// handleOf picks the infrastructure of a run: what was found alive, the one the
// run names first, else what the run names although nothing like it was found.
func (w *Worker) handleOf(run prefect.FlowRun, live []launch.Handle) (launch.Handle, bool) {
	owner := labelOf(run, workerNameLabel)
	var newest launch.Handle
	for _, h := range live {
		if h.WorkerName == "" {
			h.WorkerName = owner
		}
		if sameInfrastructure(h.PID, run.InfrastructurePID) {
			h.PID = run.InfrastructurePID // as it stands in Prefect
			return h, true
		}
		if newest.PID == "" || h.StartedAt.After(newest.StartedAt) {
			newest = h
		}
	}
	if newest.PID != "" {
		return newest, true
	}
	if run.InfrastructurePID == "" {
		return launch.Handle{}, false
	}
	if w.launcher.Type() == "process" && labelOf(run, hostLabel) != w.opts.Host {
		// A process id means something on its own machine only: not finding it
		// here says nothing about one that was started elsewhere.
		return launch.Handle{}, false
	}
	h := launch.Handle{PID: run.InfrastructurePID, FlowRunID: run.ID, WorkerName: owner}
	if run.State != nil && run.State.Timestamp != nil {
		h.StartedAt = *run.State.Timestamp
	}
	return h, true
}

// adoptInfrastructure begins to track what was launched by another.
func (w *Worker) adoptInfrastructure(fetch, work context.Context, run prefect.FlowRun, handle launch.Handle) bool {
	l := w.slots.adopt(run.ID)
	if l == nil {
		return true // picked up meanwhile
	}
	a := newAttempt(run, handle, l)
	w.log.Info(fmt.Sprintf("Adopted flow run '%s' with infrastructure %s", run.ID, handle.PID), "launched_by", handle.WorkerName)
	w.metrics.adopted.WithLabelValues("infrastructure").Inc()
	w.metrics.inWork.Set(float64(w.slots.inUse()))
	w.track(a)
	w.keepTerms(work, a)
	if handle.WorkerName != w.name {
		w.jobs.Go(func() {
			if err := w.labelRun(fetch, run.ID); err != nil {
				w.log.Warn("Label flow run", "flow_run", run.ID, "error", err)
			}
		})
	}
	if run.InfrastructurePID == handle.PID {
		a.pidSaved.Store(true)
		close(a.pidDone)
	} else {
		w.savePID(work, a)
	}
	if run.StateType == prefect.StateCancelling {
		w.noticeCancelling(run.ID)
	}
	return true
}

// labelOf reads a label of the run itself, "" when it has none.
func labelOf(run prefect.FlowRun, name string) string {
	labels, _ := run.Raw["labels"].(map[string]any)
	value, _ := labels[name].(string)
	return value
}
