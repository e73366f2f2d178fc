package prefect

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

const connectRoute = "GET /api/work_pools/a%20pool/workers/connect"

func testHello() Hello {
	return Hello{
		ConsumerID: "01936f00-0000-7000-8000-000000000001", WorkerName: "w", WorkerType: "ecs", Pool: "a pool", Queues: []string{"b", "a"},
		Interval: 30 * time.Second, CreatePool: true, DefaultTemplate: json.RawMessage(`{"variables":{}}`),
	}
}

// ready is the server's answer to a hello.
func ready(interval int, capabilities ...string) map[string]any {
	first := snapshot(1, "first")["payload"].(map[string]any)
	first["reason"] = "initial"
	return serverFrame(frameReady, map[string]any{
		"consumer_id": testHello().ConsumerID, "worker_id": nil, "selected_channel_version": channelVersion,
		"effective_heartbeat_interval_seconds": interval, "effective_max_cleanup_concurrency": len(capabilities),
		"accepted_capabilities": append([]string{capabilityHeartbeat, capabilitySnapshot}, capabilities...),
		"rejected_capabilities": []string{}, "initial_snapshot": first,
		"resolved_work_queues": []any{map[string]any{"id": newID(), "name": "default"}},
	})
}

func snapshot(sequence int, pool string) map[string]any {
	return serverFrame(frameSnapshot, map[string]any{
		"snapshot_sequence": sequence, "reason": "work_pool_updated", "work_pool": map[string]any{"id": "1", "name": pool, "concurrency_limit": nil},
	})
}

func serverFrame(typ string, payload map[string]any) map[string]any {
	return map[string]any{"type": typ, "id": newID(), "sent_at": time.Now(), "payload": payload}
}

// welcome takes a client through login and hello, and returns the hello.
func (p *peer) welcome(answer map[string]any) map[string]any {
	p.t.Helper()
	p.login(nil)
	hello := p.read()
	p.write(answer)
	payload, _ := hello["payload"].(map[string]any)
	return payload
}

// running is a channel in a bubble, with the names of the pools it was told of.
type running struct {
	*Channel
	accepted <-chan *peer
	api      *fakeAPI
	pools    chan string
	ended    chan error
	stop     context.CancelFunc
}

func runChannel(t *testing.T, o Options, h Hello, handle CleanupFunc) *running {
	t.Helper()
	route, accepted := sockets(t)
	api := newFake(t, map[string]http.HandlerFunc{connectRoute: route})
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{accepted: accepted, api: api, pools: make(chan string, 100), ended: make(chan error, 1), stop: cancel}
	r.Channel = NewChannel(api.client(t, o), h, func(p WorkPool) { r.pools <- p.Name })
	r.OnCleanup(handle)
	go func() { r.ended <- r.Run(ctx) }()
	return r
}

// finish ends the channel the normal way and checks that it says goodbye.
func (r *running) finish(t *testing.T, p *peer) {
	t.Helper()
	r.stop()
	if closed := p.hear(); closed.Code != websocket.StatusNormalClosure {
		t.Errorf("closed with %v", closed)
	}
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if r.Healthy() {
		t.Error("healthy after its end")
	}
}

func TestChannelHandshakeAndHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := testHello()
		h.Integrations = []Integration{{"faber", "1.2"}}
		r := runChannel(t, Options{CustomHeaders: map[string]string{"X-A": "b", "Connection": "close"}}, h, nil)
		p := <-r.accepted
		if !strings.HasPrefix(p.head.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
			t.Errorf("extensions %q", p.head.Get("Sec-WebSocket-Extensions"))
		}
		if p.conn.Subprotocol() != "prefect" || p.head.Get("User-Agent") != userAgent || p.head.Get("X-A") != "b" || p.head.Get("Authorization") != "" {
			t.Errorf("upgrade %v", p.head)
		}
		hello := p.welcome(ready(7))
		want := map[string]any{
			"consumer_id": testHello().ConsumerID, "worker_name": "w", "worker_type": "ecs", "heartbeat_interval_seconds": 30.0,
			"supported_channel_versions": []any{channelVersion}, "requested_capabilities": []any{capabilityHeartbeat, capabilitySnapshot},
			"work_queue_names": []any{"a", "b"}, "handled_cleanup_kinds": []any{}, "max_cleanup_concurrency": 0.0,
			"create_pool_if_not_found": true, "default_base_job_template": map[string]any{"variables": map[string]any{}},
			"worker_metadata": map[string]any{"integrations": []any{map[string]any{"name": "faber", "version": "1.2"}}},
		}
		if diff := cmp.Diff(want, hello); diff != "" {
			t.Error(diff)
		}
		<-r.Ready()
		if !r.Healthy() {
			t.Error("not healthy")
		}
		began := time.Now()
		for beat := 1; beat <= 3; beat++ {
			frame := p.read()
			want := map[string]any{"consumer_id": testHello().ConsumerID, "worker_name": "w", "heartbeat_interval_seconds": 7.0}
			if diff := cmp.Diff(want, frame["payload"]); diff != "" || frame["type"] != frameHeartbeat || frame["id"] == "" || frame["sent_at"] == "" {
				t.Errorf("%v %s", frame, diff)
			}
			if got := time.Since(began); got != time.Duration(beat)*7*time.Second {
				t.Errorf("heartbeat %d after %v", beat, got)
			}
		}
		r.finish(t, p)
	})
}

func TestChannelTakesGrowingSnapshotsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runChannel(t, Options{}, testHello(), nil)
		p := <-r.accepted
		p.welcome(ready(30))
		for sequence, pool := range []string{"", "late double", "second", "", "fourth"} {
			if pool != "" {
				p.write(snapshot(sequence, pool))
			}
		}
		p.write(snapshot(3, "overtaken"))
		synctest.Wait()
		close(r.pools)
		if got := slices.Collect(chanSeq(r.pools)); !slices.Equal(got, []string{"first", "second", "fourth"}) {
			t.Errorf("%q", got)
		}
		r.finish(t, p)
	})
}

// mergeFrame adds fields to an object.
func mergeFrame(object, more map[string]any) map[string]any {
	merged := maps.Clone(object)
	maps.Copy(merged, more)
	return merged
}

func chanSeq(c <-chan string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for v := range c {
			if !yield(v) {
				return
			}
		}
	}
}

func TestChannelReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := testHello()
		h.Integrations = []Integration{{"faber", "1.2"}}
		r := runChannel(t, Options{}, h, nil)
		p := <-r.accepted
		p.welcome(ready(30))
		<-r.Ready()
		lost := time.Now()
		_ = p.conn.Close(websocket.StatusInternalError, "transient_server_error")
		var waits []time.Duration
		for range 7 { // all these hang up during the set-up
			p = <-r.accepted
			waits = append(waits, time.Since(lost))
			if r.Healthy() {
				t.Error("healthy without a connection")
			}
			p.login(nil)
			p.read()
			lost = time.Now()
			_ = p.conn.Close(websocket.StatusInternalError, "heartbeat_persistence_failed")
		}
		const s = time.Second
		if want := []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s, 30 * s}; !slices.Equal(waits, want) {
			t.Errorf("waits %v, want %v", waits, want)
		}
		p = <-r.accepted
		if hello := p.welcome(ready(30)); hello["consumer_id"] != testHello().ConsumerID || hello["worker_metadata"] != nil {
			t.Errorf("consumer %v, metadata %v", hello["consumer_id"], hello["worker_metadata"])
		}
		synctest.Wait()
		if !r.Healthy() || len(r.pools) != 2 {
			t.Errorf("healthy %v, %d snapshots", r.Healthy(), len(r.pools))
		}
		lost = time.Now()
		_ = p.conn.CloseNow() // no goodbye at all
		p = <-r.accepted
		if got := time.Since(lost); got != s {
			t.Errorf("back-off did not start anew: %v", got)
		}
		p.welcome(ready(30))
		r.finish(t, p)
	})
}

// TestChannelNoticesSilence: the peer neither closes nor answers pings.
func TestChannelNoticesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runChannel(t, Options{CustomHeaders: map[string]string{"X-Test-No-Pong": "1"}}, testHello(), nil)
		p := <-r.accepted
		p.welcome(ready(3600))
		<-r.Ready()
		began := time.Now()
		go p.hear()
		next := <-r.accepted
		if got, want := time.Since(began), pingInterval+pingTimeout+time.Second; got != want {
			t.Errorf("noticed after %v, want %v", got, want)
		}
		next.welcome(ready(30))
		r.finish(t, next)
	})
}

func TestChannelSetUpTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runChannel(t, Options{}, testHello(), nil)
		p := <-r.accepted
		began := time.Now()
		p.login(nil)
		go p.hear()
		next := <-r.accepted
		if got := time.Since(began); got != channelSetup+time.Second {
			t.Errorf("tried again after %v", got)
		}
		next.welcome(ready(30))
		r.finish(t, next)
	})
}

func TestChannelIsDisabled(t *testing.T) {
	closing := func(code websocket.StatusCode, reason string) func(*peer) {
		return func(p *peer) {
			p.login(nil)
			p.read()
			_ = p.conn.Close(code, reason)
		}
	}
	answering := func(answer any) func(*peer) {
		return func(p *peer) {
			p.login(nil)
			p.read()
			p.write(answer)
			p.hear()
		}
	}
	afterReady := func(frame any) func(*peer) {
		return func(p *peer) {
			p.welcome(ready(30))
			p.write(frame)
			if closed := p.hear(); closed.Code != websocket.StatusProtocolError || closed.Reason != "protocol_error" {
				p.t.Errorf("closed with %v", closed)
			}
		}
	}
	without := func(key string, value any) map[string]any {
		frame := ready(30)
		frame["payload"].(map[string]any)[key] = value
		return frame
	}
	for name, serve := range map[string]func(*peer){
		"authentication": func(p *peer) {
			p.read()
			_ = p.conn.Close(websocket.StatusPolicyViolation, "authentication_failed")
		},
		"auth refused": func(p *peer) {
			p.read()
			p.write(map[string]any{"type": "auth_failure", "reason": "no"})
			p.hear()
		},
		"authorization":       closing(websocket.StatusPolicyViolation, "authorization_failed"),
		"version":             closing(websocket.StatusPolicyViolation, "unsupported_version"),
		"protocol":            closing(websocket.StatusProtocolError, "protocol_error"),
		"unnamed policy":      closing(websocket.StatusPolicyViolation, ""),
		"not ready":           answering(serverFrame(frameHeartbeat, nil)),
		"other consumer":      answering(without("consumer_id", "x")),
		"no snapshots":        answering(without("accepted_capabilities", []string{capabilityHeartbeat})),
		"unasked cleanup":     answering(ready(30, capabilityCleanup)),
		"no interval":         answering(without("effective_heartbeat_interval_seconds", 0)),
		"malformed ready":     answering(without("accepted_capabilities", 5)),
		"other version":       answering(without("selected_channel_version", "work_pool_worker_channel.v2")),
		"unknown field":       answering(without("surprise", true)),
		"field beside":        answering(mergeFrame(ready(30), map[string]any{"surprise": true})),
		"accepted, rejected":  answering(without("rejected_capabilities", []string{capabilitySnapshot})),
		"cleanups of nothing": answering(without("effective_max_cleanup_concurrency", 1)),
		"late snapshot":       answering(without("initial_snapshot", snapshot(1, "first")["payload"])),
		"odd queue":           answering(without("resolved_work_queues", []any{map[string]any{"id": "1", "name": "q"}})),
		"field in snapshot":   afterReady(serverFrame(frameSnapshot, mergeFrame(snapshot(2, "x")["payload"].(map[string]any), map[string]any{"surprise": 1}))),
		"no id":               afterReady(mergeFrame(snapshot(2, "x"), map[string]any{"id": "x"})),
		"unknown frame":       afterReady(serverFrame("worker.surprise.v9", map[string]any{})),
		"no frame":            afterReady([]int{1}),
		"malformed snapshot":  afterReady(serverFrame(frameSnapshot, map[string]any{"snapshot_sequence": "x"})),
		"unasked cleanup msg": afterReady(serverFrame(frameCleanup, map[string]any{})),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := runChannel(t, Options{}, testHello(), nil)
				serve(<-r.accepted)
				if err := <-r.ended; !errors.Is(err, ErrChannelDisabled) {
					t.Errorf("ended with %v", err)
				}
				r.stop()
			})
		})
	}
}

func TestChannelUpgradeAnswers(t *testing.T) {
	for code, disabled := range map[int]bool{200: true, 401: true, 403: true, 404: true, 405: true, 418: true, 500: false, 502: false, 503: false} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				route, accepted := sockets(t)
				api := newFake(t, map[string]http.HandlerFunc{connectRoute: answers(status(code), route)})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				channel := NewChannel(api.client(t, Options{}), testHello(), func(WorkPool) {})
				ended := make(chan error, 1)
				go func() { ended <- channel.Run(ctx) }()
				if disabled {
					if err := <-ended; !errors.Is(err, ErrChannelDisabled) {
						t.Errorf("ended with %v", err)
					}
					return
				}
				p := <-accepted
				p.welcome(ready(30))
				<-channel.Ready()
				cancel()
				p.hear()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestChannelWaitsForTheServer: refused connections before the first success
// do not disable the channel.
func TestChannelWaitsForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFake(t, nil)
		api.server.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := NewChannel(api.client(t, Options{}), testHello(), func(WorkPool) {}).Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestSocketLogins(t *testing.T) {
	cloud := Options{CloudAPIURL: "http://prefect.test/api", APIKey: "key"}
	for name, test := range map[string]struct {
		options Options
		login   func(*Client, *Credentials) login
		want    login
	}{
		"channel, open":        {Options{}, (*Client).channelLogin, login{inBand: true}},
		"channel, auth string": {Options{AuthString: "u:p", APIKey: "key"}, (*Client).channelLogin, login{inBand: true, token: optional("u:p")}},
		"channel, key":         {Options{APIKey: "key"}, (*Client).channelLogin, login{inBand: true, token: optional("key")}},
		"in, open":             {Options{APIKey: "key"}, (*Client).eventsInLogin, login{inBand: true}},
		"in, auth string":      {Options{AuthString: "u:p"}, (*Client).eventsInLogin, login{header: "Basic dTpw", inBand: true, token: optional("u:p")}},
		"in, cloud":            {cloud, (*Client).eventsInLogin, login{header: "bearer key"}},
		"out, auth string":     {Options{AuthString: "u:p"}, (*Client).eventsOutLogin, login{inBand: true, token: optional("u:p")}},
		"out, cloud":           {cloud, (*Client).eventsOutLogin, login{inBand: true, token: optional("key")}},
	} {
		test.options.APIURL = "http://prefect.test/api"
		c, err := New(test.options)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, test.login(c, c.credentials()), cmp.AllowUnexported(login{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
