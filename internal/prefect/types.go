package prefect

import (
	"encoding/json"
	"time"
)

// StateType is the type of a flow run's state.
type StateType string

// State types, as the API spells them.
const (
	StateScheduled  StateType = "SCHEDULED"
	StatePending    StateType = "PENDING"
	StateRunning    StateType = "RUNNING"
	StateCompleted  StateType = "COMPLETED"
	StateFailed     StateType = "FAILED"
	StateCancelled  StateType = "CANCELLED"
	StateCrashed    StateType = "CRASHED"
	StatePaused     StateType = "PAUSED"
	StateCancelling StateType = "CANCELLING"
)

// Final reports whether a run in this state is over.
func (t StateType) Final() bool {
	switch t {
	case StateCompleted, StateFailed, StateCancelled, StateCrashed:
		return true
	default:
		return false
	}
}

// StateDetails are the parts of a state's details that a worker reads or sends.
type StateDetails struct {
	FlowRunID                    string     `json:"flow_run_id,omitempty"`
	TransitionID                 string     `json:"transition_id,omitempty"`
	ScheduledTime                *time.Time `json:"scheduled_time,omitempty"`
	DeploymentConcurrencyLeaseID string     `json:"deployment_concurrency_lease_id,omitempty"`
}

// State is a state of a flow run. ID and Timestamp are the server's: empty in
// a proposal.
type State struct {
	ID        string          `json:"id,omitempty"`
	Type      StateType       `json:"type"`
	Name      string          `json:"name,omitempty"`
	Timestamp *time.Time      `json:"timestamp,omitempty"`
	Message   string          `json:"message,omitempty"`
	Details   StateDetails    `json:"state_details"`
	Data      json.RawMessage `json:"data,omitempty"`
}

// RetriesInProcess reports whether the run is kept for the process that runs it
// already: the server hands it out to no worker.
func (r *FlowRun) RetriesInProcess() bool {
	policy, _ := r.Raw["empirical_policy"].(map[string]any)
	return policy["retry_type"] == "in_process"
}

// FlowRun is a flow run as the API returns it, as far as a worker needs it.
// Runs from GetScheduledFlowRuns have no State, only StateType and StateName.
type FlowRun struct {
	ID                 string     `json:"id"`
	Name               string     `json:"name"`
	FlowID             string     `json:"flow_id"`
	DeploymentID       string     `json:"deployment_id"`
	WorkQueueID        string     `json:"work_queue_id"`
	WorkQueueName      string     `json:"work_queue_name"`
	WorkPoolName       string     `json:"work_pool_name"`
	Tags               []string   `json:"tags"`
	JobVariables       Document   `json:"job_variables"`
	InfrastructurePID  string     `json:"infrastructure_pid"`
	RunCount           int        `json:"run_count"`
	StateType          StateType  `json:"state_type"`
	StateName          string     `json:"state_name"`
	State              *State     `json:"state"`
	StartTime          *time.Time `json:"start_time"`
	ExpectedStartTime  *time.Time `json:"expected_start_time"`
	NextScheduledStart *time.Time `json:"next_scheduled_start_time"`
	// Raw is the whole object as received: {{ ctx.flow_run.* }} may name any field.
	Raw map[string]any `json:"-"`
}

// Flow is a flow as far as a worker needs it.
type Flow struct {
	ID   string         `json:"id"`
	Name string         `json:"name"`
	Tags []string       `json:"tags"`
	Raw  map[string]any `json:"-"`
}

// Deployment is a deployment as far as a worker needs it.
type Deployment struct {
	ID           string         `json:"id"`
	Name         string         `json:"name"`
	FlowID       string         `json:"flow_id"`
	Tags         []string       `json:"tags"`
	Labels       map[string]any `json:"labels"`
	JobVariables Document       `json:"job_variables"`
	Updated      string         `json:"updated"` // as the server writes it: it becomes a label
	Concurrency  Concurrency    `json:"concurrency_options"`

	// Where the deployment comes from, on servers that keep it.
	Branch      string       `json:"branch"`
	Base        string       `json:"base"` // id of another deployment, as Root
	Root        string       `json:"root"`
	VersionID   string       `json:"version_id"`
	VersionInfo *VersionInfo `json:"version_info"`
}

// Concurrency says how a deployment's concurrency limit is kept.
type Concurrency struct {
	// GracePeriod is for how long a claimed run has its slot before it runs, in
	// seconds; 0 leaves it to the server.
	GracePeriod float64 `json:"grace_period_seconds"`
}

// VersionInfo names a version of a deployment.
type VersionInfo struct {
	Type    string `json:"type"`
	Version string `json:"version"`
}

// WorkPool is a work pool. BaseJobTemplate is {"job_configuration": {...},
// "variables": {JSON schema}}, or empty in a pool nobody has set up yet.
type WorkPool struct {
	ID              string   `json:"id"`
	Name            string   `json:"name"`
	Type            string   `json:"type"`
	Status          string   `json:"status"` // READY, NOT_READY, PAUSED
	IsPaused        bool     `json:"is_paused"`
	BaseJobTemplate Document `json:"base_job_template"`
}

// Document is a JSON object as it was received, with its keys in their order and
// its numbers as they were written: both reach a flow run's infrastructure.
type Document = json.RawMessage

// IsSetUp tells a pool with a template from one that nobody has set up yet.
func (p WorkPool) IsSetUp() bool {
	if len(p.BaseJobTemplate) == 0 {
		return false
	}
	var template map[string]json.RawMessage
	err := json.Unmarshal(p.BaseJobTemplate, &template)
	return err != nil || len(template) > 0 // what is no object is somebody's mistake, and theirs to correct
}

// WorkQueue is a work queue of a pool.
type WorkQueue struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	IsPaused bool   `json:"is_paused"`
}

// WorkerInfo is a worker as the server knows it.
type WorkerInfo struct {
	ID            string     `json:"id"`
	Name          string     `json:"name"`
	Status        string     `json:"status"` // ONLINE, OFFLINE
	LastHeartbeat *time.Time `json:"last_heartbeat_time"`
	// HeartbeatInterval is how often the worker said it would say so, in seconds; 0
	// when it did not tell.
	HeartbeatInterval float64 `json:"heartbeat_interval_seconds"`
}

// Log is one line of a flow run's log. Levels are Python's: 10 debug, 20 info,
// 30 warning, 40 error, 50 critical.
type Log struct {
	Name      string    `json:"name"`
	Level     int       `json:"level"`
	Message   string    `json:"message"`
	Timestamp time.Time `json:"timestamp"`
	FlowRunID string    `json:"flow_run_id,omitempty"`
	TaskRunID *string   `json:"task_run_id"`
}

// SetStateStatus is the server's answer to a proposed state.
type SetStateStatus string

// Answers to a proposed state.
const (
	StatusAccept SetStateStatus = "ACCEPT"
	StatusReject SetStateStatus = "REJECT"
	StatusAbort  SetStateStatus = "ABORT"
	StatusWait   SetStateStatus = "WAIT"
)

// OrchestrationResult is the answer to a proposed state. On REJECT, State is
// what the server set instead.
type OrchestrationResult struct {
	State   *State         `json:"state"`
	Status  SetStateStatus `json:"status"`
	Details struct {
		Reason       string  `json:"reason"`
		DelaySeconds float64 `json:"delay_seconds"`
	} `json:"details"`
}

// Resource is a resource of an event: labels by name, "prefect.resource.id" among them.
type Resource map[string]string

// Event is one event, bare, as it goes over the events socket.
type Event struct {
	ID       string         `json:"id"` // UUIDv7
	Occurred time.Time      `json:"occurred"`
	Event    string         `json:"event"`
	Resource Resource       `json:"resource"`
	Related  []Resource     `json:"related"`
	Payload  map[string]any `json:"payload"`
	Follows  *string        `json:"follows"`
}
