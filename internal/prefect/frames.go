package prefect

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Frame types and capabilities of the worker channel.
const (
	channelVersion = "work_pool_worker_channel.v1"

	capabilityHeartbeat = "worker_heartbeat.v1"
	capabilitySnapshot  = "work_pool_snapshot.v1"
	capabilityCleanup   = "cleanup_delivery.v1"

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

// inFrame is a frame from the server. Unknown fields are let pass: they harm
// nobody, and a newer server may send them.
type inFrame struct {
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload"`
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
	Metadata        any             `json:"worker_metadata"`
}

type readyPayload struct {
	ConsumerID string          `json:"consumer_id"`
	WorkerID   string          `json:"worker_id"`
	Interval   int             `json:"effective_heartbeat_interval_seconds"`
	Accepted   []string        `json:"accepted_capabilities"`
	MaxCleanup int             `json:"effective_max_cleanup_concurrency"`
	Snapshot   snapshotPayload `json:"initial_snapshot"`
}

// check holds a ready frame to what was asked for in the hello.
func (r *readyPayload) check(h helloPayload) error {
	switch {
	case r.ConsumerID != h.ConsumerID:
		return fmt.Errorf("the ready frame is for consumer %s, this is %s", r.ConsumerID, h.ConsumerID)
	case !slices.Contains(r.Accepted, capabilityHeartbeat) || !slices.Contains(r.Accepted, capabilitySnapshot):
		return fmt.Errorf("the server accepted %q, without heartbeats or snapshots", r.Accepted)
	case slices.Contains(r.Accepted, capabilityCleanup) && !slices.Contains(h.Capabilities, capabilityCleanup):
		return fmt.Errorf("the server accepted %s, which was not asked for", capabilityCleanup)
	case r.Interval <= 0:
		return fmt.Errorf("the server set a heartbeat interval of %d seconds", r.Interval)
	default:
		return nil
	}
}

type heartbeatPayload struct {
	ConsumerID string `json:"consumer_id"`
	WorkerName string `json:"worker_name"`
	Interval   int    `json:"heartbeat_interval_seconds"`
}

type snapshotPayload struct {
	Sequence int      `json:"snapshot_sequence"`
	WorkPool WorkPool `json:"work_pool"`
}

type cleanupPayload struct {
	MessageID     string    `json:"message_id"`
	Token         string    `json:"reservation_token"`
	LeaseExpires  time.Time `json:"lease_expires_at"`
	DeliveryCount int       `json:"delivery_count"`
	Kind          string    `json:"kind"`
	Target        struct {
		FlowRunID         string `json:"flow_run_id"`
		InfrastructurePID string `json:"infrastructure_pid"`
	} `json:"target"`
}

type operationPayload struct {
	MessageID string `json:"message_id"`
	Token     string `json:"reservation_token"`
	Reason    string `json:"reason,omitempty"` // of a release
}

type resultPayload struct {
	RequestID    string     `json:"request_frame_id"`
	Operation    string     `json:"operation"`
	Status       string     `json:"status"`
	LeaseExpires *time.Time `json:"lease_expires_at"`
	Reason       string     `json:"reason"`
}

// newID is a UUIDv7, which sorts by time.
func newID() string {
	id, err := uuid.NewV7()
	if err != nil { // no randomness: cannot happen on a system that runs TLS
		return uuid.NewString()
	}
	return id.String()
}
