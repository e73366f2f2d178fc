package worker

import (
	"time"

	"faber/internal/prefect"
)

// propose applies the rules to a proposed state.
func (s *modelServer) propose(r *modelRun, next prefect.State, force bool, by string) prefect.OrchestrationResult {
	s.reap()
	before := *r.State
	result, state := s.rule(r, before, &next, force)
	if state == nil {
		result.State = &before
		return result
	}
	inProcess := result.Status == prefect.StatusReject && state.Name == "AwaitingRetry"
	if holdsSlot(before.Type) && !holdsSlot(state.Type) && !inProcess {
		s.release(r, before)
	}
	result.State = s.set(r, *state, by)
	return result
}

func holdsSlot(t prefect.StateType) bool {
	return t == prefect.StatePending || t == prefect.StateRunning || t == prefect.StateCancelling
}

// rule is the verdict on a proposal and the state to be set, nil for none.
func (s *modelServer) rule(r *modelRun, now prefect.State, next *prefect.State, force bool) (prefect.OrchestrationResult, *prefect.State) {
	accept := prefect.OrchestrationResult{Status: prefect.StatusAccept}
	answer := func(status prefect.SetStateStatus, reason string, state *prefect.State) (prefect.OrchestrationResult, *prefect.State) {
		a := prefect.OrchestrationResult{Status: status}
		a.Details.Reason = reason
		return a, state
	}
	if force {
		return accept, next
	}
	if next.Details.DeploymentConcurrencyLeaseID == "" {
		next.Details.DeploymentConcurrencyLeaseID = now.Details.DeploymentConcurrencyLeaseID
	}
	switch {
	case next.Details.TransitionID != "" && now.Details.TransitionID == next.Details.TransitionID:
		return answer(prefect.StatusReject, "This run has already made this state transition.", nil)
	case now.Type.Final() && (next.Type == prefect.StateCancelling || next.Type == prefect.StatePaused || next.Type == prefect.StateCrashed):
		return answer(prefect.StatusAbort, "Run is already in terminal state "+string(now.Type)+".", nil)
	case now.Type.Final() && next.Type == prefect.StateScheduled && r.deployment == nil:
		return answer(prefect.StatusAbort, "Cannot reschedule a run without an associated deployment.", nil)
	case now.Type == prefect.StateCancelling && next.Type != prefect.StateCancelled:
		return answer(prefect.StatusReject, "Cannot transition flows that are cancelling to a state other than Cancelled.", nil)
	case next.Type == prefect.StateCancelling && (now.Type == prefect.StateScheduled && r.InfrastructurePID == "" || now.Name == "Resuming" || now.Name == "Suspended"):
		return answer(prefect.StatusReject, "No infrastructure to terminate.", &prefect.State{Type: prefect.StateCancelled})
	case next.Type == prefect.StatePending && !mayBePending(now, *next):
		return answer(prefect.StatusAbort, "This run is in a "+string(now.Type)+" state and cannot transition to a PENDING state.", nil)
	}
	if now.Type == prefect.StatePending && next.Type == prefect.StateRunning && !s.keepsSlot(r, next) {
		if first := s.runs[s.order[0]]; s.w.h.Alone && first.deployment != r.deployment {
			s.w.violate(ruleSlotLost, "%s", r.ID)
		}
		return answer(prefect.StatusReject, "Deployment concurrency limit reached after lease expiry.",
			&prefect.State{Type: prefect.StateCancelled, Message: "Deployment concurrency slot lost during provisioning - no slots available to continue execution"})
	}
	switch claims := next.Type == prefect.StatePending && !holdsSlot(now.Type) && r.deployment != nil; {
	case claims && r.deployment.deleted:
		return answer(prefect.StatusAbort, "Deployment not found.", nil)
	case claims && !s.takeSlot(r.deployment, next):
		return answer(prefect.StatusReject, "Deployment concurrency limit reached.", awaitingSlot())
	}
	return s.laterRules(r, now, next)
}

// laterRules are those that come after the deployment's concurrency.
func (s *modelServer) laterRules(r *modelRun, now prefect.State, next *prefect.State) (prefect.OrchestrationResult, *prefect.State) {
	var answer prefect.OrchestrationResult
	scheduled := now.Details.ScheduledTime
	switch {
	case next.Type == prefect.StatePaused && now.Type != prefect.StateRunning,
		next.Name == "Suspended" && r.deployment == nil,
		now.Type == prefect.StatePaused && (next.Type == prefect.StatePending || next.Type == prefect.StatePaused):
		answer.Status = prefect.StatusReject
		return answer, nil
	case next.Type == prefect.StatePending && next.Details.ScheduledTime == nil && (now.Type == prefect.StateScheduled || now.Type == prefect.StatePending):
		next.Details.ScheduledTime = scheduled
	case next.Type == prefect.StateRunning && holdsTime(now.Type) && scheduled != nil && time.Until(*scheduled) > time.Second/2:
		answer.Status = prefect.StatusWait
		answer.Details.DelaySeconds = max(1, time.Until(*scheduled).Round(time.Second).Seconds())
		return answer, nil
	case now.Type == prefect.StateRunning && next.Type == prefect.StateFailed:
		if r.RunCount > r.retries {
			r.retryType = ""
			break
		}
		r.retryType = "in_process"
		at := time.Now().Add(10 * time.Second)
		answer.Status = prefect.StatusReject
		retry := prefect.State{Type: prefect.StateScheduled, Name: "AwaitingRetry", Details: prefect.StateDetails{ScheduledTime: &at}}
		retry.Details.DeploymentConcurrencyLeaseID = now.Details.DeploymentConcurrencyLeaseID
		return answer, &retry
	}
	answer.Status = prefect.StatusAccept
	return answer, next
}

func awaitingSlot() *prefect.State {
	at := time.Now().Add(modelSlotWait)
	return &prefect.State{Type: prefect.StateScheduled, Name: "AwaitingConcurrencySlot", Details: prefect.StateDetails{ScheduledTime: &at}}
}

func holdsTime(t prefect.StateType) bool {
	return t == prefect.StateScheduled || t == prefect.StatePending
}

// mayBePending keeps two workers from taking the same run, and lets the one that
// took it go on through named sub-states.
func mayBePending(now, next prefect.State) bool {
	switch now.Type {
	case prefect.StatePending:
		return next.Name != now.Name && next.Name != "Pending"
	case prefect.StateCancelling, prefect.StateRunning, prefect.StateCancelled:
		return false
	default:
		return true
	}
}

// takeSlot takes a slot of a deployment and puts the lease on it into the state.
func (s *modelServer) takeSlot(d *modelDeployment, next *prefect.State) bool {
	next.Details.DeploymentConcurrencyLeaseID = ""
	if d.limit == 0 {
		return true
	}
	if d.active >= d.limit {
		return false
	}
	d.active++
	id := s.id("lease")
	s.leases[id] = &modelLease{deployment: d, expires: time.Now().Add(d.grace)}
	next.Details.DeploymentConcurrencyLeaseID = id
	return true
}

// keepsSlot renews the lease of a run that begins to run, or takes a slot again if
// the lease is gone.
func (s *modelServer) keepsSlot(r *modelRun, next *prefect.State) bool {
	id := next.Details.DeploymentConcurrencyLeaseID
	if id == "" || r.deployment == nil || r.deployment.limit == 0 || r.deployment.deleted {
		return true
	}
	if l := s.leases[id]; l != nil {
		l.expires = time.Now().Add(l.deployment.grace)
		return true
	}
	return s.takeSlot(r.deployment, next)
}

// release gives the slot of a run back. Without its lease a slot is given back all
// the same, somebody else's perhaps: that is what the server does.
func (s *modelServer) release(r *modelRun, before prefect.State) {
	if r.deployment == nil || r.deployment.limit == 0 {
		return
	}
	id := before.Details.DeploymentConcurrencyLeaseID
	if id == "" {
		return
	}
	delete(s.leases, id)
	r.deployment.active = max(0, r.deployment.active-1)
}

// reap takes back the slots whose leases have expired. A process that runs renews
// its own.
func (s *modelServer) reap() {
	tick := time.Now().Truncate(modelRepossessor)
	for id, l := range s.leases {
		if l.expires.After(tick) {
			continue
		}
		if r := s.holder(id); r != nil && r.StateType != prefect.StatePending && s.w.cloud.living(r.ID) != nil {
			l.expires = time.Now().Add(5 * time.Minute)
			continue
		}
		s.w.note("lease %s has expired", id)
		delete(s.leases, id)
		l.deployment.active = max(0, l.deployment.active-1)
	}
}

func (s *modelServer) holder(lease string) *modelRun {
	for _, r := range s.runs {
		if r.State.Details.DeploymentConcurrencyLeaseID == lease {
			return r
		}
	}
	return nil
}
