package prefect

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// subscriber is a Subscribe in a bubble.
type subscriber struct {
	accepted <-chan *peer
	api      *fakeAPI
	got      chan string // names of events
	ended    chan error
	stop     context.CancelFunc
}

func runSubscribe(t *testing.T, o Options, filter EventFilter, first ...http.HandlerFunc) *subscriber {
	t.Helper()
	route, accepted := sockets(t)
	api := newFake(t, map[string]http.HandlerFunc{"GET /api/events/out": answers(append(first, route)...)})
	ctx, cancel := context.WithCancel(t.Context())
	s := &subscriber{accepted: accepted, api: api, got: make(chan string, 100), ended: make(chan error, 1), stop: cancel}
	c := api.client(t, o)
	go func() { s.ended <- c.Subscribe(ctx, filter, func(e Event) { s.got <- e.Event }) }()
	return s
}

func (s *subscriber) finish(t *testing.T, p *peer) {
	t.Helper()
	s.stop()
	p.hear()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

func eventFrame(id, name string) map[string]any {
	return map[string]any{"type": "event", "event": map[string]any{
		"id": id, "event": name, "occurred": time.Now(), "received": time.Now(), "resource": map[string]any{"prefect.resource.id": "r"}, "related": []any{}, "payload": map[string]any{},
	}}
}

func since(t *testing.T, frame map[string]any) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, frame["filter"].(map[string]any)["occurred"].(map[string]any)["since"].(string))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := runSubscribe(t, Options{AuthString: "u:p"}, EventFilter{Prefixes: []string{"prefect.flow-run."}, ResourceIDs: []string{"prefect.work-pool.1"}})
		p := <-s.accepted
		if p.head.Get("Authorization") != "" || p.conn.Subprotocol() != "prefect" {
			t.Errorf("upgrade %v", p.head)
		}
		p.login("u:p")
		frame := p.read()
		if at := since(t, frame); !at.Equal(began.Add(-time.Minute)) {
			t.Errorf("since %v", at)
		}
		filter := frame["filter"].(map[string]any)
		delete(filter, "occurred")
		want := map[string]any{
			"event":        map[string]any{"name": nil, "prefix": []any{"prefect.flow-run."}, "exclude_prefix": nil, "exclude_name": nil},
			"any_resource": map[string]any{"id": []any{"prefect.work-pool.1"}, "id_prefix": nil, "labels": nil},
			"resource":     nil, "related": nil, "id": map[string]any{"id": []any{}}, "text": nil, "order": "DESC",
		}
		if diff := cmp.Diff(want, filter); diff != "" || frame["type"] != "filter" {
			t.Error(diff)
		}
		p.write(eventFrame("1", "one"))
		p.write(map[string]any{"type": "news"})                                                // skipped
		p.write(map[string]any{"type": "event", "event": map[string]any{"occurred": "never"}}) // skipped
		p.write(eventFrame("1", "one again"))                                                  // a double
		go p.hear()
		time.Sleep(10 * time.Minute) // pings keep it
		p.write(eventFrame("2", "two"))
		synctest.Wait()
		lost := time.Now()
		_ = p.conn.Close(websocket.StatusNormalClosure, "") // a clean close is no reason to stop listening

		p = <-s.accepted
		if !p.at.Equal(lost) {
			t.Errorf("came back after %v", p.at.Sub(lost))
		}
		p.login("u:p")
		if at := since(t, p.read()); at.After(lost.Add(-time.Minute)) || at.Before(lost.Add(-2*time.Minute)) {
			t.Errorf("backfill since %v before the loss", lost.Sub(at))
		}
		p.write(eventFrame("2", "two again"))
		p.write(eventFrame("3", "three"))
		synctest.Wait()
		s.finish(t, p)
		close(s.got)
		if got := slices.Collect(chanSeq(s.got)); !slices.Equal(got, []string{"one", "two", "three"}) {
			t.Errorf("%q", got)
		}
	})
}

// TestSubscriptionForgetsNothingTooEarly: an event of the last seconds before a
// long outage is brought again by the backfill.
func TestSubscriptionForgetsNothingTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outage := slices.Repeat([]http.HandlerFunc{status(503)}, 12)
		route, accepted := sockets(t)
		s := runSubscribe(t, Options{}, EventFilter{}, append(append([]http.HandlerFunc{route}, outage...), route)...)
		s.accepted = accepted
		p := <-s.accepted
		p.login(nil)
		p.read()
		p.write(eventFrame("1", "one"))
		synctest.Wait()
		lost := time.Now()
		_ = p.conn.CloseNow()
		p = <-s.accepted
		if outage := time.Since(lost); outage < 3*time.Minute {
			t.Errorf("the outage took only %v", outage)
		}
		p.login(nil)
		if at := since(t, p.read()); at.After(lost.Add(-time.Minute)) {
			t.Errorf("since %v, lost %v", at, lost)
		}
		p.write(eventFrame("1", "one again"))
		synctest.Wait()
		s.finish(t, p)
		if len(s.got) != 1 {
			t.Errorf("%d events", len(s.got))
		}
	})
}

func TestSubscriptionBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := runSubscribe(t, Options{}, EventFilter{})
		var waits []time.Duration
		last := time.Now()
		for range 6 { // lets the client in and hangs up
			p := <-s.accepted
			waits = append(waits, p.at.Sub(last))
			p.login(nil)
			p.read()
			last = time.Now()
			_ = p.conn.Close(websocket.StatusNormalClosure, "")
		}
		for i, want := range []time.Duration{0, 0, 1, 2, 4, 8} {
			want *= time.Second
			if got := waits[i]; got < want*8/10 || got > want*12/10 {
				t.Errorf("wait %d is %v, want about %v", i, got, want)
			}
		}
		s.stop()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
	})
}

func TestSubscriptionIsRefused(t *testing.T) {
	for name, code := range map[string]int{"401": 401, "403": 403, "404": 404} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := runSubscribe(t, Options{}, EventFilter{}, status(code))
				if err := <-s.ended; err == nil {
					t.Error("no error")
				}
				s.stop()
			})
		})
	}
	t.Run("login", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := runSubscribe(t, Options{}, EventFilter{})
			p := <-s.accepted
			p.read()
			_ = p.conn.Close(websocket.StatusPolicyViolation, "Invalid token")
			if err := <-s.ended; err == nil {
				t.Error("no error")
			}
			s.stop()
		})
	})
}

func TestSeenEventsAreForgotten(t *testing.T) {
	now := time.Now()
	s := &subscription{client: &Client{}, filter: EventFilter{Since: time.Minute}, alive: now, seen: map[string]time.Time{
		"old": now.Add(-3 * time.Minute), "young": now.Add(-time.Minute),
	}}
	s.forget()
	if _, ok := s.seen["young"]; !ok || len(s.seen) != 1 {
		t.Errorf("%v", s.seen)
	}
}
