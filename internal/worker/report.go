package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// selfReport is what a flow run gets to report its own end after its
// infrastructure ended cleanly: the state may be on its way.
const selfReport = 10 * time.Second

// pidPatience is how long a run's end waits for its pid to be stored.
const pidPatience = 3 * time.Second

// finish deals with the end of an attempt's infrastructure and gives the slot
// back. It keeps trying until work ends.
func (w *Worker) finish(work context.Context, a *attempt) {
	defer func() {
		close(a.done)
		tracked := w.attempts.remove(a)
		w.evicted.remove(a.run.ID)
		w.leases.drop(a.run.ID)
		a.lease.release()
		w.metrics.tracked.Set(float64(tracked))
		w.metrics.inWork.Set(float64(w.slots.inUse()))
	}()
	outcome, err := w.report(work, a)
	if err != nil {
		w.log.Error("Report the end of a flow run's infrastructure", "flow_run", a.run.ID, "error", err)
		outcome = "error"
	}
	w.metrics.reports.WithLabelValues(outcome).Inc()
	w.emitEnded(work, a)
}

// report does what the end of infrastructure means for the flow run: mostly
// nothing, because the run reports itself. Everything else follows a fresh read
// of the run, and only if this infrastructure is still the run's own.
func (w *Worker) report(work context.Context, a *attempt) (outcome string, err error) {
	a.awaitPID()
	run, err := w.readRun(work, a.run.ID)
	if errors.Is(err, prefect.ErrNotFound) {
		return "run_deleted", nil
	}
	if err != nil {
		return "", err
	}
	if w.endedByInterruption(work, a, run) {
		return w.reportInterruption(work, a, run), nil
	}
	if outcome = w.settled(work, a, run); outcome != "" {
		return outcome, nil
	}
	if w.endedBefore(work, run) {
		return "final", nil
	}
	switch a.exit.Kind {
	case launch.ExitClean:
		return w.reportSilence(work, a)
	case launch.ExitStartFailure:
		if a.exit.Permanent {
			a.exit.Message = sentences(a.exit.Message, a.exit.Fix)
			break
		}
		w.copyTail(work, a, run)
		return w.giveBack(work, run, w.defeatOf(work, a, run, defeatStart)), nil
	case launch.ExitInterrupted:
		return w.reportInterruption(work, a, run), nil
	case launch.ExitNonZero:
		if d, ok := w.moreMemory(work, a, run); ok {
			w.copyTail(work, a, run)
			return w.giveBack(work, run, d), nil
		}
	case launch.ExitStopped:
		if run.StateType == prefect.StatePending && w.evicted.has(run.ID) {
			return w.giveBack(work, run, evictedDefeat(standing(a.handle.ClaimID))), nil
		}
		if w.draining.Load() {
			return w.reportShutdown(work, a, run), nil
		}
	}
	w.reportCrash(work, a, run)
	return "crashed", nil
}

// endedBefore reports whether a run that seems to be pending has told its end, and
// sees to it that it has ended.
func (w *Worker) endedBefore(work context.Context, run prefect.FlowRun) bool {
	if run.StateType != prefect.StatePending || run.State == nil || run.State.Name == "Pending" {
		return false
	}
	states, err := w.statesOf(work, run.ID)
	return err == nil && w.restoreEnd(work, run, states)
}

// reportCrash tells of infrastructure that failed. The state says what happened,
// as Prefect's workers say it; what it means and what to do is told in the run's
// log, where they tell it: for a child after the report, by the worker, for
// infrastructure that lives on its own before it, by its observer.
func (w *Worker) reportCrash(work context.Context, a *attempt, run prefect.FlowRun) {
	exit, child := a.exit, !w.executedAtLaunch()
	switch {
	case child:
		w.runLog(a.run.ID, levelOf(exit.Code), "%s", exit.Message)
	case exit.Hint != "":
		w.observerLog(a.run.ID, slog.LevelError, exit.Hint)
	default:
		w.observerLog(a.run.ID, slog.LevelError, exit.Message)
	}
	w.copyTail(work, a, run)
	w.crash(work, a.run.ID, standing(a.handle.ClaimID), exit.Message)
	if child && exit.Hint != "" {
		w.runLog(a.run.ID, slog.LevelInfo, "%s", exit.Hint)
	}
}

// levelOf is how bad a child's exit code is: some are somebody's wish, mostly.
func levelOf(code *int) slog.Level {
	if code != nil && slices.Contains([]int{-9, -15, 143}, *code) {
		return slog.LevelInfo
	}
	return slog.LevelError
}

// awaitPID waits until nothing writes the pid any more: a run that goes back to
// its pool must not be given an old one. One that is over by this end needs
// that less than it needs to be told soon.
func (a *attempt) awaitPID() {
	switch a.exit.Kind {
	case launch.ExitStartFailure, launch.ExitInterrupted, launch.ExitStopped:
		<-a.pidDone
	default:
		timer := time.NewTimer(pidPatience)
		defer timer.Stop()
		select {
		case <-a.pidDone:
		case <-timer.C:
		}
	}
}

// noProcess is said of a run that waits for its next try in a process that is gone.
const noProcess = "The process that was to retry the flow run has ended. The flow run goes back to its work pool."

// settled says why there is nothing to report, or "" when there is.
func (w *Worker) settled(work context.Context, a *attempt, run prefect.FlowRun) string {
	switch {
	case run.StateType == prefect.StateCrashed && a.beingCancelled():
		// An engine that was told to end does not know why, and calls it a crash.
		w.endCancelled(work, run)
		return "cancelled"
	case run.StateType.Final():
		a.engineCode = reportedCode(run)
		w.explainCode(a)
		return "final"
	case run.StateType == prefect.StateScheduled && run.RetriesInProcess() && w.current(work, a, run):
		w.runLog(run.ID, slog.LevelWarn, "%s", noProcess)
		w.letGo(work, run)
		return "rescheduled"
	case run.StateType == prefect.StateScheduled, run.StateType == prefect.StatePaused:
		return "rescheduled"
	case !w.current(work, a, run):
		return "superseded"
	case run.StateType == prefect.StateCancelling:
		w.endCancelled(work, run)
		return "cancelled"
	default:
		return ""
	}
}

// explainer is met by a launcher that knows what exit codes mean.
type explainer interface {
	// Explain says what a code means and what to do about it.
	Explain(code int) (meaning, hint string)
}

// explainCode tells in the run's log what to do about the code that a run reported
// of its own process, which has told the rest.
func (w *Worker) explainCode(a *attempt) {
	e, ok := w.launcher.(explainer)
	if !ok || a.engineCode == nil || *a.engineCode == 0 {
		return
	}
	if _, hint := e.Explain(*a.engineCode); hint != "" {
		w.runLog(a.run.ID, slog.LevelInfo, "%s", hint)
	}
}

// engineExit is what Prefect's command says of an engine that ended badly. The
// command itself ends well then.
var engineExit = regexp.MustCompile(`^Process exited with status code: (-?\d+)\.`)

// reportedCode is the exit code that a run reported of its own process.
func reportedCode(run prefect.FlowRun) *int {
	if run.StateType != prefect.StateCrashed || run.State == nil {
		return nil
	}
	m := engineExit.FindStringSubmatch(run.State.Message)
	if m == nil {
		return nil
	}
	code, err := strconv.Atoi(m[1])
	if err != nil {
		return nil
	}
	return &code
}

// current reports whether an attempt is still the run's own. Its pid says so. A
// run without one was either never told or had it taken away, one with another
// has a later launch or was not told yet: then the claim in its history decides.
func (w *Worker) current(ctx context.Context, a *attempt, run prefect.FlowRun) bool {
	stored, saved, claimed := run.InfrastructurePID, a.pidSaved.Load(), a.handle.ClaimID != ""
	switch {
	case sameInfrastructure(stored, a.handle.PID):
		return true
	case stored == "" && (!saved || !claimed):
		return true
	case stored != "" && (saved || !claimed):
		return false
	}
	var states []prefect.State
	err := persist(ctx, 0, func() (err error) {
		states, err = w.api.FlowRunStates(ctx, run.ID)
		return err
	})
	if err != nil {
		return false
	}
	claim, _, _ := lastClaim(states)
	return claim.ID == a.handle.ClaimID
}

// reportSilence is for infrastructure that ended well while its run is not over.
// That it ended is told before the run gets its time to report itself.
func (w *Worker) reportSilence(work context.Context, a *attempt) (string, error) {
	w.emitEnded(work, a)
	wait := selfReport
	if w.draining.Load() {
		wait = time.Second // all the time there is
	}
	pause(work, wait)
	run, err := w.readRun(work, a.run.ID)
	if errors.Is(err, prefect.ErrNotFound) {
		return "run_deleted", nil
	}
	if err != nil {
		return "", err
	}
	if outcome := w.settled(work, a, run); outcome != "" {
		return outcome, nil
	}
	if w.endedBefore(work, run) {
		return "final", nil
	}
	message := "The flow run's infrastructure exited cleanly without reporting a final state."
	hint := "Check that its command runs the flow (by default: prefect flow-run execute) and that it can reach the Prefect API."
	w.runLog(run.ID, slog.LevelError, "%s", sentences(message, hint))
	w.copyTail(work, a, run)
	w.crash(work, run.ID, standing(a.handle.ClaimID), sentences(message, hint))
	return "silent", nil
}

// reportShutdown is for a child that ended because this worker had to. A run
// that had not begun loses nothing and goes back to the pool.
func (w *Worker) reportShutdown(work context.Context, a *attempt, run prefect.FlowRun) string {
	cause := fmt.Sprintf("Worker '%s' was shut down while the flow run's process ran; the process was stopped.", w.name)
	if run.StateType == prefect.StatePending && run.DeploymentID != "" {
		return w.giveBack(work, run, defeat{kind: defeatShutdown, claim: a.handle.ClaimID, cause: cause})
	}
	w.runLog(run.ID, slog.LevelError, "%s", cause)
	w.crash(work, run.ID, standing(a.handle.ClaimID), sentences(cause, "Run it again, or give the worker time to finish before it is stopped."))
	return "crashed"
}

// crash proposes Crashed, if the run's states say that the reason still stands. A run
// that is over already, or has gone on without its claim, stays as it is.
func (w *Worker) crash(ctx context.Context, flowRunID string, still func([]prefect.State) bool, message string) {
	result, err := w.proposeCrashed(ctx, flowRunID, still, message)
	switch {
	case errors.Is(err, prefect.ErrNotFound):
	case err != nil && !errors.Is(err, errOvertaken):
		w.log.Error("Report flow run as crashed", "flow_run", flowRunID, "error", err)
	case err == nil && result.Status == prefect.StatusAccept:
		w.runLog(flowRunID, slog.LevelInfo, "Reported flow run '%s' as crashed: %s", flowRunID, message)
	default:
		// A run that is being cancelled may end as Cancelled only.
		run, err := w.readRun(ctx, flowRunID)
		if err == nil && run.StateType == prefect.StateCancelling {
			w.forceCancelled(ctx, flowRunID, w.cancelledMessage(run))
		}
	}
}

func (w *Worker) proposeCrashed(ctx context.Context, flowRunID string, still func([]prefect.State) bool, message string) (prefect.OrchestrationResult, error) {
	states, err := w.statesOf(ctx, flowRunID)
	if err != nil {
		return prefect.OrchestrationResult{}, err
	}
	if !still(states) {
		return prefect.OrchestrationResult{}, errOvertaken
	}
	return w.propose(ctx, flowRunID, proposal{
		state: prefect.State{Type: prefect.StateCrashed, Name: "Crashed", Message: message}, still: still,
	})
}

const (
	// tailPatience is how long the last lines of ended infrastructure are waited
	// for: they reach their log some seconds after the end.
	tailPatience = 20 * time.Second
	// tailPause lies between two looks; two that agree mean that all has arrived.
	tailPause = time.Second
)

// copyTail copies the last lines of the infrastructure's output to the run's
// log: often nobody else ever sees them. The report does not wait for it.
func (w *Worker) copyTail(work context.Context, a *attempt, run prefect.FlowRun) {
	limit := w.opts.TailLines
	if run.StartTime == nil && w.executedAtLaunch() {
		limit = w.opts.UnbegunTailLines
	}
	if limit < 0 {
		return
	}
	w.jobs.Go(func() {
		lines := w.awaitTail(work, a, limit)
		if len(lines) == 0 {
			return
		}
		logger := runLogger
		if w.executedAtLaunch() {
			logger = observerLogger
		}
		w.logAs(logger, a.run.ID, slog.LevelInfo, fmt.Sprintf("The last %d lines of the infrastructure's output:", len(lines)))
		for _, line := range lines {
			w.logAs(logger, a.run.ID, slog.LevelInfo, line.Text)
		}
	})
}

// awaitTail reads the last lines until they are all there, or patience ends.
func (w *Worker) awaitTail(work context.Context, a *attempt, limit int) []launch.LogLine {
	ctx, cancel := context.WithTimeout(work, tailPatience)
	defer cancel()
	var lines []launch.LogLine
	for {
		now, err := w.launcher.Tail(ctx, a.handle, limit)
		if err != nil {
			w.log.Debug("Read the last lines of infrastructure", "flow_run", a.run.ID, "error", err)
		}
		complete := len(now) > 0 && (len(now) == len(lines) || len(now) >= limit)
		if len(now) > 0 {
			lines = now
		}
		if complete || w.draining.Load() || !pause(ctx, tailPause) {
			return lines
		}
	}
}

// sentences joins a cause and a hint into one line. Both come from elsewhere,
// and may have any form: several problems, one a line, become parts of one
// sentence.
func sentences(cause, hint string) string {
	cause, hint = oneLine(cause), oneLine(hint)
	if cause == "" || hint == "" {
		return cause + hint
	}
	if !strings.ContainsAny(cause[len(cause)-1:], ".!?") {
		cause = strings.TrimRight(cause, " ,;:") + "."
	}
	return cause + " " + hint
}

func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}
