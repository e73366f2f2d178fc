package prefect

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestEmitCompletesEvents(t *testing.T) {
	api := newFake(t, nil)
	event := NewEvents(api.client(t, Options{})).Emit(Event{Event: "x"})
	if event.ID == "" || event.Occurred.IsZero() || event.Occurred.Location() != time.UTC || event.Related == nil || event.Payload == nil {
		t.Errorf("%+v", event)
	}
	given := Event{ID: "i", Occurred: time.Unix(1, 0).UTC(), Related: []Resource{{"a": "b"}}, Payload: map[string]any{"c": "d"}}
	if diff := cmp.Diff(given, NewEvents(api.client(t, Options{})).Emit(given)); diff != "" {
		t.Error(diff)
	}
}

// runEvents starts a sender in a bubble. Its socket is opened by the first event.
func runEvents(t *testing.T, o Options) (*Events, <-chan *peer, *fakeAPI) {
	t.Helper()
	route, accepted := sockets(t)
	api := newFake(t, map[string]http.HandlerFunc{"GET /api/events/in": route})
	events := NewEvents(api.client(t, o))
	ended := make(chan error, 1)
	go func() { ended <- events.Run(t.Context()) }()
	t.Cleanup(func() {
		events.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return events, accepted, api
}

func TestEventsAreSentOverOneLazySocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, accepted, api := runEvents(t, Options{AuthString: "u:p"})
		synctest.Wait()
		if len(api.seen()) != 0 {
			t.Error("connected without an event")
		}
		started := events.Emit(Event{Event: "prefect.worker.started", Resource: Resource{"prefect.resource.id": "w"}})
		p := <-accepted
		if p.head.Get("Authorization") != "Basic dTpw" || p.head.Get("User-Agent") != userAgent || p.conn.Subprotocol() != "prefect" {
			t.Errorf("upgrade %v", p.head)
		}
		p.login("u:p")
		want := map[string]any{
			"id": started.ID, "occurred": started.Occurred.Format(time.RFC3339Nano), "event": "prefect.worker.started", "follows": nil,
			"payload": map[string]any{}, "resource": map[string]any{"prefect.resource.id": "w"}, "related": []any{},
		}
		if diff := cmp.Diff(want, p.read()); diff != "" {
			t.Error(diff)
		}
		stopped := events.Emit(Event{Event: "prefect.worker.stopped", Follows: &started.ID})
		if got := p.read(); got["id"] != stopped.ID || got["follows"] != started.ID {
			t.Errorf("%v", got)
		}
		go p.hear()
	})
}

func TestEventsOnCloudUseTheHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, accepted, _ := runEvents(t, Options{CloudAPIURL: "http://prefect.test/api", APIKey: "key"})
		events.Emit(Event{Event: "x"})
		p := <-accepted
		if p.head.Get("Authorization") != "bearer key" || p.conn.Subprotocol() != "" {
			t.Errorf("upgrade %v, subprotocol %q", p.head, p.conn.Subprotocol())
		}
		if got := p.read(); got["event"] != "x" {
			t.Errorf("first frame %v", got)
		}
		go p.hear()
	})
}

func TestUnconfirmedEventsAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, accepted, _ := runEvents(t, Options{})
		emit := func(name string) { events.Emit(Event{Event: name}) }
		emit("confirmed")
		p := <-accepted
		p.login(nil)
		confirmed := p.read()["id"]
		gone := make(chan struct{})
		go func() { p.read(); p.read(); close(gone) }() // answers the ping of the confirmation meanwhile
		time.Sleep(eventsConfirmEvery + time.Second)
		emit("one")
		emit("two")
		<-gone
		synctest.Wait()
		_ = p.conn.Close(websocket.StatusInternalError, "")
		emit("three")
		p = <-accepted
		p.login(nil)
		var names []any
		for range 3 {
			event := p.read()
			names = append(names, event["event"])
			if event["id"] == confirmed {
				t.Error("a confirmed event was sent again")
			}
		}
		if diff := cmp.Diff([]any{"one", "two", "three"}, names); diff != "" {
			t.Error(diff)
		}
		go p.hear()
	})
}

func TestEventsOfALostSocketAreSentWithoutANewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, accepted, _ := runEvents(t, Options{})
		sent := events.Emit(Event{Event: "x"})
		p := <-accepted
		p.login(nil)
		p.read()
		_ = p.conn.Close(websocket.StatusInternalError, "")
		p = <-accepted // at the next confirmation
		p.login(nil)
		if got := p.read(); got["id"] != sent.ID {
			t.Errorf("%v", got)
		}
		go p.hear()
	})
}

func TestManyEventsAreConfirmedOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, accepted, _ := runEvents(t, Options{})
		for i := range eventsConfirmCount + 10 {
			events.Emit(Event{Event: fmt.Sprint(i)})
		}
		p := <-accepted
		p.login(nil)
		for range eventsConfirmCount + 10 {
			p.read()
		}
		go p.hear()
		synctest.Wait()
		if got := len(events.unconfirmed); got != 10 {
			t.Errorf("%d unconfirmed", got)
		}
	})
}

func TestEventsSurviveAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route, accepted := sockets(t)
		refusals := slices.Repeat([]http.HandlerFunc{status(503)}, 2*eventsConnectTries)
		api := newFake(t, map[string]http.HandlerFunc{"GET /api/events/in": answers(append(refusals, route)...)})
		var log strings.Builder
		events := NewEvents(api.client(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}))
		ended := make(chan error, 1)
		go func() { ended <- events.Run(t.Context()) }()
		sent := events.Emit(Event{Event: "x"})
		p := <-accepted
		p.login(nil)
		if got := p.read(); got["id"] != sent.ID {
			t.Errorf("%v", got)
		}
		waits := gaps(api)[:eventsConnectTries-1]
		if waits[0] != 0 || waits[1] != 0 || slices.ContainsFunc(waits[2:], func(d time.Duration) bool { return d != time.Second }) {
			t.Errorf("waits %v", waits)
		}
		if strings.Count(log.String(), "Unable to connect to 'ws://prefect.test/api/events/in'. Please check") != 1 {
			t.Errorf("log %s", &log)
		}
		go p.hear()
		synctest.Wait()
		events.Close()
		<-ended
		if diff := cmp.Diff(map[string]float64{"prefect_events_emitted_total": 1, "prefect_event_websocket_checkpoints_total": 1}, counts(t, events.client)); diff != "" {
			t.Error(diff)
		}
	})
}

// counts are the values of a client's counters that have counted, summed over
// their labels.
func counts(t *testing.T, c *Client) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if value := metric.GetCounter().GetValue(); value > 0 {
				sums[family.GetName()] += value
			}
		}
	}
	return sums
}

// TestPoisonIsDropped: a server that hangs up on an event each time it comes.
func TestPoisonIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events, accepted, _ := runEvents(t, Options{})
		events.Emit(Event{Event: "poison"})
		sends := 0
		for range eventsMostSends {
			p := <-accepted
			p.login(nil)
			if p.read()["event"] == "poison" {
				sends++
			}
			_ = p.conn.Close(websocket.StatusInternalError, "")
		}
		good := events.Emit(Event{Event: "good"})
		p := <-accepted
		p.login(nil)
		if got := p.read(); got["id"] != good.ID || sends != eventsMostSends {
			t.Errorf("%v after %d sends", got, sends)
		}
		go p.hear()
	})
}

func TestEventsQueueIsBounded(t *testing.T) {
	api := newFake(t, nil)
	events := NewEvents(api.client(t, Options{}))
	for range eventsQueue + 5 {
		events.Emit(Event{Event: "x"})
	}
	if events.queued() != eventsQueue || events.dropped != 5 {
		t.Errorf("%d queued, %d dropped", events.queued(), events.dropped)
	}
}

func TestCloseDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route, accepted := sockets(t)
		api := newFake(t, map[string]http.HandlerFunc{"GET /api/events/in": route})
		events := NewEvents(api.client(t, Options{})) // Run was never called
		events.Emit(Event{Event: "x"})
		names := make(chan any, 1)
		go func() {
			p := <-accepted
			p.login(nil)
			names <- p.read()["event"]
			if closed := p.hear(); closed.Code != websocket.StatusNormalClosure {
				t.Errorf("closed with %v", closed)
			}
		}()
		events.Close()
		events.Close()
		if name := <-names; name != "x" || len(events.unconfirmed) != 0 {
			t.Errorf("%v, %d unconfirmed", name, len(events.unconfirmed))
		}
		if err := events.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	for name, route := range map[string]http.HandlerFunc{
		"down":    status(503),
		"hanging": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newFake(t, map[string]http.HandlerFunc{"GET /api/events/in": route})
				events := NewEvents(api.client(t, Options{}))
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- events.Run(ctx) }()
				events.Emit(Event{Event: "x"})
				synctest.Wait()
				began := time.Now()
				events.Close()
				if took := time.Since(began); took > eventsFlush+closeGrace {
					t.Errorf("took %v", took)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
