package fakeprefect

import (
	"encoding/json"
	"slices"

	"github.com/google/uuid"
)

// proposal is the body of set_state.
type proposal struct {
	State struct {
		Type    string          `json:"type"`
		Name    string          `json:"name"`
		Message *string         `json:"message"`
		Data    json.RawMessage `json:"data"`
		Details StateDetails    `json:"state_details"`
	} `json:"state"`
	Force bool `json:"force"`
}

// answer is what set_state says.
type answer struct {
	State   *State        `json:"state"`
	Status  string        `json:"status"`
	Details answerDetails `json:"details"`
}

type answerDetails struct {
	Type   string `json:"type"`
	Reason string `json:"reason,omitempty"`
}

// propose applies the server's rules to a proposed state, as far as a worker
// meets them, in the server's order. s.mu is held.
func (s *Server) propose(run *FlowRun, p proposal) answer {
	refuse := func(status, reason string) answer {
		return answer{run.State, status, answerDetails{lower(status) + "_details", reason}}
	}
	now, next := run.State, p.State
	switch {
	case p.Force:
	case now.Details.TransitionID != nil && next.Details.TransitionID != nil && *now.Details.TransitionID == *next.Details.TransitionID:
		return refuse("REJECT", "This run has already made this state transition.")
	case final(now.Type) && slices.Contains([]string{"CANCELLING", "PAUSED", "CRASHED"}, next.Type):
		return refuse("ABORT", "Run is already in terminal state "+now.Type+".")
	case final(now.Type) && next.Type == "SCHEDULED" && run.DeploymentID == nil:
		return refuse("ABORT", "Cannot reschedule a run without an associated deployment.")
	case now.Type == "CANCELLING" && next.Type != "CANCELLED":
		return refuse("REJECT", "Cannot transition flows that are cancelling to a state other than Cancelled.")
	case now.Type == "SCHEDULED" && next.Type == "CANCELLING" && run.InfrastructurePID == nil:
		s.become(run, &State{Type: "CANCELLED", Name: "Cancelled"})
		return refuse("REJECT", "Scheduled flow run has no infrastructure to terminate.")
	case next.Type == "PENDING" && !mayBecomePending(now, next.Name):
		return refuse("ABORT", "This run is in a "+now.Type+" state and cannot transition to a PENDING state.")
	}
	state := &State{Type: next.Type, Name: next.Name, Message: next.Message, Data: next.Data, Details: next.Details}
	if state.Name == "" {
		state.Name = next.Type[:1] + lower(next.Type[1:])
	}
	if next.Type == "PENDING" && state.Details.ScheduledTime == nil {
		state.Details.ScheduledTime = now.Details.ScheduledTime
	}
	s.become(run, state)
	return answer{state, "ACCEPT", answerDetails{Type: "accept_details"}}
}

// mayBecomePending keeps two workers from taking the same run, and lets the one
// that took it go on through named sub-states.
func mayBecomePending(now *State, name string) bool {
	switch now.Type {
	case "PENDING":
		return name != now.Name && name != "Pending"
	case "CANCELLING", "RUNNING", "CANCELLED":
		return false
	default:
		return true
	}
}

// become puts a run into a state. s.mu is held.
func (s *Server) become(run *FlowRun, state *State) {
	state.ID, state.Timestamp, state.Details.FlowRunID = uuid.NewString(), s.now(), run.ID
	if state.Data == nil {
		state.Data = json.RawMessage("null")
	}
	run.State, run.StateID, run.StateType, run.StateName = state, state.ID, state.Type, state.Name
	run.NextScheduledStart = nil
	switch {
	case state.Type == "SCHEDULED":
		run.NextScheduledStart = state.Details.ScheduledTime
	case state.Type == "RUNNING" && run.Start == nil:
		run.Start = &state.Timestamp
		run.RunCount++
	case final(state.Type):
		run.End = &state.Timestamp
	}
	s.states[run.ID] = append(s.states[run.ID], *state)
}

func final(stateType string) bool {
	return slices.Contains([]string{"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}, stateType)
}
