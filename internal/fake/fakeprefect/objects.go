package fakeprefect

import (
	"encoding/json"
	"time"
)

// Time is a moment as the API writes it: UTC, microseconds, "Z".
type Time struct{ time.Time }

// MarshalJSON writes the moment with as many digits as it needs, six at most.
func (t Time) MarshalJSON() ([]byte, error) {
	return json.Marshal(t.UTC().Truncate(time.Microsecond).Format("2006-01-02T15:04:05.999999Z07:00"))
}

// Pool is a work pool.
type Pool struct {
	ID               string          `json:"id"`
	Created          Time            `json:"created"`
	Updated          Time            `json:"updated"`
	Name             string          `json:"name"`
	Description      *string         `json:"description"`
	Type             string          `json:"type"`
	BaseJobTemplate  json.RawMessage `json:"base_job_template"`
	IsPaused         bool            `json:"is_paused"`
	ConcurrencyLimit *int            `json:"concurrency_limit"`
	Status           string          `json:"status"` // READY, NOT_READY, PAUSED
	DefaultQueueID   string          `json:"default_queue_id"`
	Storage          Storage         `json:"storage_configuration"`
}

// Storage is where a pool keeps bundles: nowhere.
type Storage struct {
	BundleUploadStep            *string `json:"bundle_upload_step"`
	BundleExecutionStep         *string `json:"bundle_execution_step"`
	DefaultResultStorageBlockID *string `json:"default_result_storage_block_id"`
}

// Queue is a work queue.
type Queue struct {
	ID           string `json:"id"`
	Created      Time   `json:"created"`
	Updated      Time   `json:"updated"`
	Name         string `json:"name"`
	Description  string `json:"description"`
	IsPaused     bool   `json:"is_paused"`
	Limit        *int   `json:"concurrency_limit"`
	Priority     int    `json:"priority"`
	WorkPoolID   string `json:"work_pool_id"`
	WorkPoolName string `json:"work_pool_name"`
	Status       string `json:"status"`
}

// Worker is a worker that has sent a heartbeat.
type Worker struct {
	ID                string   `json:"id"`
	Created           Time     `json:"created"`
	Updated           Time     `json:"updated"`
	Name              string   `json:"name"`
	WorkPoolID        string   `json:"work_pool_id"`
	LastHeartbeat     Time     `json:"last_heartbeat_time"`
	HeartbeatInterval *float64 `json:"heartbeat_interval_seconds"`
	Status            string   `json:"status"`
}

// Flow is a flow.
type Flow struct {
	ID      string            `json:"id"`
	Created Time              `json:"created"`
	Updated Time              `json:"updated"`
	Name    string            `json:"name"`
	Tags    []string          `json:"tags"`
	Labels  map[string]string `json:"labels"`
}

// Deployment is a deployment.
type Deployment struct {
	ID                     string            `json:"id"`
	Created                Time              `json:"created"`
	Updated                Time              `json:"updated"`
	Name                   string            `json:"name"`
	Version                *string           `json:"version"`
	Description            *string           `json:"description"`
	FlowID                 string            `json:"flow_id"`
	Paused                 bool              `json:"paused"`
	Schedules              []any             `json:"schedules"`
	ConcurrencyLimit       *int              `json:"concurrency_limit"`
	GlobalConcurrencyLimit *int              `json:"global_concurrency_limit"`
	ConcurrencyOptions     *string           `json:"concurrency_options"`
	JobVariables           json.RawMessage   `json:"job_variables"`
	Parameters             map[string]any    `json:"parameters"`
	Tags                   []string          `json:"tags"`
	Labels                 map[string]string `json:"labels"`
	WorkQueueName          string            `json:"work_queue_name"`
	WorkQueueID            string            `json:"work_queue_id"`
	LastPolled             *Time             `json:"last_polled"`
	ParameterSchema        map[string]any    `json:"parameter_openapi_schema"`
	Path                   *string           `json:"path"`
	PullSteps              []any             `json:"pull_steps"`
	Entrypoint             *string           `json:"entrypoint"`
	StorageDocumentID      *string           `json:"storage_document_id"`
	InfrastructureID       *string           `json:"infrastructure_document_id"`
	CreatedBy              *string           `json:"created_by"`
	UpdatedBy              *string           `json:"updated_by"`
	WorkPoolName           string            `json:"work_pool_name"`
	Status                 string            `json:"status"`
	EnforceParameterSchema bool              `json:"enforce_parameter_schema"`
}

// FlowRun is a flow run.
type FlowRun struct {
	ID                  string            `json:"id"`
	Created             Time              `json:"created"`
	Updated             Time              `json:"updated"`
	Name                string            `json:"name"`
	FlowID              string            `json:"flow_id"`
	StateID             string            `json:"state_id"`
	DeploymentID        *string           `json:"deployment_id"`
	DeploymentVersion   *string           `json:"deployment_version"`
	WorkQueueID         string            `json:"work_queue_id"`
	WorkQueueName       *string           `json:"work_queue_name"`
	FlowVersion         *string           `json:"flow_version"`
	Parameters          map[string]any    `json:"parameters"`
	IdempotencyKey      *string           `json:"idempotency_key"`
	Context             map[string]any    `json:"context"`
	Policy              Policy            `json:"empirical_policy"`
	Tags                []string          `json:"tags"`
	Labels              map[string]string `json:"labels"`
	ParentTaskRunID     *string           `json:"parent_task_run_id"`
	StateType           string            `json:"state_type"`
	StateName           string            `json:"state_name"`
	RunCount            int               `json:"run_count"`
	ExpectedStart       Time              `json:"expected_start_time"`
	NextScheduledStart  *Time             `json:"next_scheduled_start_time"`
	Start               *Time             `json:"start_time"`
	End                 *Time             `json:"end_time"`
	TotalRunTime        float64           `json:"total_run_time"`
	EstimatedRunTime    float64           `json:"estimated_run_time"`
	EstimatedStartDelta float64           `json:"estimated_start_time_delta"`
	AutoScheduled       bool              `json:"auto_scheduled"`
	InfrastructureID    *string           `json:"infrastructure_document_id"`
	InfrastructurePID   *string           `json:"infrastructure_pid"`
	CreatedBy           *string           `json:"created_by"`
	WorkPoolID          string            `json:"work_pool_id,omitempty"`
	WorkPoolName        string            `json:"work_pool_name,omitempty"`
	State               *State            `json:"state"`
	JobVariables        json.RawMessage   `json:"job_variables"`
}

// Policy is a run's retry policy: none.
type Policy struct {
	MaxRetries        int      `json:"max_retries"`
	RetryDelaySeconds float64  `json:"retry_delay_seconds"`
	Retries           *int     `json:"retries"`
	RetryDelay        *int     `json:"retry_delay"`
	PauseKeys         []string `json:"pause_keys"`
	Resuming          bool     `json:"resuming"`
	RetryType         *string  `json:"retry_type"`
}

// State is a state of a flow run.
type State struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Name      string          `json:"name"`
	Timestamp Time            `json:"timestamp"`
	Message   *string         `json:"message"`
	Data      json.RawMessage `json:"data"`
	Details   StateDetails    `json:"state_details"`
}

// StateDetails are the details of a state that a worker has to do with.
type StateDetails struct {
	FlowRunID     string  `json:"flow_run_id"`
	ScheduledTime *Time   `json:"scheduled_time"`
	TransitionID  *string `json:"transition_id"`
	LeaseID       *string `json:"deployment_concurrency_lease_id"`
}

// Block is a block document.
type Block struct {
	ID         string            `json:"id"`
	Created    Time              `json:"created"`
	Updated    Time              `json:"updated"`
	Name       string            `json:"name"`
	Data       json.RawMessage   `json:"data"`
	SchemaID   string            `json:"block_schema_id"`
	Schema     *string           `json:"block_schema"`
	TypeID     string            `json:"block_type_id"`
	TypeName   string            `json:"block_type_name"`
	Type       *string           `json:"block_type"`
	References map[string]string `json:"block_document_references"`
	Anonymous  bool              `json:"is_anonymous"`

	TypeSlug string `json:"-"`
}

// Variable is a variable.
type Variable struct {
	ID      string          `json:"id"`
	Created Time            `json:"created"`
	Updated Time            `json:"updated"`
	Name    string          `json:"name"`
	Value   json.RawMessage `json:"value"`
	Tags    []string        `json:"tags"`
}
