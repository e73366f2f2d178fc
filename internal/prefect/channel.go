package prefect

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

var errDraft = errors.New("draft")

// Hello is what a worker says of itself when it opens the worker channel.
type Hello struct {
	ConsumerID      string // UUIDv7, one per process; made up when empty
	WorkerName      string
	WorkerType      string
	Pool            string
	Queues          []string // none means all
	Interval        time.Duration
	CreatePool      bool
	DefaultTemplate json.RawMessage
	HandledCleanup  []string // kinds of cleanup; needs OnCleanup
	MaxCleanup      int
}

// Cleanup is a request of the server to remove what is left of a flow run.
type Cleanup struct {
	MessageID         string
	Kind              string
	FlowRunID         string
	InfrastructurePID string // "" when the server knows none
	DeliveryCount     int
}

// CleanupFunc handles one cleanup. It returns "" when the work is done and need
// not be delivered again, else the reason for giving it back, one of the
// Release constants. Its context ends when the server takes the work away.
type CleanupFunc func(ctx context.Context, message Cleanup) (release string)

// Reasons for giving a cleanup back.
const (
	ReleaseMissingHandle      = "missing_infrastructure_handle"
	ReleaseContextUnavailable = "configuration_context_unavailable"
	ReleaseUnsupportedWorker  = "unsupported_worker_type"
	ReleaseNotAvailable       = "infrastructure_not_available"
	ReleaseHandlerFailed      = "handler_failed"
)

// Channel is the worker channel: one WebSocket that carries heartbeats out and
// work pool snapshots and cleanups in.
type Channel struct{}

// NewChannel returns a channel that calls onSnapshot, from one goroutine at a
// time, with the pool as it is on every connect and after every change.
func NewChannel(c *Client, h Hello, onSnapshot func(WorkPool)) *Channel { return &Channel{} }

// OnCleanup sets the handler for cleanups. It must be called before Run.
func (ch *Channel) OnCleanup(handle CleanupFunc) {}

// Run connects, heartbeats and reconnects until ctx ends, which is no error. It
// returns an ErrChannelDisabled when the server will not have this worker on a
// channel: REST must do from then on.
func (ch *Channel) Run(ctx context.Context) error { return errDraft }

// Healthy reports whether the channel is connected and ready at this moment.
// While it is not, the worker must heartbeat over REST.
func (ch *Channel) Healthy() bool { return false }

// Ready is closed when the channel was ready for the first time.
func (ch *Channel) Ready() <-chan struct{} { return nil }
