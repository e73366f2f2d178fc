package worker

import (
	"fmt"
	"time"

	"faber/internal/launch"
	"faber/internal/prefect"
)

// modelKind is what becomes of one launch of a run.
type modelKind string

// Kinds of launches.
const (
	modelCompletes   modelKind = "completes"
	modelFailsItself modelKind = "fails"
	modelCrashes     modelKind = "crashes"        // ends badly, says nothing
	modelTells       modelKind = "reports-crash"  // says that it crashed, ends well
	modelSilent      modelKind = "silent"         // ends well, says nothing
	modelEarly       modelKind = "early"          // ends badly before it is Running
	modelSuspends    modelKind = "suspends"       // leaves its process until it is resumed
	modelPauses      modelKind = "pauses"         // waits in its process
	modelRetries     modelKind = "retries"        // fails, waits in its process, completes
	modelRetryDies   modelKind = "retry-dies"     // dies while it waits for that
	modelSpot        modelKind = "spot"           // interrupted while it runs
	modelSpotEarly   modelKind = "spot-early"     // interrupted before
	modelUnstartable modelKind = "unstartable"    // its image cannot be pulled
	modelNoRoom      modelKind = "no-capacity"    // RunTask refuses for now
	modelDenied      modelKind = "access-denied"  // RunTask refuses
	modelVanishes    modelKind = "vanishes"       // ends, and nobody knows how
	modelDozes       modelKind = "takes-its-time" // completes after ten minutes
)

// modelPlan is what one launch of a run does.
type modelPlan struct {
	Kind modelKind
	// Provision is until its container starts, Run what its flow takes, Unseen how
	// long ECS denies it.
	Provision, Run, Unseen time.Duration
	// Deaf does not end itself when it is cancelled.
	Deaf bool
	// Term is what SIGTERM makes it do.
	Term string
}

func (p modelPlan) String() string {
	return fmt.Sprintf("%s (provision %s, run %s, unseen %s, deaf %t, term %s)", p.Kind, p.Provision, p.Run, p.Unseen, p.Deaf, p.Term)
}

// plan is what the n-th launch of a run does: the last plan holds for all after it,
// with all well.
func (r *modelRun) plan(n int) modelPlan {
	if n < len(r.plans) {
		return r.plans[n]
	}
	return modelPlan{Kind: modelCompletes, Provision: 3 * time.Second, Run: 5 * time.Second}
}

// refusal is RunTask's definite answer without a task, nil when there is one.
func (p modelPlan) refusal() *launch.Failure {
	switch p.Kind {
	case modelNoRoom:
		return &launch.Failure{Kind: launch.FailureCapacity, Message: "Capacity is unavailable at this time."}
	case modelDenied:
		return &launch.Failure{Kind: launch.FailurePermanent, Message: "AccessDeniedException."}
	default:
		return nil
	}
}

// modelProcess is a task and the flow run in it: Prefect's own process, as far as
// a worker meets it.
type modelProcess struct {
	w   *modelWorld
	t   *modelTask
	run *modelRun
}

// lasts lets time pass in a task; false when it shall end before.
func (p *modelProcess) lasts(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.t.asked:
		return false
	case <-p.w.over.Done():
		return false
	}
}

func (p *modelProcess) end(kind launch.ExitKind, code int) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.t.lost = p.t.plan.Kind == modelVanishes
	exit := launch.Exit{Kind: kind, Message: "The task ended: " + string(kind) + "."}
	if kind == launch.ExitClean || kind == launch.ExitNonZero {
		exit.Code = &code
	}
	p.w.cloud.end(p.t, exit)
}

// live is the life of a task.
func (p *modelProcess) live() {
	plan := p.t.plan
	if !p.lasts(plan.Provision) {
		p.end(launch.ExitStopped, 0)
		return
	}
	switch plan.Kind {
	case modelUnstartable:
		p.end(launch.ExitStartFailure, 0)
		return
	case modelSpotEarly:
		p.end(launch.ExitInterrupted, 0)
		return
	}
	p.w.mu.Lock()
	p.t.phase = launch.PhaseRunning
	p.w.mu.Unlock()
	if !p.lasts(2*time.Second) || !p.begin() || !p.work() {
		p.terminate()
	}
}

// begin takes the run to Running. It reports false when the task shall end.
func (p *modelProcess) begin() bool {
	run, ok := p.read()
	switch {
	case !ok || p.t.plan.Kind == modelEarly:
		p.end(launch.ExitNonZero, 1)
		return true
	case run.StateType == prefect.StateCancelling:
		p.propose(prefect.State{Type: prefect.StateCancelled}, true)
		p.end(launch.ExitClean, 0)
		return true
	case run.StateType == prefect.StateCancelled:
		p.end(launch.ExitClean, 0)
		return true
	case run.StateType.Final():
		p.w.mu.Lock()
		p.w.violate("a finished run was executed", "%s is %s", run.ID, run.StateName)
		p.w.mu.Unlock()
	}
	for {
		answer, ok := p.propose(prefect.State{Type: prefect.StateRunning}, false)
		switch {
		case !ok:
			return false
		case answer.Status == prefect.StatusWait:
			if !p.lasts(time.Duration(answer.Details.DelaySeconds * float64(time.Second))) {
				return false
			}
		case answer.Status == prefect.StatusAccept:
			return true
		default:
			p.end(launch.ExitClean, 0)
			return true
		}
	}
}

// work is the flow. It reports false when it was told to end.
func (p *modelProcess) work() bool {
	plan := p.t.plan
	duration := plan.Run
	switch plan.Kind {
	case modelDozes:
		duration += 10 * time.Minute
	case modelSpot:
		duration /= 2
	}
	if !p.busy(duration) {
		return !p.t.alive() || p.w.over.Err() != nil
	}
	switch plan.Kind {
	case modelCrashes, modelVanishes:
		p.end(launch.ExitNonZero, 1)
	case modelSilent:
		p.end(launch.ExitClean, 0)
	case modelSpot:
		p.interrupted()
	case modelSuspends:
		if answer, _ := p.propose(prefect.State{Type: prefect.StatePaused, Name: "Suspended"}, false); answer.Status == prefect.StatusAccept {
			p.end(launch.ExitClean, 0)
			return true
		}
		return p.finish(prefect.StateCompleted)
	case modelPauses:
		p.propose(prefect.State{Type: prefect.StatePaused, Name: "Paused"}, false)
		return p.goOn(40*time.Second, true)
	case modelRetries, modelRetryDies:
		answer, ok := p.propose(prefect.State{Type: prefect.StateFailed}, false)
		if ok && answer.Status == prefect.StatusReject && answer.State.Name == "AwaitingRetry" {
			return p.goOn(15*time.Second, plan.Kind == modelRetries)
		}
		p.end(launch.ExitClean, 0)
	case modelFailsItself:
		return p.finish(prefect.StateFailed)
	case modelTells:
		return p.finish(prefect.StateCrashed)
	default:
		return p.finish(prefect.StateCompleted)
	}
	return true
}

// goOn waits in the process, and then runs and completes, or dies.
func (p *modelProcess) goOn(d time.Duration, lives bool) bool {
	if !p.busy(d) {
		return !p.t.alive() || p.w.over.Err() != nil
	}
	if !lives {
		p.end(launch.ExitNonZero, 1)
		return true
	}
	answer, ok := p.propose(prefect.State{Type: prefect.StateRunning}, false)
	if !ok || answer.Status != prefect.StatusAccept {
		p.end(launch.ExitClean, 0)
		return true
	}
	if !p.busy(p.t.plan.Run) {
		return !p.t.alive() || p.w.over.Err() != nil
	}
	return p.finish(prefect.StateCompleted)
}

// busy lets time pass and sees to a cancellation. It reports false when the flow
// shall not go on: told to end, or ended as cancelled.
func (p *modelProcess) busy(d time.Duration) bool {
	for d > 0 {
		slice := min(d, 7*time.Second)
		if !p.lasts(slice) {
			return false
		}
		d -= slice
		p.w.mu.Lock()
		cancelling := p.run.StateType == prefect.StateCancelling && !p.w.down(false)
		p.w.mu.Unlock()
		if cancelling && !p.t.plan.Deaf {
			p.propose(prefect.State{Type: prefect.StateCancelled}, true)
			p.end(launch.ExitClean, 0)
			return false
		}
	}
	return true
}

// finish reports a final state and ends well.
func (p *modelProcess) finish(state prefect.StateType) bool {
	_, ok := p.propose(prefect.State{Type: state}, false)
	if !ok {
		return false
	}
	if !p.lasts(time.Second) {
		return false
	}
	p.end(launch.ExitClean, 0)
	return true
}

// terminate is what SIGTERM makes of a process, and then SIGKILL.
func (p *modelProcess) terminate() {
	if p.w.over.Err() != nil {
		return
	}
	kind := launch.ExitStopped
	if p.t.plan.Term == "report" {
		p.propose(prefect.State{Type: prefect.StateCrashed, Message: "Process exited with status code: 143."}, false)
		p.end(kind, 143)
		return
	}
	p.rest(20 * time.Second)
	p.end(kind, 137)
}

// interrupted is SIGTERM because the capacity is taken away.
func (p *modelProcess) interrupted() {
	if p.t.plan.Term == "reschedule" && !p.t.relaunched {
		at := time.Now()
		p.propose(prefect.State{Type: prefect.StateScheduled, Name: "AwaitingRetry", Details: prefect.StateDetails{ScheduledTime: &at}}, false)
	}
	p.rest(10 * time.Second)
	p.end(launch.ExitInterrupted, 0)
}

// rest lets time pass whatever the task is told.
func (p *modelProcess) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.w.over.Done():
	}
}

// reach waits until the server answers, and makes the call.
func (p *modelProcess) reach(call func()) bool {
	for {
		p.w.mu.Lock()
		if !p.w.down(false) {
			deleted := p.run.deleted
			if !deleted && p.t.alive() {
				call()
			}
			p.w.mu.Unlock()
			return !deleted
		}
		p.w.mu.Unlock()
		p.rest(2 * time.Second)
		if p.w.over.Err() != nil {
			return false
		}
	}
}

func (p *modelProcess) read() (run prefect.FlowRun, ok bool) {
	ok = p.reach(func() { run = p.run.read() })
	return run, ok
}

func (p *modelProcess) propose(s prefect.State, force bool) (answer prefect.OrchestrationResult, ok bool) {
	ok = p.reach(func() {
		p.w.server.ids++
		s.Details.TransitionID = p.t.pid + fmt.Sprint(p.w.server.ids)
		answer = p.w.server.propose(p.run, s, force, p.t.pid)
		state := *answer.State
		answer.State = &state
	})
	return answer, ok
}
