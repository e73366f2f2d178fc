package worker

import (
	"fmt"
	"strings"
	"time"

	"faber/internal/prefect"
)

// Rules that a history may break, as they are named in failures.
const (
	ruleTwoOfClaim  = "two tasks of one claim"
	ruleTwoAlive    = "two live tasks of one run"
	ruleCrashAlive  = "Crashed although its task is alive"
	ruleCrashKept   = "Crashed although it was paused or scheduled"
	ruleRevived     = "a finished run was claimed"
	ruleCancelled   = "Cancelled although nobody asked for it"
	ruleStopped     = "a task was stopped that must not be"
	ruleLimit       = "the limit"
	ruleStranded    = "a run is stranded"
	ruleUnpolled    = "a run that is due is not taken"
	ruleLivesOn     = "the task of a cancelled run lives on"
	ruleSlots       = "slots are not given back"
	ruleIdle        = "a worker does not poll"
	ruleUnfinished  = "a run does not end"
	ruleOldClaim    = "launched under a claim that is over"
	ruleOthers      = "a run waits for the trouble of another"
	ruleSlotLost    = "a run lost its concurrency slot"
	ruleTaken       = "a claim was taken from a living worker"
	ruleRescheduled = "Scheduled again although its task is alive"
)

// modelRead is when a worker last learnt a run's state.
type modelRead struct{ effect, answer time.Time }

// knew reports whether a worker that proposes now is to be blamed for the state that
// a run has: it has seen it, or has not looked since, and not for a while.
func (i *modelWorker) knew(r *modelRun, sent time.Time) bool {
	read := i.reads[r.ID]
	since := *r.State.Timestamp
	if since.Before(read.effect) {
		return true
	}
	return sent.Sub(read.answer) > 5*time.Second && sent.Sub(since) > time.Second
}

// checkProposal looks at a state that a worker proposes, before it has effect.
func (w *modelWorld) checkProposal(i *modelWorker, r *modelRun, s prefect.State, sent time.Time, force bool) {
	now := *r.State
	replay := now.Details.TransitionID != "" && now.Details.TransitionID == s.Details.TransitionID
	if replay && !force {
		return
	}
	live := w.cloud.living(r.ID)
	switch {
	case s.Type == prefect.StateCrashed && !now.Type.Final() && now.Type != prefect.StateCancelling:
		if live != nil && !(s.Name == "TimedOut" && r.overdue()) {
			w.violate(ruleCrashAlive, "%s has %s, %s", r.ID, live.pid, i)
		}
		if (now.Type == prefect.StateScheduled || now.Type == prefect.StatePaused) && i.knew(r, sent) {
			w.violate(ruleCrashKept, "%s was %s, %s", r.ID, now.Name, i)
		}
	case s.Type == prefect.StateCancelled && force:
		asked := r.cancelled || r.deployment != nil && r.deployment.deleted
		if now.Type.Final() && now.Type != prefect.StateCancelled && i.knew(r, sent) && (now.Type != prefect.StateCrashed || !r.cancelled) {
			w.violate(ruleCancelled, "%s was %s, %s", r.ID, now.Name, i)
		} else if !asked {
			w.violate(ruleCancelled, "%s, %s", r.ID, i)
		}
	case s.Type == prefect.StatePending && now.Type.Final() && now.Type != prefect.StateCancelled && i.knew(r, sent):
		w.violate(ruleRevived, "%s was %s, %s", r.ID, now.Name, i)
	case s.Type == prefect.StateScheduled && now.Type.Final() && (now.Type != prefect.StateCrashed || now.Name == "TimedOut") && i.knew(r, sent):
		w.violate(ruleRevived, "%s was %s, %s", r.ID, now.Name, i)
	case s.Type == prefect.StateScheduled && live != nil && (now.Type == prefect.StatePending || now.Type == prefect.StateRunning) && !r.givesBack(s):
		w.violate(ruleRescheduled, "%s has %s, %s", r.ID, live.pid, i)
	}
}

// givesBack reports whether a state only undoes a claim that came too late: the run
// becomes again what it was before it.
func (r *modelRun) givesBack(s prefect.State) bool {
	n := len(r.states)
	return n >= 2 && r.states[n-1].Type == prefect.StatePending && r.states[n-2].Type == s.Type && r.states[n-2].Name == s.Name
}

// checkOwner looks whether a worker that does something under a claim is the one that
// has it, or may take the other one for gone.
func (w *modelWorld) checkOwner(i *modelWorker, r *modelRun) {
	_, owner, claimed := lastClaim(r.states)
	if !claimed || owner == i.name {
		return
	}
	b := w.server.beats[owner]
	if time.Since(b.at) > 2*b.every || time.Since(b.gap) < time.Minute {
		return
	}
	for _, other := range w.incarnations {
		if other.name == owner && other.alive() && time.Since(other.begun) > time.Minute {
			w.violate(ruleTaken, "%s, by %s from %s", r.ID, i, owner)
		}
	}
}

// checkTask looks at a task that was started just now, by a call that was sent
// perhaps some time ago.
func (w *modelWorld) checkTask(i *modelWorker, r *modelRun, t *modelTask, sent time.Time) {
	if w.cloud.claims[t.claim]++; w.cloud.claims[t.claim] > 1 {
		w.violate(ruleTwoOfClaim, "%s, %s", t.claim, i)
	}
	claim, _, ok := lastClaim(r.states)
	if (!ok || claim.ID != t.claim) && r.State.Timestamp.Before(sent) {
		w.violate(ruleOldClaim, "%s is %s under %s, not %s, %s", r.ID, r.StateName, claim.ID, t.claim, i)
	}
	launched := 0
	for _, other := range w.cloud.tasks {
		if !other.alive() || other == t {
			continue
		}
		if other.run == t.run && !other.forked {
			w.violate(ruleTwoAlive, "%s has %s and %s, %s", r.ID, other.pid, t.pid, i)
		}
		if other.by == i && !w.server.runs[other.run].StateType.Final() {
			launched++
		}
	}
	if w.h.Limit > 0 && launched+1 > w.h.Limit {
		w.violate(ruleLimit, "%d tasks of %s", launched+1, i)
	}
}

// checkStop looks at a StopTask of a worker.
func (w *modelWorld) checkStop(i *modelWorker, t *modelTask) {
	r := w.server.runs[t.run]
	switch {
	case !t.alive():
	case t.by == nil && !r.cancelled && r.StateName != "TimedOut":
		w.violate(ruleStopped, "%s is not ours, %s", t.pid, i)
	case w.mayStop(r, *r.State):
	case time.Since(*r.State.Timestamp) < time.Second && w.mayStop(r, r.states[max(0, len(r.states)-2)]):
	default:
		w.violate(ruleStopped, "%s of %s, which is %s, %s", t.pid, r.ID, r.StateName, i)
	}
}

// mayStop reports whether nobody needs the task of a run in some state any more.
func (w *modelWorld) mayStop(r *modelRun, state prefect.State) bool {
	since := time.Since(*state.Timestamp)
	switch {
	case r.cancelled && (state.Type == prefect.StateCancelling || state.Type.Final()):
		return true
	case state.Name == "TimedOut":
		return true
	case r.deleted, state.Type.Final():
		return w.h.Janitor && (r.deleted || since >= leftoverGrace)
	case state.Type == prefect.StateScheduled: // it is due again, and an earlier task does not end
		return r.retryType != "in_process" && since >= earlierPatience
	case state.Type == prefect.StatePending: // its concurrency slot was given away
		return r.deployment != nil && r.deployment.limit > 0 && w.server.leases[state.Details.DeploymentConcurrencyLeaseID] == nil
	default:
		return false
	}
}

// lookAndSay is what lies between a look at a run and the word on it: no worker can
// know of what happens in between.
const lookAndSay = 150 * time.Millisecond

// overdue reports whether a run has had the time that its deployment gives it.
func (r *modelRun) overdue() bool {
	state := *r.State
	if time.Since(*state.Timestamp) < lookAndSay {
		state = r.states[max(0, len(r.states)-2)]
	}
	return r.deployment != nil && r.deployment.vars[variableMaxRuntime] != nil &&
		state.Type == prefect.StateRunning && time.Since(*r.StartTime) >= modelMaxRuntime
}

// Times within which all must be well again after the faults have ended.
const (
	// wellWithin is two adoption sweeps, jittered, and 15 s.
	wellWithin = 67 * time.Second
	// cancelWithin is what a deaf flow gets on top: its grace, its stop.
	cancelWithin = cancelGrace + 30*time.Second + stopPatience + wellWithin
	// pollWithin is the longest pause of polls that have failed for long.
	pollWithin = 220 * time.Second
)

// checkWell looks whether anything stands still that should not.
func (w *modelWorld) checkWell() {
	now := time.Now()
	for _, id := range w.server.order {
		r := w.server.runs[id]
		if r.deleted || r.foreign {
			continue
		}
		rule, within := w.ill(r)
		if rule == "" {
			r.stuckSince = time.Time{}
			continue
		}
		if r.stuckSince.IsZero() {
			r.stuckSince = now
		}
		age := now.Sub(r.stuckSince)
		if within == wellWithin {
			w.waited = max(w.waited, age)
		}
		if age > within && r.told != rule {
			r.told = rule
			w.violate(rule, "%s is %s (%s) for %s", r.ID, r.StateType, r.StateName, age)
		}
	}
	for _, i := range w.incarnations {
		if !i.alive() || i.worker.slots.free() == 0 {
			i.lastFull = now
		} else if now.Sub(latest(i.lastPoll, i.begun, i.lastFull, w.healed)) > pollWithin {
			w.violate(ruleIdle, "%s polled %s ago", i, now.Sub(i.lastPoll))
			i.lastPoll = now
		}
	}
}

// ill says what is wrong with a run at this moment, and how long it may be.
func (w *modelWorld) ill(r *modelRun) (rule string, within time.Duration) {
	live := w.cloud.living(r.ID)
	switch {
	case r.StateType == prefect.StateCancelled && live != nil && live.by != nil:
		return ruleLivesOn, cancelWithin
	case r.StateType.Final(), r.StateType == prefect.StatePaused:
		return "", 0
	case r.StateType == prefect.StateScheduled && r.retryType == "in_process":
		if live != nil || !r.ours {
			return "", 0
		}
		return ruleStranded, w.patience(r)
	case r.StateType == prefect.StateScheduled:
		if r.due.After(time.Now()) || !w.room() {
			return "", 0
		}
		return ruleUnpolled, pollWithin
	case r.StateType == prefect.StateCancelling:
		return ruleStranded, cancelWithin
	case live != nil:
		return "", 0
	case !r.ours:
		return "", 0
	default:
		return ruleStranded, w.patience(r)
	}
}

// patience is what a run without a live task gets. A task that ECS has forgotten
// before anybody saw it might be one that it does not know yet.
func (w *modelWorld) patience(r *modelRun) time.Duration {
	for _, t := range w.cloud.tasks {
		if t.run == r.ID && t.lost {
			return missingAge + wellWithin
		}
	}
	for _, s := range r.states {
		if place, begun := strings.CutPrefix(s.Message, placePrefix); begun && place != "cluster "+w.server.cluster {
			return placePatience + wellWithin // it may be there, and be too young to be seen
		}
	}
	return wellWithin
}

// checkOthers looks, while all trouble is that of the first run, whether others have
// their way.
func (w *modelWorld) checkOthers() {
	for _, id := range w.server.order[min(1, len(w.server.order)):] {
		r := w.server.runs[id]
		idle := time.Since(*r.State.Timestamp)
		switch {
		case r.deleted, r.foreign, r.retryType == "in_process", r.StateName == "AwaitingConcurrencySlot":
		case r.StateType == prefect.StateScheduled && time.Since(latest(*r.due, *r.State.Timestamp)) > time.Minute,
			r.StateType == prefect.StatePending && idle > time.Minute && w.cloud.living(id) == nil && !w.unseen(id):
			w.violate(ruleOthers, "%s is %s for %s", id, r.StateName, idle)
		}
	}
}

// unseen reports whether a task of the run has ended that ECS never told of, or not
// for long.
func (w *modelWorld) unseen(run string) bool {
	for _, t := range w.cloud.tasks {
		if t.run == run && (t.lost || time.Since(t.stopped) < time.Minute) {
			return true
		}
	}
	return false
}

// room reports whether a worker could take a run.
func (w *modelWorld) room() bool {
	for _, i := range w.incarnations {
		if i.alive() && i.worker.slots.free() > 0 {
			return true
		}
	}
	return false
}

// quiet reports whether every run has come to its end, or waits for its user.
func (w *modelWorld) quiet() bool {
	for _, r := range w.server.runs {
		waits := r.StateType == prefect.StatePaused || r.retryType == "in_process" && !r.ours
		if !r.deleted && !r.foreign && !r.StateType.Final() && !waits && r.told == "" {
			return false
		}
	}
	for _, t := range w.cloud.tasks {
		if t.alive() {
			return false
		}
	}
	return true
}

// checkSlots looks, when all runs have ended, whether a worker still holds one.
func (w *modelWorld) checkSlots(i *modelWorker) {
	s := i.worker.slots
	s.mu.Lock()
	held, counted := len(s.held), s.counted
	s.mu.Unlock()
	if held != 0 || counted != 0 || i.worker.submits.inUse() != 0 || len(i.worker.attempts.all()) != 0 {
		w.violate(ruleSlots, "%s holds %d, counts %d, submits %d, tracks %d", i, held, counted, i.worker.submits.inUse(), len(i.worker.attempts.all()))
	}
}

// describe tells how runs stand.
func (w *modelWorld) describe() (lines []string) {
	for _, id := range w.server.order {
		r := w.server.runs[id]
		lines = append(lines, fmt.Sprintf("%s: %s (%s) deployment %q pid %q ours %t deleted %t", id, r.StateType, r.StateName, r.DeploymentID, r.InfrastructurePID, r.ours, r.deleted))
	}
	return lines
}
