package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// submission is a claimed flow run on its way to infrastructure.
type submission struct {
	run        prefect.FlowRun
	flow       prefect.Flow
	deployment *prefect.Deployment // nil for a run without one
	claim      prefect.State
	states     []prefect.State // the run's, up to the claim at least
	lease      *lease
	at         time.Time
	// again names the state to propose instead of Submitting when a stale claim
	// is taken up: the server lets a pending state be followed only by one of
	// another name, and lets one of two workers do that.
	again string
	tried tried // where the claim's first launch was begun
	// open says that a launch under this claim may have been made already, whose
	// outcome nobody knows.
	open   bool
	policy policy
	// found is the id of the state in which a stale claim was found; the claim's own
	// for one that was made just now.
	found string
	// own are the ids of the states that this worker has brought the run to.
	own []string
}

// stands reports by the run's states whether nobody has touched the run since this
// worker did: another one may take it for left behind, and go on under its claim.
func (s *submission) stands(states []prefect.State) bool {
	return len(states) > 0 && slices.Contains(s.own, states[len(states)-1].ID)
}

// late reports whether the run was due so long ago that the server may call it Late,
// which it may do to a run that was claimed just then: the run is scheduled again.
func (s *submission) late() bool {
	due := s.run.NextScheduledStart
	return due != nil && time.Since(*due) > lateAfter
}

// lateAfter is well before the server calls a run late, which it does after 15 s.
const lateAfter = 8 * time.Second

// took notes a state that the run was brought to.
func (s *submission) took(result prefect.OrchestrationResult) {
	if result.Status == prefect.StatusAccept && result.State != nil {
		s.own = append(s.own, result.State.ID)
	}
}

// submit renders and launches a claimed run. It reports whether the run is
// tracked now; if not, the run is out of this worker's hands.
func (w *Worker) submit(ctx context.Context, s submission) (tracked bool) {
	if s.again == "" {
		s.own, s.found = append(s.own, s.claim.ID), s.claim.ID
	}
	w.leases.hold(&s.claim, s.run.ID, graceOf(s.deployment), s.at)
	job, ok := w.prepare(ctx, &s)
	if !ok {
		return false
	}
	place := w.placeOf(job)
	if handle, found, wait := w.elsewhere(ctx, &s, place); found {
		w.launched(ctx, w.newLaunch(&s, handle, job, prefect.Event{}), s.at)
		return true
	} else if wait {
		return false
	}
	if s.again != "" {
		w.runLog(s.run.ID, slog.LevelInfo, "Worker '%s' takes up flow run '%s', which was claimed and not launched", w.name, s.run.ID)
	}
	submitted := w.emitSubmitted(&s)
	if err := w.labelRun(ctx, s.run.ID); err != nil {
		w.failSubmission(ctx, s.run, s.stands, err, "")
		return false
	}
	if !w.undisturbed(ctx, &s) || !w.proposeSubmitting(ctx, &s, place) || w.unlaunched.has(s.run.ID) {
		return false
	}
	handle, failure := w.launchJob(ctx, &s, job)
	if failure != nil {
		w.metrics.failures.Inc()
		w.onFailure(ctx, &s, failure)
		return false
	}
	w.launched(ctx, w.newLaunch(&s, handle, job, submitted), s.at)
	return true
}

// undisturbed reports whether a run whose launch took long to prepare is still as this
// worker left it or found it: one that hung is taken for gone, and others go on.
func (w *Worker) undisturbed(ctx context.Context, s *submission) bool {
	if time.Since(s.at) < claimableFor {
		return true
	}
	states, err := w.statesOf(ctx, s.run.ID)
	if err != nil || s.asLeft(states) {
		return err == nil
	}
	run, err := w.readRun(ctx, s.run.ID)
	if stored := asStored(run, states); err != nil || !s.asLeft(stored) {
		return false
	}
	s.found = states[len(states)-1].ID
	return true
}

// asLeft reports by the run's states whether it is as this worker left or found it.
func (s *submission) asLeft(states []prefect.State) bool {
	return s.stands(states) || len(states) > 0 && states[len(states)-1].ID == s.found
}

// newLaunch is the attempt that a launched job is from here on.
func (w *Worker) newLaunch(s *submission, handle launch.Handle, job launch.Job, submitted prefect.Event) *attempt {
	a := newAttempt(s.run, handle, s.lease)
	a.flow, a.deployment, a.submitted = s.flow, s.deployment, submitted
	a.deaf = !cancelsItself(job.Command)
	a.maxRuntime = s.policy.maxRuntime
	return a
}

// prepare renders the job of a run. It reports false when there is none, and the
// run was dealt with.
func (w *Worker) prepare(ctx context.Context, s *submission) (launch.Job, bool) {
	job, err := w.render(ctx, s)
	if err == nil {
		err = w.launcher.Check(job)
	}
	switch {
	case err == nil:
		return job, true
	case errors.Is(err, prefect.ErrNotFound):
		w.failSubmission(ctx, s.run, s.stands, fmt.Errorf("the flow of this run no longer exists: %w", err), "")
	case prefect.IsTransient(err), ctx.Err() != nil:
		w.giveBack(ctx, s.run, defeat{kind: defeatCapacity, still: s.stands, cause: fmt.Sprintf("The flow run could not be prepared: %v.", err)})
	default:
		w.failSubmission(ctx, s.run, s.stands, err, "")
	}
	return launch.Job{}, false
}

// launched begins to see to a run that was launched just now.
func (w *Worker) launched(ctx context.Context, a *attempt, began time.Time) {
	w.metrics.launches.WithLabelValues("ok").Inc()
	w.metrics.launched.Observe(time.Since(began).Seconds())
	w.opts.OnLaunch(a.run.ID, a.run.NextScheduledStart, a.handle.StartedAt)
	w.track(a)
	if w.executedAtLaunch() {
		w.emitExecuted(ctx, a, 0)
	}
	w.savePID(ctx, a)
	w.runLog(a.run.ID, slog.LevelInfo, "Flow run '%s' submitted to infrastructure", a.run.Name)
	if w.unlaunched.has(a.run.ID) {
		w.noticeCancelling(a.run.ID)
	}
	if w.evicted.has(a.run.ID) {
		w.jobs.Go(func() { w.evict(ctx, a) })
	}
}

// cancelsItself reports whether a run that was started with this command sees to
// its own cancellation: Prefect's command listens for it, an engine alone does not.
func cancelsItself(command string) bool {
	return command == "" || strings.Contains(command, "flow-run execute")
}

// labelRun names this worker on the run. Others read it to know whose
// infrastructure it is. A server that answers and does not take the labels fails
// the submission, as with Prefect's worker; one that does not answer fails nothing.
func (w *Worker) labelRun(ctx context.Context, flowRunID string) error {
	pool := w.pool.Load().pool
	labels := map[string]string{
		workerNameLabel: w.name, "prefect.worker.type": w.launcher.Type(),
		"prefect.work-pool.name": pool.Name, "prefect.work-pool.id": pool.ID,
	}
	if w.opts.Host != "" {
		labels[hostLabel] = w.opts.Host
	}
	err := persist(ctx, claimTries, func() error {
		return w.api.SetLabels(ctx, flowRunID, labels)
	})
	var refused *prefect.StatusError
	switch {
	case errors.As(err, &refused) && refused.Code != http.StatusNotFound:
		return fmt.Errorf("label the flow run: %w", err)
	case err != nil:
		w.log.Warn("Label flow run", "flow_run", flowRunID, "error", err)
	}
	return nil
}

const (
	workerNameLabel = "prefect.worker.name"
	hostLabel       = "faber.host"
)

// placePrefix is what stands before the place in the message of Submitting.
const placePrefix = "Submitting to "

func (w *Worker) placeOf(job launch.Job) string {
	if p, ok := w.launcher.(launch.Placer); ok {
		return p.Place(job)
	}
	return ""
}

// proposeSubmitting moves the run from claimed to submitting and reports whether
// to go on. A refusal means that somebody did something to the run since the
// claim; what, a fresh read tells.
func (w *Worker) proposeSubmitting(ctx context.Context, s *submission, place string) bool {
	name := s.again
	if name == "" {
		name = "Submitting"
	}
	state := prefect.State{Type: prefect.StatePending, Name: name}
	if place != "" {
		state.Message = placePrefix + place
	}
	result, err := w.propose(ctx, s.run.ID, proposal{state: state, tries: claimTries, still: s.asLeft})
	s.took(result)
	if err == nil && result.Status == prefect.StatusAccept {
		return w.submittedAsFound(ctx, s, result.State)
	}
	if err != nil && s.again == "" && !errors.Is(err, prefect.ErrNotFound) {
		w.log.Debug("Propose Submitting", "flow_run", s.run.ID, "error", err)
		return ctx.Err() == nil // the claim stands, the name of its sub-state is for show
	}
	run, err := w.readRun(ctx, s.run.ID)
	switch {
	case err != nil:
		return false
	case run.StateType == prefect.StateCancelling:
		w.forceCancelled(ctx, run.ID, noInfrastructure)
		return false
	case s.again == "" && run.State != nil && run.State.ID == s.claim.ID:
		return true // an older server, that knows no sub-states of Pending
	}
	w.log.Info(fmt.Sprintf("Flow run '%s' is %s by now; it is not launched", run.ID, run.StateName), "reason", result.Details.Reason)
	return false
}

// submittedAsFound looks what a run was before it was submitted, where that may have
// been something else than was seen: the server lets a run be pending again that has
// ended, or has gone back to its pool. Such a one becomes again what it was.
func (w *Worker) submittedAsFound(ctx context.Context, s *submission, submitted *prefect.State) bool {
	if submitted == nil || s.again == "" && time.Since(s.at) < claimableFor && !s.late() {
		return true
	}
	states, err := w.statesOf(ctx, s.run.ID)
	if err != nil {
		return false
	}
	i := slices.IndexFunc(states, func(state prefect.State) bool { return state.ID == submitted.ID })
	switch {
	case i < 1, states[i-1].ID == s.found:
		return true
	case states[i-1].Type == prefect.StatePending && states[i-1].Name != "Pending" && s.again == "":
		return true // somebody told what the run waits for
	}
	w.log.Info(fmt.Sprintf("Flow run '%s' was %s by then; it is not launched", s.run.ID, states[i-1].Name))
	if states[i-1].Type != prefect.StatePending {
		w.restore(ctx, s.run.ID, states[i-1], submitted.Details.TransitionID)
	}
	return false
}

// savePID records where the run's infrastructure is, in the background and with
// all patience: a run is never launched again because this failed.
// Once the infrastructure has ended there is no more trying: by then the pid
// could overwrite a later launch's.
func (w *Worker) savePID(ctx context.Context, a *attempt) {
	w.jobs.Go(func() {
		defer close(a.pidDone)
		trying, stop := context.WithCancel(ctx)
		defer stop()
		w.jobs.Go(func() {
			select {
			case <-a.ended:
			case <-trying.Done():
			}
			stop()
		})
		err := persist(trying, 0, w.pidSaver(ctx, trying, a))
		if err != nil && !errors.Is(err, prefect.ErrNotFound) {
			w.log.Warn("Give up storing the infrastructure_pid of a flow run", "flow_run", a.run.ID, "error", err)
		}
		a.pidSaved.Store(err == nil)
	})
}

// pidSaver is one try to store the pid. The first is made in any case, and its
// failure is told in the run's log.
func (w *Worker) pidSaver(ctx, trying context.Context, a *attempt) func() error {
	pid, tries := a.handle.PID, 0
	return func() error {
		if tries++; tries > 1 && trying.Err() != nil {
			return trying.Err()
		}
		err := w.api.SetInfrastructurePID(ctx, a.run.ID, &pid)
		if err != nil && tries == 1 && !errors.Is(err, prefect.ErrNotFound) {
			w.runLog(a.run.ID, slog.LevelError, "An error occurred while setting the `infrastructure_pid` on flow run UUID('%s')."+
				" The flow run will not be cancellable by other workers until that succeeds: %s", a.run.ID, err)
		}
		return err
	}
}
