package prefect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/coder/websocket"
)

// EventFilter selects events of a subscription. All parts that are set must match.
type EventFilter struct {
	Names       []string // exact event names
	Prefixes    []string // beginnings of event names
	ResourceIDs []string // ids of any resource of the event, "prefect.work-pool.<id>"
	// Since is how far back to look on every connect, beyond what was missed
	// while there was no connection; one minute when zero.
	Since time.Duration
}

// subscription is what outlives the connections of a Subscribe.
type subscription struct {
	client *Client
	filter EventFilter
	fn     func(Event)
	alive  time.Time            // when the connection was last known to work
	seen   map[string]time.Time // events handed on, by id
	again  bool                 // this is not the first connection
	// listened says that there was a connection.
	listened bool
}

// Subscribe calls fn, from one goroutine, once for each matching event until
// ctx ends, which is no error. Lost connections are taken up again with
// back-off, and what happened meanwhile is fetched. It gives up, with an error,
// only where the server refuses for good.
//
// fn must be quick: while it runs, the socket is not read.
func (c *Client) Subscribe(ctx context.Context, filter EventFilter, fn func(Event)) error {
	if filter.Since <= 0 {
		filter.Since = time.Minute
	}
	sub := &subscription{client: c, filter: filter, fn: fn, alive: time.Now(), seen: map[string]time.Time{}}
	for failures := 0; ; {
		began := time.Now()
		err := sub.listen(ctx)
		if ctx.Err() != nil {
			return nil
		}
		// What was let in once will be again, with the next key.
		if refused(err) && !(sub.listened && c.renewable() && refusesLogin(err)) {
			return fmt.Errorf("subscribe to events: %w", err)
		}
		if time.Since(began) > pingInterval { // else the server hangs up at once: do not hurry back
			failures = 0
		}
		wait := reconnectPause(failures)
		failures++
		c.log.Debug("the event subscription is down", "error", err, "reconnect_in", wait)
		if sleep(ctx, wait) != nil {
			return nil
		}
	}
}

// reconnectPause lets a dropped connection come back at once, and then backs
// off to half a minute, spread so that workers do not return as one.
func reconnectPause(failures int) time.Duration {
	if failures == 0 {
		return 0
	}
	longest := min(time.Second<<min(failures-1, 10), reconnectLongest)
	return time.Duration(clampedExponential(longest.Seconds(), 0.2, rand.Float64()) * float64(time.Second))
}

// refused reports an answer that will be the same next time.
func refused(err error) bool {
	var (
		login   *loginError
		upgrade *upgradeError
	)
	if errors.As(err, &login) {
		return true
	}
	return errors.As(err, &upgrade) && upgrade.code >= 400 && upgrade.code < 500 && upgrade.code != 408 && upgrade.code != 429
}

// listen serves one connection to its end, which is always an error.
func (s *subscription) listen(ctx context.Context) error {
	socket, err := s.connect(ctx)
	if err != nil {
		return err
	}
	s.listened = true
	defer socket.close(websocket.StatusNormalClosure, "")
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		select {
		case frame := <-socket.frames:
			s.alive = time.Now()
			s.receive(frame)
		case <-ticker.C:
			// A dead connection is found within a ping and its time-out; only
			// before that was it surely alive.
			if now := time.Now().Add(-pingInterval - pingTimeout); now.After(s.alive) {
				s.alive = now
			}
			s.forget()
		case <-socket.down.Done():
			return context.Cause(socket.down)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *subscription) connect(ctx context.Context) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, channelSetup)
	defer cancel()
	socket, err := s.client.dial(ctx, "/events/out", s.client.eventsOutLogin)
	attempt := "initial"
	if s.again {
		attempt = "reconnect"
	}
	s.again = true
	s.client.metrics.connections.WithLabelValues(s.client.subscriberName(), "out", attempt).Inc()
	if err != nil {
		return nil, err
	}
	if err := socket.write(ctx, map[string]any{"type": "filter", "filter": s.wireFilter()}); err != nil {
		socket.close(websocket.StatusNormalClosure, "")
		return nil, err
	}
	return socket, nil
}

// wireFilter is the filter in full, with the nulls that Prefect's client sends.
func (s *subscription) wireFilter() map[string]any {
	now := time.Now().UTC()
	resource := any(nil)
	if len(s.filter.ResourceIDs) > 0 {
		resource = map[string]any{"id": s.filter.ResourceIDs, "id_prefix": nil, "labels": nil}
	}
	return map[string]any{
		"occurred": map[string]any{"since": s.alive.Add(-s.filter.Since).UTC(), "until": now.AddDate(1, 0, 0)},
		"event": map[string]any{
			"name": listOrNull(s.filter.Names), "prefix": listOrNull(s.filter.Prefixes), "exclude_prefix": nil, "exclude_name": nil,
		},
		"any_resource": resource,
		"resource":     nil,
		"related":      nil,
		"id":           map[string]any{"id": []string{}},
		"text":         nil,
		"order":        "DESC", // of no effect on a stream, which comes oldest first
	}
}

func listOrNull(list []string) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

// receive hands on an event that was not seen yet. Frames of other kinds, or
// that cannot be read, are no reason to give up the stream.
func (s *subscription) receive(data []byte) {
	var frame struct {
		Type  string          `json:"type"`
		Event json.RawMessage `json:"event"`
	}
	if err := json.Unmarshal(data, &frame); err != nil || frame.Type != "event" {
		s.client.log.Debug("skipped a frame of the event stream", "type", frame.Type, "error", err)
		return
	}
	var event Event
	if err := decode(frame.Event, &event); err != nil {
		s.client.log.Debug("skipped an event that cannot be read", "error", err)
		return
	}
	if _, doubled := s.seen[event.ID]; doubled {
		return
	}
	s.seen[event.ID] = s.alive
	s.client.metrics.observed.WithLabelValues(s.client.subscriberName()).Inc()
	s.fn(event)
}

// forget drops ids that no backfill can bring again: it reaches back Since
// before the last sign of life, and clocks and queues deserve a minute more.
func (s *subscription) forget() {
	limit := s.alive.Add(-s.filter.Since - time.Minute)
	for id, at := range s.seen {
		if at.Before(limit) {
			delete(s.seen, id)
		}
	}
}
