package worker

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"faber/internal/prefect"
)

// lastClaim finds the claim that a run stands under: the last Pending that no
// end and no new beginning has followed. ok tells whether it is one of faber's, and
// owner whose. A run that waits or pauses and then runs again without having been
// pending did so in its own process, under the claim that it had.
func lastClaim(states []prefect.State) (claim prefect.State, owner string, ok bool) {
	var current, resting prefect.State
	var late bool
	for _, s := range states {
		switch {
		case s.Type == prefect.StatePending && s.Name == "Pending":
			current, resting, late = s, prefect.State{}, false
		case s.Type == prefect.StateRunning && current.ID == "", s.Type == prefect.StatePending && late:
			current, late = resting, false // Late is said of a run that was claimed just then
		case s.Type == prefect.StateScheduled, s.Type == prefect.StatePaused:
			if current.ID != "" {
				current, resting = prefect.State{}, current
				late = s.Name == "Late"
			}
		case s.Type.Final():
			current, resting = prefect.State{}, prefect.State{}
		}
	}
	owner, ok = claimant(current.Message)
	return current, owner, ok
}

// asStored puts the state that a run is in behind the ones that are newer by their
// time, if there are any and all of them are Late: nil otherwise. The server says
// Late of runs that are due for long, and a run that is claimed at that very moment
// gets both: it is what was stored last, whichever of them was made first.
func asStored(run prefect.FlowRun, states []prefect.State) []prefect.State {
	if run.State == nil || run.State.Type != prefect.StatePending {
		return nil
	}
	at := slices.IndexFunc(states, func(s prefect.State) bool { return s.ID == run.State.ID })
	if at < 0 || at == len(states)-1 {
		return nil
	}
	newer := states[at+1:]
	if slices.ContainsFunc(newer, func(s prefect.State) bool { return s.Type != prefect.StateScheduled || s.Name != "Late" }) {
		return nil
	}
	return slices.Concat(states[:at], newer, states[at:at+1])
}

// claimOf is lastClaim for a run that may be waiting for its next try in its own
// process: it still stands under the claim that it ran under.
func claimOf(run prefect.FlowRun, states []prefect.State) (claim prefect.State, owner string, ok bool) {
	if n := len(states); n > 0 && states[n-1].Type == prefect.StateScheduled && run.RetriesInProcess() {
		states = states[:n-1]
	}
	return lastClaim(states)
}

// goneOn finds what a run became after its last claim, if that is an end or a new
// beginning. Pending by another name, which tells only what a run waits for, is not.
func goneOn(states []prefect.State) (last prefect.State, ok bool) {
	for _, s := range states {
		switch {
		case s.Type == prefect.StatePending && s.Name == "Pending":
			ok = false
		case s.Type == prefect.StatePending && last.Type == prefect.StateScheduled && strings.HasSuffix(strings.ToLower(s.Name), "submitting"):
			ok = false // it is being launched
		case s.Type == prefect.StatePending:
		default:
			last, ok = s, s.Type.Final() || s.Type == prefect.StateScheduled
		}
	}
	return last, ok
}

// wasGivenBack reports whether the message of a state is a worker's verdict on a
// claim that had ended.
func wasGivenBack(message string) bool {
	return launchCount.MatchString(message) || memoryCount.MatchString(message) || capacitySince.MatchString(message) ||
		strings.HasSuffix(message, shutdownRemark) || strings.HasSuffix(message, evictedRemark)
}

// past is what a run went through since it was last over: somebody who runs it
// again by hand starts anew.
type past struct {
	launches    int       // that failed before they ran user code, or were interrupted
	outOfMemory int       // launches that ran out of memory
	waits       int       // for capacity, since there was some last
	waitsSince  time.Time // now when it does not wait
}

// pastOf reads a run's past from the remarks in its states. The last one of each
// kind counts: it says how many there were.
func pastOf(states []prefect.State, now time.Time) past {
	fresh := past{waitsSince: now}
	p := fresh
	for _, s := range states {
		switch {
		case s.Type.Final():
			p = fresh
		case s.Type == prefect.StateRunning:
			p.waits, p.waitsSince = 0, now
		case s.Type == prefect.StateScheduled:
			p.read(s.Message)
		}
	}
	return p
}

func (p *past) read(message string) {
	if m := launchCount.FindStringSubmatch(message); m != nil {
		p.launches, _ = strconv.Atoi(m[1]) // the expression sees to digits
	}
	if m := memoryCount.FindStringSubmatch(message); m != nil {
		p.outOfMemory, _ = strconv.Atoi(m[1])
	}
	m := capacitySince.FindStringSubmatch(message)
	if m == nil {
		return
	}
	if p.waits++; p.waits == 1 {
		if t, err := time.Parse(time.RFC3339, m[1]); err == nil {
			p.waitsSince = t
		}
	}
}
