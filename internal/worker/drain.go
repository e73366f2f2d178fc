package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"faber/internal/launch"
)

// drainOrder is what drain waits for, in this order.
type drainOrder struct {
	fetching *sync.WaitGroup // loops that take work
	watching func()          // stops and awaits the loops that see work end
	syncing  *sync.WaitGroup // the loop that keeps the worker online
}

// reportReserve is kept of the drain's time for what is left to say to Prefect.
const reportReserve = 5 * time.Second

// drain ends the worker: launches in flight are finished, children that cannot
// outlive it are ended and reported, everything else is left to run and to be
// adopted. It takes at most DrainTimeout, also when no API answers.
func (w *Worker) drain(work context.Context, stopWork context.CancelFunc, order drainOrder) {
	w.draining.Store(true)
	w.log.Info(fmt.Sprintf("Worker '%s' is stopping", w.name), "flow_runs_in_work", w.slots.inUse())
	deadline := time.Now().Add(w.opts.DrainTimeout)
	// Past the deadline nothing is waited for any more, and calls under way are cut.
	guard := time.AfterFunc(w.opts.DrainTimeout, stopWork)
	defer guard.Stop()

	launches := time.Until(deadline) - w.opts.DrainGrace - reportReserve
	if !within(launches, func() { order.fetching.Wait(); w.dispatches.Wait() }) {
		w.log.Warn("Launches in flight did not finish; their flow runs stay claimed and will be taken up", "flow_runs_in_work", w.slots.inUse())
	}
	if err := w.launcher.Close(w.opts.DrainGrace); err != nil {
		w.log.Warn("Close the launcher", "error", err)
	}
	// One last look: what ended with the launcher must be reported.
	w.lastLook(work)
	order.watching()
	within(time.Until(deadline), w.jobs.Wait)
	w.emitStopped()
	stopWork()
	order.fetching.Wait()
	w.dispatches.Wait()
	w.jobs.Wait()
	order.syncing.Wait()
	w.log.Info(fmt.Sprintf("Worker '%s' stopped!", w.name))
}

// lastLook describes everything once more. A launcher that cannot answer any
// more has nothing that ended with it.
func (w *Worker) lastLook(work context.Context) {
	batch := w.attempts.all()
	if len(batch) == 0 {
		return
	}
	timed, cancel := context.WithTimeout(work, reportReserve)
	defer cancel()
	handles := make([]launch.Handle, len(batch))
	for i, a := range batch {
		handles[i] = a.handle
	}
	observations, err := w.launcher.Describe(timed, handles)
	if err != nil {
		w.log.Debug("Describe infrastructure for the last time", "error", err)
	}
	for _, o := range observations {
		if o.Phase != launch.PhaseStopped {
			continue
		}
		for _, a := range batch {
			if a.handle.PID == o.Handle.PID {
				w.note(work, a, o)
			}
		}
	}
}

// within runs wait and reports whether it returned in time.
func within(d time.Duration, wait func()) bool {
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
