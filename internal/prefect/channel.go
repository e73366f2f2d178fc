package prefect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	channelSetup     = 10 * time.Second
	reconnectLongest = 30 * time.Second
)

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
	Integrations    []Integration // told until the server has heard it once
}

// Channel is the worker channel: one WebSocket that carries heartbeats out and
// work pool snapshots and cleanups in.
type Channel struct {
	client     *Client
	hello      helloPayload
	path       string
	onSnapshot func(WorkPool)
	cleaner    *cleaner // nil without OnCleanup
	healthy    atomic.Bool
	ready      chan struct{}
	readyOnce  sync.Once
}

// NewChannel returns a channel that calls onSnapshot, from one goroutine at a
// time, with the pool as it is on every connect and after every change.
func NewChannel(c *Client, h Hello, onSnapshot func(WorkPool)) *Channel {
	if h.ConsumerID == "" {
		h.ConsumerID = newID()
	}
	if len(h.DefaultTemplate) == 0 {
		h.DefaultTemplate = json.RawMessage("{}")
	}
	queues := append([]string{}, h.Queues...) // never null: the server takes lists only
	slices.Sort(queues)
	return &Channel{
		client:     c,
		path:       poolPath(h.Pool, "/workers/connect"),
		onSnapshot: onSnapshot,
		ready:      make(chan struct{}),
		hello: helloPayload{
			ConsumerID:      h.ConsumerID,
			WorkerName:      h.WorkerName,
			WorkerType:      h.WorkerType,
			Interval:        wholeSeconds(h.Interval),
			Versions:        []string{channelVersion},
			Capabilities:    []string{capabilityHeartbeat, capabilitySnapshot},
			Queues:          queues,
			HandledCleanup:  append([]string{}, h.HandledCleanup...),
			MaxCleanup:      h.MaxCleanup,
			CreatePool:      h.CreatePool,
			DefaultTemplate: h.DefaultTemplate,
			Metadata:        metadataOf(h.Integrations),
		},
	}
}

// OnCleanup sets the handler for cleanups. It must be called before Run;
// without it, or without kinds in the Hello, no cleanups are asked for.
func (ch *Channel) OnCleanup(handle CleanupFunc) {
	if handle != nil {
		ch.cleaner = newCleaner(handle, ch.hello.HandledCleanup, ch.client.log)
	}
}

// Healthy reports whether the channel is connected and ready at this moment.
// While it is not, the worker must heartbeat over REST.
func (ch *Channel) Healthy() bool { return ch.healthy.Load() }

// Ready is closed when the channel was ready for the first time.
func (ch *Channel) Ready() <-chan struct{} { return ch.ready }

// terminalError is a failure that no reconnect can mend.
type terminalError struct{ err error }

func (e *terminalError) Error() string { return e.err.Error() }
func (e *terminalError) Unwrap() error { return e.err }

// protocolError is a server that speaks another protocol than this client.
func protocolError(format string, args ...any) error {
	return &terminalError{fmt.Errorf("protocol error: "+format, args...)}
}

// Run connects, heartbeats and reconnects until ctx ends, which is no error. It
// returns an ErrChannelDisabled when the server will not have this worker on a
// channel: REST must do from then on.
func (ch *Channel) Run(ctx context.Context) error {
	if ch.cleaner == nil || len(ch.hello.HandledCleanup) == 0 || ch.hello.MaxCleanup <= 0 {
		ch.cleaner, ch.hello.HandledCleanup, ch.hello.MaxCleanup = nil, []string{}, 0
	} else if !slices.Contains(ch.hello.Capabilities, capabilityCleanup) {
		ch.hello.Capabilities = append(ch.hello.Capabilities, capabilityCleanup)
	}
	if ch.cleaner != nil {
		defer ch.cleaner.wait()
	}
	var ( // of the cleanups, which outlive a single connection
		cleanups, cancel = context.WithCancel(ctx)
		attempt          int
	)
	defer cancel()
	for {
		wasReady, err := ch.connect(ctx, cleanups)
		if ctx.Err() != nil {
			return nil
		}
		var terminal *terminalError
		if errors.As(ch.classify(err), &terminal) {
			ch.client.log.Info("the worker channel is not available: heartbeats go over REST", "pool_path", ch.path, "reason", terminal)
			return fmt.Errorf("%w: %w", ErrChannelDisabled, terminal.err)
		}
		if wasReady {
			attempt = 0
		}
		wait := min(time.Second<<min(attempt, 10), reconnectLongest)
		attempt++
		ch.client.log.Debug("the worker channel is down", "error", err, "reconnect_in", wait)
		if sleep(ctx, wait) != nil {
			return nil
		}
	}
}

// connect serves one connection to its end, which is always an error.
func (ch *Channel) connect(ctx, cleanups context.Context) (wasReady bool, err error) {
	s, ready, err := ch.setUp(ctx)
	if err != nil {
		return false, err
	}
	code, reason := websocket.StatusNormalClosure, ""
	defer func() { s.close(code, reason) }()
	ch.healthy.Store(true)
	defer ch.healthy.Store(false)
	ch.client.setWorkerID(ready.WorkerID)
	ch.client.metadataSent.Store(true)
	ch.onSnapshot(ready.Snapshot.WorkPool.WorkPool)
	ch.readyOnce.Do(func() { close(ch.ready) })

	err = ch.serve(ctx, cleanups, s, ready)
	var terminal *terminalError
	if errors.As(err, &terminal) {
		code, reason = websocket.StatusProtocolError, "protocol_error"
	}
	return true, err
}

// setUp dials, authenticates, says hello and waits for the ready frame.
func (ch *Channel) setUp(ctx context.Context) (*socket, *readyPayload, error) {
	ctx, cancel := context.WithTimeout(ctx, channelSetup)
	defer cancel()
	s, err := ch.client.dial(ctx, ch.path, ch.client.channelLogin)
	if err != nil {
		return nil, nil, err
	}
	ready, err := ch.greet(ctx, s)
	if err != nil {
		s.close(websocket.StatusNormalClosure, "")
		return nil, nil, err
	}
	return s, ready, nil
}

func (ch *Channel) greet(ctx context.Context, s *socket) (*readyPayload, error) {
	if ch.client.metadataSent.Load() { // over REST, meanwhile
		ch.hello.Metadata = nil
	}
	if err := s.write(ctx, newFrame(frameHello, ch.hello)); err != nil {
		return nil, err
	}
	data, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	frame, err := readFrame(data)
	if err != nil {
		return nil, protocolError("%w", err)
	}
	if frame.Type != frameReady {
		return nil, protocolError("expected %s, got %q", frameReady, shorten(frame.Type, 60))
	}
	var ready readyPayload
	if err := readPayload(frame, &ready); err != nil {
		return nil, protocolError("%w", err)
	}
	if err := ready.answers(ch.hello); err != nil {
		return nil, protocolError("%w", err)
	}
	return &ready, nil
}

// serve heartbeats at exactly the interval the server set, and takes in what it
// sends.
func (ch *Channel) serve(ctx, cleanups context.Context, s *socket, ready *readyPayload) error {
	cleaning := ch.cleaner != nil && slices.Contains(ready.Accepted, capabilityCleanup)
	if cleaning {
		ch.cleaner.attach(s, min(ready.MaxCleanup, ch.hello.MaxCleanup))
		defer ch.cleaner.detach(s)
	} else if ch.cleaner != nil {
		ch.cleaner.abandon() // nobody is left to answer to
	}
	sequence := ready.Snapshot.Sequence
	ticker := time.NewTicker(time.Duration(ready.Interval) * time.Second)
	defer ticker.Stop()
	beat := heartbeatPayload{ch.hello.ConsumerID, ch.hello.WorkerName, ready.Interval}
	for {
		select {
		case <-ticker.C:
			if err := s.write(ctx, newFrame(frameHeartbeat, beat)); err != nil {
				return closeCause(s, err)
			}
		case data := <-s.frames:
			if err := ch.receive(cleanups, data, &sequence, cleaning); err != nil {
				return err
			}
		case <-s.down.Done():
			return context.Cause(s.down)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// receive takes in one frame. A snapshot that is not newer than the last is a
// late duplicate.
func (ch *Channel) receive(cleanups context.Context, data []byte, sequence *int, cleaning bool) error {
	frame, err := readFrame(data)
	if err != nil {
		return protocolError("%w", err)
	}
	switch {
	case frame.Type == frameSnapshot:
		var snapshot snapshotPayload
		if err := readPayload(frame, &snapshot); err != nil {
			return protocolError("%w", err)
		}
		if snapshot.Sequence > *sequence {
			*sequence = snapshot.Sequence
			ch.onSnapshot(snapshot.WorkPool.WorkPool)
		}
	case frame.Type == frameCleanup && cleaning:
		var message cleanupPayload
		if err := readPayload(frame, &message); err != nil {
			return protocolError("%w", err)
		}
		ch.cleaner.deliver(cleanups, message)
	case frame.Type == frameResult && cleaning:
		var result resultPayload
		if err := readPayload(frame, &result); err != nil {
			return protocolError("%w", err)
		}
		ch.cleaner.settle(result)
	default:
		return protocolError("unexpected frame %q", shorten(frame.Type, 60))
	}
	return nil
}

// closeCause prefers what ended a socket over the failed write that found out.
func closeCause(s *socket, err error) error {
	select {
	case <-s.down.Done():
		return context.Cause(s.down)
	default:
		return err
	}
}

func (ch *Channel) everReady() bool {
	select {
	case <-ch.ready:
		return true
	default:
		return false
	}
}

// classify makes the failures terminal that will be the same next time.
func (ch *Channel) classify(err error) error {
	var (
		login   *loginError
		upgrade *upgradeError
		closed  websocket.CloseError
	)
	switch {
	case ch.everReady() && ch.client.renewable() && refusesLogin(err):
		return err // it was let in once, and will be again with the next key
	case errors.As(err, &login):
		return &terminalError{err}
	case errors.As(err, &upgrade):
		// 4xx is an answer for good. An answer that is no handshake at all may be
		// a proxy that never lets WebSockets through, or one that restarts: it is
		// given another chance only where a channel has been seen to work.
		if upgrade.code >= 400 && upgrade.code < 500 || upgrade.code < 400 && !ch.everReady() {
			return &terminalError{err}
		}
		return err
	case errors.As(err, &closed):
		return classifyClose(closed)
	default:
		// A connection that did not come about, even the first one, proves
		// nothing about the channel: the server may just not be up yet.
		return err
	}
}

func classifyClose(closed websocket.CloseError) error {
	if passes(closed.Reason) {
		return closed
	}
	switch closed.Reason {
	case "authentication_failed", "authorization_failed", "unsupported_version", "protocol_error":
		return &terminalError{closed}
	}
	if closed.Code == websocket.StatusPolicyViolation || closed.Code == websocket.StatusProtocolError {
		return &terminalError{closed}
	}
	return closed
}
