package worker

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

const (
	leaseLoopName = "renewal of concurrency leases"
	// leaseTick is how often it is looked which lease is due.
	leaseTick = 2 * time.Second
	// shortestLease is the least that the server renews a lease for.
	shortestLease = time.Minute
	// unknownGrace stands for the grace of a deployment that names none: the server's
	// own is a setting, and usually much longer.
	unknownGrace = 30 * time.Second
)

// leaseRenewer is met by an API that can renew the lease on a deployment's
// concurrency slot. The server grants it at the claim, for the deployment's grace;
// a launch that takes longer would find its slot given away when it comes to run.
type leaseRenewer interface {
	RenewConcurrencyLease(ctx context.Context, leaseID string, duration time.Duration) error
}

// concurrencyLease is the slot of a claimed run.
type concurrencyLease struct {
	id, flowRunID, claimID string
	duration               time.Duration // what it is renewed for
	due                    time.Time     // when it is to be renewed
}

// leases are the concurrency leases of runs that do not run yet, by flow run.
type leases struct {
	mu    sync.Mutex
	byRun map[string]concurrencyLease
}

// hold notes the lease that comes with a claim, if one does. The grace is the
// deployment's; 0 when it is not known. A third of it passes before the first
// renewal: two may fail.
func (l *leases) hold(claim *prefect.State, flowRunID string, grace time.Duration, now time.Time) {
	if claim == nil || claim.Details.DeploymentConcurrencyLeaseID == "" {
		return
	}
	if grace <= 0 {
		grace = unknownGrace
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byRun == nil {
		l.byRun = make(map[string]concurrencyLease)
	}
	l.byRun[flowRunID] = concurrencyLease{
		id: claim.Details.DeploymentConcurrencyLeaseID, flowRunID: flowRunID, claimID: claim.ID,
		duration: max(grace, shortestLease), due: now.Add(grace / 3),
	}
}

func (l *leases) drop(flowRunID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byRun, flowRunID)
}

// renewed sets when the lease is due again.
func (l *leases) renewed(lease concurrencyLease, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byRun[lease.flowRunID].id == lease.id {
		lease.due = now.Add(lease.duration / 3)
		l.byRun[lease.flowRunID] = lease
	}
}

func (l *leases) dueBy(now time.Time) (due []concurrencyLease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lease := range l.byRun {
		if !lease.due.After(now) {
			due = append(due, lease)
		}
	}
	return due
}

// graceOf is for how long a deployment's run has its slot before it runs.
func graceOf(d *prefect.Deployment) time.Duration {
	if d == nil {
		return 0
	}
	return time.Duration(d.Concurrency.GracePeriod * float64(time.Second))
}

// leaseLoop renews the leases of runs that have not come to run yet.
func (w *Worker) leaseLoop(ctx, work context.Context) {
	renewer, ok := w.api.(leaseRenewer)
	if !ok {
		return
	}
	w.beat(leaseLoopName, quickEvery)
	for pause(ctx, jittered(leaseTick)) {
		due := w.leases.dueBy(time.Now())
		w.beat(leaseLoopName, quickEvery)
		if len(due) == 0 {
			continue
		}
		err := w.renewLeases(ctx, work, renewer, due)
		if ctx.Err() != nil {
			return
		}
		w.round(leaseLoopName, quickEvery, err, "")
	}
}

// renewLeases renews what is due, side by side: one slow answer must not cost the
// other runs their slots.
func (w *Worker) renewLeases(ctx, work context.Context, renewer leaseRenewer, due []concurrencyLease) error {
	var renewing sync.WaitGroup
	errs := make([]error, len(due))
	for i, lease := range due {
		renewing.Go(func() { errs[i] = w.renewLease(ctx, work, renewer, lease) })
	}
	renewing.Wait()
	return errors.Join(errs...)
}

// renewLease renews one lease for as long as its run is this worker's and pending: a
// running flow run renews the lease itself.
func (w *Worker) renewLease(ctx, work context.Context, renewer leaseRenewer, lease concurrencyLease) error {
	a := w.attempts.get(lease.flowRunID)
	if !w.slots.holds(lease.flowRunID) || a != nil && a.over() {
		w.leases.drop(lease.flowRunID)
		return nil
	}
	if a != nil && a.inPhase(launch.PhaseRunning) {
		run, err := w.api.ReadFlowRun(ctx, lease.flowRunID)
		if err == nil && run.StateType != prefect.StatePending || errors.Is(err, prefect.ErrNotFound) {
			w.leases.drop(lease.flowRunID)
			return nil
		}
	}
	err := renewer.RenewConcurrencyLease(ctx, lease.id, lease.duration)
	var refused *prefect.StatusError
	switch {
	case err == nil:
		w.leases.renewed(lease, time.Now())
	case errors.As(err, &refused) && refused.Code == http.StatusGone:
		w.leases.drop(lease.flowRunID)
		w.jobs.Go(func() { w.loseSlot(work, lease) })
	case prefect.IsTransient(err):
		return err
	default:
		w.leases.drop(lease.flowRunID) // a server that knows no such leases
	}
	return nil
}

// slotLost is why a run goes back whose concurrency slot was given away.
const slotLost = "The flow run lost its deployment's concurrency slot before it came to run."

// loseSlot sends a run back to its pool whose slot was given to another one. What was
// launched for it is stopped first, as long as it has not begun to run: the server
// lets it run if it finds a slot after all.
func (w *Worker) loseSlot(work context.Context, lease concurrencyLease) {
	run, err := w.readRun(work, lease.flowRunID)
	if err != nil || run.StateType != prefect.StatePending {
		return
	}
	if a := w.attempts.get(run.ID); a != nil && a.handle.ClaimID == "" {
		return // another kind of worker launched it, and has its own way with slots
	}
	w.runLog(run.ID, slog.LevelWarn, "%s It goes back to its work pool.", slotLost)
	w.evicted.add(run.ID)
	a := w.attempts.get(run.ID)
	if a == nil {
		return // between claim and launch, where the eviction is looked for
	}
	w.evict(work, a)
}

// evict stops infrastructure whose run must wait for a slot again. Its end is
// reported as any other, and sends the run back.
func (w *Worker) evict(work context.Context, a *attempt) {
	for failures := 1; !a.over(); failures++ {
		run, err := w.readRun(work, a.run.ID)
		if err != nil || run.StateType != prefect.StatePending {
			w.evicted.remove(a.run.ID)
			return
		}
		if err = w.launcher.Stop(work, a.handle, stopReason, w.opts.StopGrace); err == nil {
			return
		}
		w.log.Warn("Stop infrastructure whose flow run lost its concurrency slot", "flow_run", a.run.ID, "error", err)
		if !pause(work, backoff(failures, 2*time.Second, 30*time.Second)) {
			return
		}
	}
}

// evictedDefeat is the end of a claim that lost its slot.
func evictedDefeat(still func([]prefect.State) bool) defeat {
	return defeat{kind: defeatEvicted, still: still, cause: slotLost}
}

func (a *attempt) over() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.exit != nil
}

func (a *attempt) inPhase(p launch.Phase) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.phase == p
}
