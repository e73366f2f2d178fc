package worker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

const (
	// ownClaimAge is what a claim under this worker's name must have sat still
	// before it counts as left behind by a predecessor.
	ownClaimAge = 10 * time.Second
	// claimProof is for how long the launcher knows a claim again for certain: ECS
	// forgets a client token an hour after its task has stopped. An older claim is
	// never launched under again.
	claimProof = 50 * time.Minute
	// lostPatience is for how long a running run may be without any infrastructure.
	lostPatience = missingAge
)

// orphan is a run whose worker is gone, with the claim that it stands under.
type orphan struct {
	run     prefect.FlowRun
	states  []prefect.State // never empty
	newest  string          // id of the state with the latest time
	claim   prefect.State
	owner   string
	claimed bool // by a worker of faber's, which all below is about
}

func (o orphan) last() prefect.State { return o.states[len(o.states)-1] }

// untouched reports by the run's states whether it still is as it was found.
func (o orphan) untouched(states []prefect.State) bool {
	return len(states) > 0 && states[len(states)-1].ID == o.newest
}

// pendingSince is when the run was last claimed by whatever worker, zero when it
// never was.
func (o orphan) pendingSince() (at time.Time) {
	for _, s := range o.states {
		if s.Type == prefect.StatePending && s.Name == "Pending" && s.Timestamp != nil {
			at = *s.Timestamp
		}
	}
	return at
}

// launchedPerhaps reports whether the claim came as far as a launch.
func (o orphan) launchedPerhaps() bool { return o.last().ID != o.claim.ID }

// since is how old a state is.
func since(s prefect.State) time.Duration {
	if s.Timestamp == nil {
		return 0
	}
	return time.Since(*s.Timestamp)
}

// adoptOrphan sees to a run that is without infrastructure.
func (w *Worker) adoptOrphan(fetch, work context.Context, o orphan) (ours bool, wait time.Duration) {
	if !w.onItsMachine(o) {
		return false, 0
	}
	switch o.run.StateType {
	case prefect.StatePending:
		return w.adoptClaim(fetch, work, o)
	case prefect.StateCancelling:
		if o.run.InfrastructurePID == "" {
			w.cancelOrphan(work, o)
			return true, 0
		}
	}
	if handle, ok := w.handleOf(o.run, nil); ok {
		handle.ClaimID, handle.Place = o.claim.ID, lastPlace(o).place
		if o.claim.Timestamp != nil {
			handle.StartedAt = *o.claim.Timestamp
		}
		return w.adoptInfrastructure(fetch, work, o.run, handle), 0
	}
	return w.adoptLost(fetch, work, o), 0
}

// onItsMachine reports whether it can be known here that an orphan's infrastructure
// does not live: a process is seen on its own machine alone.
func (w *Worker) onItsMachine(o orphan) bool {
	if w.launcher.Type() != "process" || !o.launchedPerhaps() {
		return true
	}
	return labelOf(o.run, hostLabel) == w.opts.Host
}

// adoptClaim goes on under a claim that its worker left. One that is too old to be
// repeated is given back; by then it is certain that nothing was launched for it,
// or that it has ended.
func (w *Worker) adoptClaim(fetch, work context.Context, o orphan) (ours bool, wait time.Duration) {
	if wait = ownClaimAge - since(o.last()); o.owner == w.name && wait > 0 {
		return true, wait
	}
	switch old := since(o.claim) > claimProof; {
	case old && o.launchedPerhaps():
		return w.adoptLost(fetch, work, o), 0
	case old:
		return w.declineClaim(work, o, defeatLost), 0
	}
	l, full := w.slots.acquire(o.run.ID)
	if full {
		wait = max(0, placePatience-since(o.last()))
		return w.declineClaim(work, o, defeatEvicted), wait
	}
	if l == nil {
		return true, 0
	}
	w.metrics.adopted.WithLabelValues("claim").Inc()
	w.dispatches.Go(func() { w.takeUp(work, o, l) })
	return true, 0
}

// declineClaim gives a claim back that is too old, or that there is no slot for, as
// soon as it is certain that nothing was launched for it.
func (w *Worker) declineClaim(work context.Context, o orphan, kind defeatKind) bool {
	if o.launchedPerhaps() && since(o.last()) < placePatience {
		return false
	}
	l := w.slots.adopt(o.run.ID)
	if l == nil {
		return true
	}
	l.uncount()
	w.dispatches.Go(func() {
		defer w.dispatched(l, false)
		w.giveBack(work, o.run, defeat{
			kind: kind, cause: fmt.Sprintf("Worker '%s', which had claimed the flow run, is gone.", o.owner),
			still: o.untouched,
		})
	})
	return true
}

// takeUp goes on where a vanished worker stopped: under the same claim, so that
// what it may have launched is found rather than doubled.
func (w *Worker) takeUp(work context.Context, o orphan, l *lease) {
	tracked := false
	defer func() { w.dispatched(l, tracked) }()
	if !w.submits.take(work, lineOf(o.run)) {
		return
	}
	defer w.submits.giveBack()
	if states, err := w.statesOf(work, o.run.ID); err != nil || !o.untouched(states) {
		return // somebody else was quicker
	}
	deployment, ok := w.deploymentOf(work, o.run, o.untouched)
	if !ok {
		return
	}
	w.slots.claim(o.run.ID)
	w.forgetPID(work, &o.run) // it may be an earlier claim's; this one's comes back with the launch
	again := "Submitting"
	if o.last().Name == again {
		again = "Resubmitting"
	}
	tracked = w.submit(work, submission{
		run: o.run, deployment: deployment, claim: o.claim, states: o.states, lease: l, at: time.Now(),
		again: again, tried: lastPlace(o), open: o.launchedPerhaps(), found: o.newest,
	})
}

// cancelOrphan ends a run that is being cancelled and has no infrastructure.
func (w *Worker) cancelOrphan(work context.Context, o orphan) {
	l := w.slots.adopt(o.run.ID)
	if l == nil {
		return
	}
	w.dispatches.Go(func() {
		defer w.dispatched(l, false)
		w.forceCancelled(work, o.run.ID, noInfrastructure)
	})
}

// adoptLost sees to a run whose infrastructure nobody knows: it never told where it
// is, and it does not live. If its end is still known, that is reported. If not, a
// run that is pending never began and goes back; one that is running is lost, once
// that was seen for long enough.
func (w *Worker) adoptLost(fetch, work context.Context, o orphan) bool {
	if handle, ok := w.historyOf(fetch, o); ok {
		return w.adoptInfrastructure(fetch, work, o.run, handle)
	}
	if since(o.last()) < lostPatience || !w.sightings.twice("lost "+o.run.ID, time.Now()) {
		return true
	}
	l := w.slots.adopt(o.run.ID)
	if l == nil {
		return true
	}
	w.dispatches.Go(func() {
		defer w.dispatched(l, false)
		w.reportLost(work, o)
	})
	return true
}

func (w *Worker) historyOf(ctx context.Context, o orphan) (launch.Handle, bool) {
	h, ok := w.launcher.(launch.Historian)
	if !ok {
		return launch.Handle{}, false
	}
	pool, err := w.poolToSearch(ctx, w.pool.Load())
	if err != nil {
		return launch.Handle{}, false
	}
	if place := lastPlace(o).place; place != "" {
		pool.Places = append(pool.Places, place)
	}
	seen, err := h.Stopped(ctx, pool, []string{o.run.ID})
	if err != nil {
		w.log.Debug("Look for infrastructure that ended", "flow_run", o.run.ID, "error", err)
	}
	for _, observation := range seen {
		if observation.Handle.ClaimID == o.claim.ID {
			return named(observation.Handle, o.run), true
		}
	}
	return launch.Handle{}, false
}

func (w *Worker) reportLost(work context.Context, o orphan) {
	cause := fmt.Sprintf("Worker '%s', which had claimed the flow run, is gone, and no infrastructure of it is known any more.", o.owner)
	switch o.run.StateType {
	case prefect.StateScheduled:
		w.runLog(o.run.ID, slog.LevelWarn, "%s", noProcess)
		w.letGo(work, o.run)
		return
	case prefect.StatePending:
		w.giveBack(work, o.run, defeat{kind: defeatLost, claim: o.claim.ID, cause: cause})
		return
	}
	run, err := w.readRun(work, o.run.ID)
	if err != nil || run.State == nil || run.State.ID != o.last().ID {
		return
	}
	w.runLog(run.ID, slog.LevelError, "%s", cause)
	w.crash(work, run.ID, standing(o.claim.ID), sentences(cause, "Look for the end of it in the infrastructure's own logs."))
}

// tried is where an earlier launch under a claim was begun, if one was.
type tried struct {
	place string
	at    time.Time
}

// lastPlace reads from a run's states where it was being submitted to.
func lastPlace(o orphan) tried {
	t := tried{}
	if last := o.last(); last.Timestamp != nil {
		t.at = *last.Timestamp
	}
	for _, s := range o.states {
		if s.ID == o.claim.ID {
			t.place = ""
		}
		if place, ok := strings.CutPrefix(s.Message, placePrefix); ok {
			t.place = place
		}
	}
	return t
}

// placePatience is how long a launch that was begun in another place gets to show
// itself there: new infrastructure is not seen at once.
const placePatience = time.Minute

// elsewhere looks for a launch that may have been made in another place, under the
// same claim, before the pool's template was changed: the launcher would not know
// it again here. If there is none, the claim is over and the run goes back. It
// reports false twice when there is nothing to look for.
func (w *Worker) elsewhere(ctx context.Context, s *submission, place string) (handle launch.Handle, found, wait bool) {
	if s.tried.place == "" || place == "" || s.tried.place == place || w.launcher.Type() == "process" {
		return launch.Handle{}, false, false
	}
	handle, found, err := w.findClaim(ctx, s.claim.ID, s.tried.place)
	switch {
	case found:
		return handle, true, false
	case err != nil:
		w.log.Warn("Look for a launch in the place where it was begun", "flow_run", s.run.ID, "place", s.tried.place, "error", err)
	case time.Since(s.tried.at) >= placePatience:
		w.giveBack(ctx, s.run, defeat{
			kind: defeatLost, claim: s.claim.ID, // as it was found, before any state of ours
			cause: fmt.Sprintf("The launch was begun in %s, and nothing came of it; the work pool's runs go to %s now.", s.tried.place, place),
		})
	}
	return launch.Handle{}, false, true
}

// stillThere reports whether a scheduled run has infrastructure of an earlier launch
// that has not ended: until it has, the run must not be launched again. What stays
// there for too long is stopped, as nothing is waiting for it any more.
func (w *Worker) stillThere(ctx context.Context, run prefect.FlowRun) bool {
	handle, err := w.earlier(ctx, run)
	if handle.PID == "" {
		return err != nil
	}
	key := "earlier " + run.ID + " " + handle.PID
	seenFor := w.sightings.seenFor(key, time.Now())
	if seenFor < earlierPatience {
		w.log.Info("Flow run is not launched yet: its earlier infrastructure has not ended", "flow_run", run.ID, "pid", handle.PID, "error", err)
		return true
	}
	if err == nil {
		err = w.launcher.Stop(ctx, handle, stopReason, w.opts.StopGrace)
	}
	w.log.Warn("Stop earlier infrastructure of a flow run that is due again", "flow_run", run.ID, "pid", handle.PID, "error", err)
	return seenFor < 2*earlierPatience
}

// earlier finds infrastructure of an earlier launch that lives, or may live when it
// cannot be asked for. A run that went back with a verdict of a worker of faber's has
// none: that was seen to.
func (w *Worker) earlier(ctx context.Context, run prefect.FlowRun) (launch.Handle, error) {
	switch {
	case run.InfrastructurePID != "":
		return w.earlierByPID(ctx, run)
	case run.RunCount == 0 && run.StateName != "AwaitingRetry" || !w.executedAtLaunch():
		return launch.Handle{}, nil
	}
	states, err := w.api.FlowRunStates(ctx, run.ID)
	if err != nil || len(states) == 0 || wasGivenBack(states[len(states)-1].Message) {
		return launch.Handle{}, err
	}
	byRun, _, err := w.search(ctx, w.pool.Load(), nil)
	if err != nil || len(byRun[run.ID]) == 0 {
		return launch.Handle{}, err
	}
	return byRun[run.ID][0], nil
}

func (w *Worker) earlierByPID(ctx context.Context, run prefect.FlowRun) (launch.Handle, error) {
	handle := launch.Handle{PID: run.InfrastructurePID, FlowRunID: run.ID}
	seen, err := w.launcher.Describe(ctx, []launch.Handle{handle})
	alive := err != nil
	for _, o := range seen {
		alive = o.Phase != launch.PhaseStopped && (o.Phase != launch.PhaseMissing || w.executedAtLaunch() && w.claimedLately(ctx, run))
	}
	if !alive {
		return launch.Handle{}, nil
	}
	return handle, err
}

// claimedLately reports whether a run's last claim is so young that infrastructure
// which its API does not know may be too new to be seen.
func (w *Worker) claimedLately(ctx context.Context, run prefect.FlowRun) bool {
	states, err := w.api.FlowRunStates(ctx, run.ID)
	for _, s := range states {
		if s.Type == prefect.StatePending && since(s) < missingAge {
			return true
		}
	}
	return err != nil
}

// earlierPatience is what earlier infrastructure gets to end by itself: Fargate
// gives a task two minutes at the most.
const earlierPatience = 3 * time.Minute
