package prefect

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Frame types, capabilities and kinds of the worker channel.
const (
	channelVersion = "work_pool_worker_channel.v1"

	capabilityHeartbeat = "worker_heartbeat.v1"
	capabilitySnapshot  = "work_pool_snapshot.v1"
	capabilityCleanup   = "cleanup_delivery.v1"

	kindCancellingTeardown = "cancelling_timeout_teardown.v1"
	kindPendingTeardown    = "pending_claim_teardown.v1"

	frameHello     = "worker.hello.v1"
	frameReady     = "worker.ready.v1"
	frameHeartbeat = "worker.heartbeat.v1"
	frameSnapshot  = "work_pool.snapshot.v1"
	frameCleanup   = "cleanup.message.v1"
	frameAck       = "cleanup.ack.v1"
	frameRelease   = "cleanup.release.v1"
	frameRenew     = "cleanup.renew.v1"
	frameResult    = "cleanup.operation_result.v1"
)

// outFrame is a frame to the server, which takes no unknown fields.
type outFrame struct {
	Type    string    `json:"type"`
	ID      string    `json:"id"`
	SentAt  time.Time `json:"sent_at"`
	Payload any       `json:"payload"`
}

func newFrame(typ string, payload any) outFrame {
	return outFrame{Type: typ, ID: newID(), SentAt: time.Now().UTC(), Payload: payload}
}

// inFrame is a frame from the server.
type inFrame struct {
	Type    string          `json:"type"`
	ID      string          `json:"id"`
	SentAt  time.Time       `json:"sent_at"`
	Payload json.RawMessage `json:"payload"`
}

// Integration names software that a worker is made of, for the server's list of
// workers.
type Integration struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// workerMetadata is what a worker says of itself once.
type workerMetadata struct {
	Integrations []Integration `json:"integrations"`
}

// metadataOf is nil when there is nothing to say.
func metadataOf(integrations []Integration) *workerMetadata {
	if len(integrations) == 0 {
		return nil
	}
	return &workerMetadata{integrations}
}

type helloPayload struct {
	ConsumerID      string          `json:"consumer_id"`
	WorkerName      string          `json:"worker_name"`
	WorkerType      string          `json:"worker_type"`
	Interval        int             `json:"heartbeat_interval_seconds"`
	Versions        []string        `json:"supported_channel_versions"`
	Capabilities    []string        `json:"requested_capabilities"`
	Queues          []string        `json:"work_queue_names"`
	HandledCleanup  []string        `json:"handled_cleanup_kinds"`
	MaxCleanup      int             `json:"max_cleanup_concurrency"`
	CreatePool      bool            `json:"create_pool_if_not_found"`
	DefaultTemplate json.RawMessage `json:"default_base_job_template"`
	Metadata        *workerMetadata `json:"worker_metadata"`
}

type readyPayload struct {
	ConsumerID string          `json:"consumer_id"`
	WorkerID   string          `json:"worker_id"`
	Version    string          `json:"selected_channel_version"`
	Interval   int             `json:"effective_heartbeat_interval_seconds"`
	Accepted   []string        `json:"accepted_capabilities"`
	Rejected   []string        `json:"rejected_capabilities"`
	MaxCleanup int             `json:"effective_max_cleanup_concurrency"`
	Queues     []resolvedQueue `json:"resolved_work_queues"`
	Snapshot   snapshotPayload `json:"initial_snapshot"`
}

type resolvedQueue struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type heartbeatPayload struct {
	ConsumerID string `json:"consumer_id"`
	WorkerName string `json:"worker_name"`
	Interval   int    `json:"heartbeat_interval_seconds"`
}

type snapshotPayload struct {
	Sequence int          `json:"snapshot_sequence"`
	Reason   string       `json:"reason"`
	WorkPool snapshotPool `json:"work_pool"`
}

// snapshotPool is a whole work pool, which has more fields than a worker needs,
// and other ones with each server.
type snapshotPool struct{ WorkPool }

// UnmarshalJSON lets fields pass that are not known.
func (p *snapshotPool) UnmarshalJSON(data []byte) error { return decode(data, &p.WorkPool) }

type cleanupPayload struct {
	MessageID     string         `json:"message_id"`
	Token         string         `json:"reservation_token"`
	LeaseExpires  time.Time      `json:"lease_expires_at"`
	DeliveryCount int            `json:"delivery_count"`
	WorkQueueID   *string        `json:"work_queue_id"`
	Data          map[string]any `json:"data"`
	Kind          string         `json:"kind"`
	Target        cleanupTarget  `json:"target"`
}

// cleanupTarget is what a cleanup is about. It may hold more than is known here.
type cleanupTarget struct {
	FlowRunID         string `json:"flow_run_id"`
	InfrastructurePID string `json:"infrastructure_pid"`
	ClaimID           string `json:"claim_id"` // of a pending claim's teardown
}

// UnmarshalJSON lets fields pass that are not known.
func (t *cleanupTarget) UnmarshalJSON(data []byte) error {
	type plain cleanupTarget
	return decode(data, (*plain)(t))
}

type operationPayload struct {
	MessageID string `json:"message_id"`
	Token     string `json:"reservation_token"`
	Reason    string `json:"reason,omitempty"` // of a release
}

type resultPayload struct {
	RequestID    string     `json:"request_frame_id"`
	MessageID    string     `json:"message_id"`
	Operation    string     `json:"operation"`
	Status       string     `json:"status"`
	LeaseExpires *time.Time `json:"lease_expires_at"`
	Reason       string     `json:"reason"`
	Detail       string     `json:"detail"`
}

// newID is a UUIDv7, which sorts by time.
func newID() string {
	id, err := uuid.NewV7()
	if err != nil { // no randomness: cannot happen on a system that runs TLS
		return uuid.NewString()
	}
	return id.String()
}
