package worker

import (
	"context"
	"maps"
	"sync"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

const (
	leaseLoopName = "renewal of concurrency leases"
	leaseEvery    = time.Minute
	leaseDuration = 5 * time.Minute // what the server gives at first
	// leaseHandover is how long after its infrastructure runs a flow run's lease
	// is still renewed: by then its own process does that.
	leaseHandover = 5 * time.Minute
)

// leaseRenewer is met by an API that can renew the lease on a deployment's
// concurrency slot. The server grants it at the claim and for five minutes; a
// launch that takes longer would find its slot given away when it comes to run.
type leaseRenewer interface {
	RenewConcurrencyLease(ctx context.Context, leaseID string, duration time.Duration) error
}

// leaseLoop renews the leases of runs that have not come to run yet.
func (w *Worker) leaseLoop(ctx context.Context) {
	renewer, ok := w.api.(leaseRenewer)
	if !ok {
		return
	}
	w.beat(leaseLoopName, leaseEvery)
	for pause(ctx, jittered(leaseEvery)) {
		err := w.renewLeases(ctx, renewer, time.Now())
		if ctx.Err() != nil {
			return
		}
		w.round(leaseLoopName, leaseEvery, err, "")
	}
}

// renewLeases renews what needs it. A lease that is refused for good is over:
// the run ended, or its own process has taken the lease over.
func (w *Worker) renewLeases(ctx context.Context, renewer leaseRenewer, now time.Time) (failed error) {
	for leaseID, flowRunID := range w.leases.all() {
		a := w.attempts.get(flowRunID)
		if !w.slots.holds(flowRunID) || a != nil && !a.needsLease(now) {
			w.leases.drop(leaseID)
			continue
		}
		err := renewer.RenewConcurrencyLease(ctx, leaseID, leaseDuration)
		switch {
		case err == nil:
		case prefect.IsTransient(err):
			failed = err
		default:
			w.leases.drop(leaseID)
		}
	}
	return failed
}

// leases are the concurrency leases of runs in work: flow run by lease.
type leases struct {
	mu   sync.Mutex
	byID map[string]string
}

// hold notes the lease that a state carries, if it carries one.
func (l *leases) hold(s *prefect.State, flowRunID string) {
	if s == nil || s.Details.DeploymentConcurrencyLeaseID == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byID[s.Details.DeploymentConcurrencyLeaseID] = flowRunID
}

func (l *leases) drop(leaseID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byID, leaseID)
}

func (l *leases) all() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.byID)
}

// needsLease reports whether the worker must still keep the run's lease.
func (a *attempt) needsLease(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.exit != nil {
		return false
	}
	return a.phase != launch.PhaseRunning || now.Sub(a.runningSince) < leaseHandover
}
