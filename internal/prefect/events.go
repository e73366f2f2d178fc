package prefect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	eventsConfirmCount = 700
	eventsConfirmEvery = 30 * time.Second
	eventsConnectTries = 11
	eventsFlush        = 2 * time.Second
	eventsQueue        = 10_000
	eventsInPath       = "/events/in"
	eventsMostSends    = 5 // of one event; a server that hangs up on it each time will not take it
)

// errEventsOver ends Run after Close.
var errEventsOver = errors.New("events closed")

// Events sends events over one WebSocket, opened by the first event and kept.
// Sending never blocks and never fails its caller: events that cannot be
// delivered wait, and the oldest are dropped when too many do.
type Events struct {
	client *Client
	kick   chan struct{} // something was queued
	over   chan struct{} // closed by Close
	once   sync.Once
	turn   chan struct{} // held by whoever delivers: Run, then Close

	mu      sync.Mutex
	queue   []queuedEvent // not sent yet
	dropped int

	// Of the holder of turn.
	socket      *socket
	unconfirmed []queuedEvent // sent, but the server has not shown that it has them
	unreachable bool          // the warning was given
}

// queuedEvent is an event with the number of times it went out.
type queuedEvent struct {
	Event
	sends int
}

// NewEvents returns a sender that delivers while Run runs. Close it in the end.
func NewEvents(c *Client) *Events {
	return &Events{client: c, kick: make(chan struct{}, 1), over: make(chan struct{}), turn: make(chan struct{}, 1)}
}

// Emit queues an event. Empty ID, Occurred, Related and Payload are filled in,
// and the completed event is returned, so that a later one can name it as
// followed.
func (e *Events) Emit(event Event) Event {
	if event.ID == "" {
		event.ID = newID()
	}
	if event.Occurred.IsZero() {
		event.Occurred = time.Now()
	}
	event.Occurred = event.Occurred.UTC()
	if event.Related == nil {
		event.Related = []Resource{}
	}
	if event.Payload == nil {
		event.Payload = map[string]any{}
	}
	e.mu.Lock()
	e.queue = append(e.queue, queuedEvent{Event: event})
	if len(e.queue) > eventsQueue {
		e.queue = e.queue[1:]
		e.dropped++
	}
	e.mu.Unlock()
	select {
	case e.kick <- struct{}{}:
	default:
	}
	return event
}

// Run delivers until ctx ends or Close is called; neither is an error. It
// leaves the socket to Close, which must follow.
func (e *Events) Run(ctx context.Context) error {
	e.turn <- struct{}{}
	defer func() { <-e.turn }()
	select {
	case <-e.over:
		return nil
	default:
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		select {
		case <-e.over:
			cancel(errEventsOver)
		case <-ctx.Done():
		}
	})
	ticker := time.NewTicker(eventsConfirmEvery)
	defer ticker.Stop()
	for {
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-e.kick:
			e.deliver(ctx, eventsConnectTries, false)
		case <-ticker.C:
			e.deliver(ctx, eventsConnectTries, true)
		case <-ctx.Done():
			return nil
		}
	}
}

// Close delivers what is queued, for at most two seconds, and ends Run.
func (e *Events) Close() {
	e.once.Do(func() {
		close(e.over)
		e.turn <- struct{}{} // Run is over, or never was
		ctx, cancel := context.WithTimeout(context.Background(), eventsFlush)
		defer cancel()
		e.deliver(ctx, 1, true)
		if e.socket != nil {
			e.socket.close(websocket.StatusNormalClosure, "")
			e.socket = nil
		}
		if left := len(e.unconfirmed) + e.queued(); left > 0 {
			e.client.log.Warn("events were not delivered before the end", "count", left)
		}
		<-e.turn
	})
}

func (e *Events) queued() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.queue)
}

// deliver sends what there is to send, and, if asked or if much is open, waits
// until the server has shown that it has it. A lost connection is made again;
// what it may have lost is sent again, under the same ids.
func (e *Events) deliver(ctx context.Context, tries int, confirm bool) {
	if len(e.unconfirmed)+e.queued() == 0 {
		return
	}
	var err error
	for try := 1; try <= tries; try++ {
		if try > 3 { // two quick ones for a load balancer's time-out, then take a breath
			if sleep(ctx, time.Second) != nil {
				return
			}
		}
		if err = e.deliverOnce(ctx, confirm); err == nil {
			e.unreachable = false
			return
		}
		if e.socket != nil {
			e.socket.close(websocket.StatusNormalClosure, "")
			e.socket = nil
		}
		var login *loginError
		if ctx.Err() != nil || errors.As(err, &login) {
			break
		}
	}
	if !e.unreachable && !errors.Is(context.Cause(ctx), errEventsOver) {
		e.unreachable = true
		e.client.log.Warn(fmt.Sprintf("Unable to connect to '%s'. Please check your network settings to ensure websocket connections to the API are allowed."+
			" Otherwise event data (including task run data) may be lost. Reason: %s", redactURL(e.client.socketURL(eventsInPath)), err),
			"waiting", len(e.unconfirmed)+e.queued(), "hint", "events are kept for now and tried again; flow runs are not affected")
	}
}

func (e *Events) deliverOnce(ctx context.Context, confirm bool) error {
	if err := e.connect(ctx); err != nil {
		return err
	}
	for {
		event, ok := e.next()
		if !ok {
			break
		}
		event.sends++
		e.unconfirmed = append(e.unconfirmed, event) // before the write: it may arrive although it fails
		if err := e.socket.write(ctx, event.Event); err != nil {
			return closeCause(e.socket, err)
		}
		e.client.metrics.emitted.WithLabelValues(e.client.senderName()).Inc()
		if len(e.unconfirmed) >= eventsConfirmCount {
			if err := e.confirm(ctx); err != nil {
				return err
			}
		}
	}
	if confirm {
		return e.confirm(ctx)
	}
	return nil
}

// connect makes sure of a live socket. On a new one, what the old one may have
// lost is sent again.
func (e *Events) connect(ctx context.Context) error {
	if e.socket != nil && e.socket.down.Err() == nil {
		return nil
	}
	if e.socket != nil {
		e.socket.close(websocket.StatusNormalClosure, "")
		e.socket = nil
	}
	limited, cancel := context.WithTimeout(ctx, channelSetup)
	defer cancel()
	s, err := e.client.dial(limited, eventsInPath, e.client.eventsInLogin)
	if err != nil {
		return err
	}
	s.wg.Go(s.discard)
	e.socket = s
	e.requeue()
	return nil
}

// requeue puts what is unconfirmed back to the head of the queue.
func (e *Events) requeue() {
	e.mu.Lock()
	defer e.mu.Unlock()
	again := slices.DeleteFunc(e.unconfirmed, func(event queuedEvent) bool { return event.sends >= eventsMostSends })
	e.dropped += len(e.unconfirmed) - len(again)
	e.queue = append(again, e.queue...)
	e.unconfirmed = nil
}

func (e *Events) next() (queuedEvent, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dropped > 0 {
		e.client.log.Warn("events were dropped: too many waited, or the Prefect API did not take them", "count", e.dropped)
		e.dropped = 0
	}
	if len(e.queue) == 0 {
		return queuedEvent{}, false
	}
	event := e.queue[0]
	e.queue = e.queue[1:]
	return event, true
}

// confirm waits for a pong, which comes after everything sent before it.
func (e *Events) confirm(ctx context.Context) error {
	if len(e.unconfirmed) == 0 {
		return nil
	}
	if err := e.socket.ping(ctx); err != nil {
		return closeCause(e.socket, err)
	}
	e.unconfirmed = nil
	e.client.metrics.checkpoints.WithLabelValues(e.client.senderName()).Inc()
	return nil
}
