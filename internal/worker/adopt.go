package worker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

const (
	adoptLoopName = "adoption sweep"
	// ownClaimAge is what a claim under this worker's name must have sat still
	// before it counts as left behind by a predecessor.
	ownClaimAge = 10 * time.Second
	// goneClaimAge is the same for a claim of a worker that is not online.
	goneClaimAge = time.Minute
)

// adoptLoop looks for runs of the pool that nobody sees to: at the start what a
// predecessor left, later also what other workers leave when they vanish. It is
// also what notices cancelled runs when no event tells.
func (w *Worker) adoptLoop(fetch, work context.Context) {
	for {
		if w.pool.Load() == nil {
			w.beat(adoptLoopName, w.opts.AdoptEvery)
		} else {
			err := w.adoptRound(fetch, work)
			if fetch.Err() != nil {
				return
			}
			w.round(adoptLoopName, w.opts.AdoptEvery, err, "")
		}
		if !pause(fetch, jittered(w.opts.AdoptEvery)) {
			return
		}
	}
}

func (w *Worker) adoptRound(fetch, work context.Context) error {
	view := w.pool.Load()
	runs, err := w.openRuns(fetch, view.pool.ID)
	if err != nil {
		return fmt.Errorf("read open flow runs: %w", err)
	}
	var unheld []prefect.FlowRun
	for _, run := range runs {
		if !w.slots.holds(run.ID) {
			unheld = append(unheld, run)
		} else if run.StateType == prefect.StateCancelling {
			w.noticeCancelling(run.ID)
		}
	}
	if len(unheld) == 0 {
		w.attempts.setForeign(0)
		return nil
	}
	online, err := w.onlineWorkers(fetch)
	if err != nil {
		return fmt.Errorf("read workers: %w", err)
	}
	byRun, searched, err := w.search(fetch, view)
	if err != nil {
		return fmt.Errorf("find infrastructure: %w", err)
	}
	foreign := 0
	for _, run := range unheld {
		if fetch.Err() != nil {
			return nil
		}
		w.beat(adoptLoopName, w.opts.AdoptEvery) // many runs take long
		if !searched && run.InfrastructurePID == "" {
			continue
		}
		if !w.adopt(fetch, work, run, byRun[run.ID], online) {
			foreign++
		}
	}
	w.attempts.setForeign(foreign)
	return nil
}

// search lists the live infrastructure of the pool, by flow run. Where the pool's
// template does not tell where to look, nothing is searched: what lives cannot be
// told from what does not, but a run that names its infrastructure can be tracked.
func (w *Worker) search(ctx context.Context, view *poolView) (byRun map[string][]launch.Handle, searched bool, err error) {
	pool, err := w.poolToSearch(ctx, view)
	if prefect.IsTransient(err) || ctx.Err() != nil {
		return nil, false, err
	}
	if err != nil {
		w.log.Debug("The work pool does not tell where its infrastructure is", "error", err)
		return nil, false, nil
	}
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

// openRuns are the pool's runs that may have infrastructure or a claim.
func (w *Worker) openRuns(ctx context.Context, poolID string) ([]prefect.FlowRun, error) {
	var all []prefect.FlowRun
	for {
		page, err := w.api.FilterFlowRuns(ctx, map[string]any{
			"flow_runs": map[string]any{"state": map[string]any{"type": map[string]any{
				"any_": []string{"PENDING", "RUNNING", "CANCELLING"},
			}}},
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

func (w *Worker) onlineWorkers(ctx context.Context) (map[string]bool, error) {
	workers, err := w.api.Workers(ctx, w.opts.Pool)
	if err != nil {
		return nil, err
	}
	online := make(map[string]bool)
	for _, worker := range workers {
		if worker.Status == "ONLINE" {
			online[worker.Name] = true
		}
	}
	return online, nil
}

// adopt takes a run over if it is for this worker to do so. It reports false
// for a run that is somebody else's.
func (w *Worker) adopt(fetch, work context.Context, run prefect.FlowRun, live []launch.Handle, online map[string]bool) bool {
	handle, ok := w.handleOf(run, live)
	if !ok {
		return w.adoptClaim(fetch, work, run, online)
	}
	owner := handle.WorkerName
	if owner == "" {
		states, err := w.api.FlowRunStates(fetch, run.ID)
		if err != nil {
			return false
		}
		_, owner, _ = lastClaim(states)
	}
	if owner == "" || owner != w.name && online[owner] {
		return false
	}
	return w.adoptInfrastructure(fetch, work, run, w.placed(fetch, run, handle))
}

// placed completes the handle of a process that was not found alive by where it was
// started, as the run's states tell: only there does that mean that it has ended.
func (w *Worker) placed(ctx context.Context, run prefect.FlowRun, handle launch.Handle) launch.Handle {
	if handle.Place != "" || w.launcher.Type() != "process" {
		return handle
	}
	states, err := w.api.FlowRunStates(ctx, run.ID)
	if claim, _, ok := lastClaim(states); err == nil && ok {
		handle.Place = lastPlace(states, claim, states[len(states)-1]).place
	}
	return handle
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
	if w.launcher.Type() == "process" && (owner != w.name || labelOf(run, hostLabel) != w.opts.Host) {
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
	w.leases.hold(run.State, run.ID)
	w.track(a)
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

// adoptClaim deals with a run that has no infrastructure. Only claims of faber's
// are taken up: what another kind of worker does between Pending and launch,
// nobody can know.
func (w *Worker) adoptClaim(fetch, work context.Context, run prefect.FlowRun, online map[string]bool) bool {
	if run.InfrastructurePID != "" || run.StateType == prefect.StateRunning {
		return false
	}
	states, err := w.api.FlowRunStates(fetch, run.ID)
	if err != nil {
		w.log.Debug("Read the states of a flow run", "flow_run", run.ID, "error", err)
		return false
	}
	claim, owner, ok := lastClaim(states)
	if !ok || (owner != w.name && online[owner]) {
		return false
	}
	age := ownClaimAge
	if owner != w.name {
		age = goneClaimAge
	}
	last := states[len(states)-1]
	if last.Timestamp == nil || time.Since(*last.Timestamp) < age {
		return false
	}
	l := w.slots.adopt(run.ID)
	if l == nil {
		return true
	}
	w.metrics.adopted.WithLabelValues("claim").Inc()
	w.dispatches.Go(func() { w.takeUp(work, run, states, claim, l) })
	return true
}

// takeUp goes on where a vanished worker stopped: under the same claim, so that
// what it may have launched is found rather than doubled.
func (w *Worker) takeUp(work context.Context, run prefect.FlowRun, states []prefect.State, claim prefect.State, l *lease) {
	tracked := false
	defer func() { w.dispatched(l, tracked) }()
	if run.StateType == prefect.StateCancelling {
		w.forceCancelled(work, run.ID, noInfrastructure)
		return
	}
	deployment, ok := w.deploymentOf(work, run)
	if !ok {
		return
	}
	last := states[len(states)-1]
	again := "Submitting"
	if last.Name == again {
		again = "Resubmitting"
	}
	tracked = w.submit(work, submission{
		run: run, deployment: deployment, claim: claim, lease: l, at: time.Now(), again: again, tried: lastPlace(states, claim, last),
	})
}

// tried is where an earlier launch under a claim was begun, if one was.
type tried struct {
	place string
	at    time.Time
}

// lastPlace reads from a run's states where it was being submitted to.
func lastPlace(states []prefect.State, claim, last prefect.State) tried {
	t := tried{}
	if last.Timestamp != nil {
		t.at = *last.Timestamp
	}
	for _, s := range states {
		if s.ID == claim.ID {
			t.place = ""
		}
		if place, ok := strings.CutPrefix(s.Message, placePrefix); ok {
			t.place = place
		}
	}
	return t
}

// placePatience is how long a launch that was begun in another place is given to
// show itself, by its run's beginning to run, before it counts as never made. What
// was launched there is not found by a search here.
const placePatience = 15 * time.Minute

// elsewhere reports whether the launch must wait for one that may have been made in
// another place, under the same claim, before the pool's template was changed. It
// is told once for each run.
func (w *Worker) elsewhere(s submission, place string) bool {
	if s.tried.place == "" || place == "" || s.tried.place == place || time.Since(s.tried.at) >= placePatience {
		w.toldElsewhere.remove(s.run.ID)
		return false
	}
	if w.toldElsewhere.add(s.run.ID) {
		w.log.Warn("Flow run is not launched yet: it may have been launched in another place", "flow_run", s.run.ID, "tried", s.tried.place, "now", place)
	}
	return true
}

// lastClaim finds the claim that a run stands under: the last Pending that no
// end and no new beginning has followed.
func lastClaim(states []prefect.State) (claim prefect.State, owner string, ok bool) {
	for _, s := range states {
		switch {
		case s.Type == prefect.StatePending && s.Name == "Pending":
			owner, ok = claimant(s.Message)
			claim = s
		case s.Type == prefect.StatePending, s.Type == prefect.StateRunning, s.Type == prefect.StateCancelling:
		default:
			owner, ok = "", false
		}
	}
	return claim, owner, ok
}

// labelOf reads a label of the run itself, "" when it has none.
func labelOf(run prefect.FlowRun, name string) string {
	labels, _ := run.Raw["labels"].(map[string]any)
	value, _ := labels[name].(string)
	return value
}
