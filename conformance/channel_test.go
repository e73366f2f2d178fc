//go:build conformance

package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
	"faber/internal/fake/relay"

	"github.com/google/uuid"
)

// refuseChannel lets only the worker channel be missing, as on an older server.
func (b *bench) refuseChannel() {
	b.relay.RefuseSockets("/work_pools/"+b.pool+"/workers/connect", http.StatusNotFound)
}

// restHeartbeats are the heartbeats that went over REST.
func (b *bench) restHeartbeats() []relay.Exchange {
	return b.calls("POST", "/work_pools/"+b.pool+"/workers/heartbeat")
}

// hello waits for the hello of a worker of this type, and returns its payload.
func (b *bench) hello(typ string) object {
	b.Helper()
	var found object
	b.until(time.Minute, "a worker of type "+typ+" said hello", func() bool {
		for _, s := range b.channels() {
			for _, frame := range channelFrames(s, "worker.hello.v1") {
				if payload, _ := frame["payload"].(object); payload["worker_type"] == typ {
					found = payload
				}
			}
		}
		return found != nil
	})
	return found
}

// texts are the texts of a list, sorted.
func texts(list any) []string {
	var out []string
	all, _ := list.([]any)
	for _, one := range all {
		out = append(out, fmt.Sprint(one))
	}
	slices.Sort(out)
	return out
}

func Test022Handshake(t *testing.T) {
	b := newBench(t, "22", "the channel begins with auth, hello, ready; hello has both required capabilities")
	b.differs()
	b.createPool("process", nil)
	b.worker("process", withName("shaker"), withArgs("-q", "default"))
	s := b.waitReady()
	var order []string
	for _, frame := range s.Frames()[:4] {
		var f object
		if err := json.Unmarshal([]byte(frame.Data), &f); err != nil {
			t.Fatalf("frame %s: %v", frame.Data, err)
		}
		way := "s"
		if frame.FromClient {
			way = "c"
		}
		order = append(order, way+":"+fmt.Sprint(f["type"]))
	}
	if want := []string{"c:auth", "s:auth_success", "c:worker.hello.v1", "s:worker.ready.v1"}; !slices.Equal(order, want) {
		t.Errorf("the frames were %v", order)
	}
	hello := channelFrames(s, "worker.hello.v1")[0]
	payload, _ := hello["payload"].(object)
	consumer, err := uuid.Parse(fmt.Sprint(payload["consumer_id"]))
	if err != nil || consumer.Version() != 7 {
		t.Errorf("the consumer id is %v", payload["consumer_id"])
	}
	capabilities := texts(payload["requested_capabilities"])
	if !slices.Contains(capabilities, "worker_heartbeat.v1") || !slices.Contains(capabilities, "work_pool_snapshot.v1") {
		t.Errorf("the capabilities are %v", capabilities)
	}
	beat := "30"
	if suite.worker == faber {
		beat = "10"
	}
	for name, want := range map[string]string{
		"worker_name": "shaker", "worker_type": "process", "heartbeat_interval_seconds": beat, "create_pool_if_not_found": "true",
		"work_queue_names": "[default]", "supported_channel_versions": "[work_pool_worker_channel.v1]",
	} {
		if got := fmt.Sprint(payload[name]); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if subprotocol := s.Header.Get("Sec-WebSocket-Protocol"); subprotocol != "prefect" {
		t.Errorf("the subprotocol is %q", subprotocol)
	}
	b.saw("%s; capabilities %v, consumer id UUIDv%d", strings.Join(order, " "), capabilities, consumer.Version())
}

func Test023CleanupDelivery(t *testing.T) {
	b := newBench(t, "23", "an ECS worker's hello asks for cleanup delivery, 1 at a time; a process worker's does not")
	ecsPool := b.pooled("-ecs")
	b.worker("process")
	ecsPool.ecsWorker(fakeaws.New(t))
	for typ, want := range map[string]struct {
		asks  bool
		kinds []string
		most  string
	}{
		"ecs":     {true, []string{"cancelling_timeout_teardown.v1"}, "1"},
		"process": {false, nil, "0"},
	} {
		payload := b.hello(typ)
		asks := slices.Contains(texts(payload["requested_capabilities"]), "cleanup_delivery.v1")
		kinds, most := texts(payload["handled_cleanup_kinds"]), fmt.Sprint(payload["max_cleanup_concurrency"])
		if asks != want.asks || !slices.Equal(kinds, want.kinds) || most != want.most {
			t.Errorf("%s: cleanup delivery %t, kinds %v, at once %s", typ, asks, kinds, most)
		}
		b.saw("%s: cleanup delivery %t, kinds %v, at once %s", typ, asks, kinds, most)
	}
}

func Test024Heartbeats(t *testing.T) {
	b := newBench(t, "24", "heartbeat frames at every interval that the server set; no REST heartbeats while the channel is healthy")
	b.createPool("process", nil)
	// The worker asks for 30 s; the server's answer is that it shall be 2 s.
	const interval = 2 * time.Second
	b.relay.DropFrames(func(s *relay.Socket, f relay.Frame) bool {
		var ready object
		if f.FromClient || json.Unmarshal([]byte(f.Data), &ready) != nil || ready["type"] != "worker.ready.v1" {
			return false
		}
		payload, _ := ready["payload"].(object)
		payload["effective_heartbeat_interval_seconds"] = interval.Seconds()
		return s.Send(b.frame("worker.ready.v1", payload)) == nil
	})
	b.worker("process")
	s := b.waitReady()
	const beats = 4
	b.until(time.Minute, "there were 4 heartbeats", func() bool { return len(channelFrames(s, "worker.heartbeat.v1")) >= beats })
	last := channelFrames(s, "worker.ready.v1")[0]["_at"].(time.Time)
	began := last
	var gaps []string
	for _, beat := range channelFrames(s, "worker.heartbeat.v1")[:beats] {
		at := beat["_at"].(time.Time)
		gaps = append(gaps, at.Sub(last).Round(10*time.Millisecond).String())
		last = at
		if got := fmt.Sprint(dig(beat, "payload", "heartbeat_interval_seconds")); got != "2" {
			t.Errorf("a heartbeat says that the interval is %s", got)
		}
	}
	if mean := last.Sub(began) / beats; mean < interval*97/100 || mean > interval*13/10 {
		t.Errorf("the heartbeats came every %s", mean)
	}
	if rest := b.restHeartbeats(); len(rest) > 0 {
		t.Errorf("%d heartbeats went over REST", len(rest))
	}
	b.saw("asked for 30 s, told 2 s: heartbeats after %s; 0 over REST", strings.Join(gaps, ", "))
}

func Test025ChannelMissing(t *testing.T) {
	b := newBench(t, "25", "upgrade 404: pool GET and heartbeat POST over REST at every interval (30 % more or less), the channel is not tried again")
	b.refuseChannel()
	b.worker("process", withEnv("PREFECT_WORKER_HEARTBEAT_SECONDS", "2"))
	const rounds = 5
	b.until(time.Minute, "there were 6 heartbeats", func() bool { return len(b.restHeartbeats()) > rounds })
	beats := b.restHeartbeats()
	reads := b.calls("GET", "/work_pools/"+b.pool)
	var pauses []string
	// The first rounds of a start may follow each other at once.
	for i := 2; i <= rounds; i++ {
		before := slices.IndexFunc(reads, func(x relay.Exchange) bool { return x.At.After(beats[i-1].At) && x.At.Before(beats[i].At) })
		if before < 0 {
			t.Fatalf("heartbeat %d came without the pool being read", i)
		}
		pauses = append(pauses, b.checkPause(beats[i-1], reads[before], 1500*time.Millisecond, 2600*time.Millisecond).String())
	}
	var body object
	if err := json.Unmarshal(beats[0].Body, &body); err != nil || fmt.Sprint(body["heartbeat_interval_seconds"]) != "2" {
		t.Errorf("the heartbeat is %s", beats[0].Body)
	}
	tries := b.channels()
	if len(tries) != 1 || tries[0].Status != http.StatusNotFound {
		t.Errorf("the channel was tried %d times", len(tries))
	}
	b.saw("interval 2 s: GET pool, POST heartbeat after %s; channel tried once", strings.Join(pauses, ", "))
}

func Test026Reconnect(t *testing.T) {
	b := newBench(t, "26", "close 1011: reconnect after 1, 2, 4 s with the same consumer_id; REST heartbeats in between")
	b.createPool("process", nil)
	b.worker("process", withEnv("PREFECT_WORKER_HEARTBEAT_SECONDS", "1"))
	first := b.waitReady()
	b.waitPolled(1)
	if rest := b.restHeartbeats(); len(rest) > 0 {
		t.Errorf("%d heartbeats went over REST", len(rest))
	}
	open := b.relay.RefuseSockets("/workers/connect", http.StatusServiceUnavailable)
	first.Close(1011, "")
	b.until(20*time.Second, "two reconnects were refused", func() bool { return len(b.channels()) == 3 })
	open()
	b.until(20*time.Second, "the channel is there again", func() bool { return len(b.channels()) == 4 })
	second := b.waitReady()
	last, _, _ := first.Ended()
	var waits []string
	for i, s := range b.channels()[1:] {
		wait := s.At.Sub(last)
		last = s.At
		if want := time.Second << i; wait < want-20*time.Millisecond || wait > want+slack {
			t.Errorf("reconnect %d came after %s", i+1, wait)
		}
		waits = append(waits, wait.Round(10*time.Millisecond).String())
	}
	ids := []any{channelFrames(first, "worker.hello.v1")[0]["payload"].(object)["consumer_id"], channelFrames(second, "worker.hello.v1")[0]["payload"].(object)["consumer_id"]}
	if ids[0] != ids[1] {
		t.Errorf("the consumer ids are %v", ids)
	}
	between := b.restHeartbeats()
	if len(between) < 2 {
		t.Errorf("%d heartbeats went over REST while the channel was away", len(between))
	}
	b.until(20*time.Second, "heartbeats go over the channel again", func() bool { return len(channelFrames(second, "worker.heartbeat.v1")) >= 4 })
	after := 0 // without the round that was under way
	for _, x := range b.restHeartbeats() {
		if x.At.After(channelFrames(second, "worker.ready.v1")[0]["_at"].(time.Time).Add(1500 * time.Millisecond)) {
			after++
		}
	}
	if after > 0 {
		t.Errorf("%d heartbeats went over REST when the channel was there again", after)
	}
	b.saw("reconnects after %s, same consumer_id %.8s; %d REST heartbeats in between, %d after", strings.Join(waits, ", "), ids[0], len(between), after)
}

// checkDisabled ends the item for a channel that was just made to fail for good:
// heartbeats go over REST, no channel is tried, runs are executed.
func (b *bench) checkDisabled(w *worker) {
	b.Helper()
	tried := len(b.channels())
	before := len(b.restHeartbeats())
	b.until(20*time.Second, "3 heartbeats went over REST", func() bool { return len(b.restHeartbeats()) >= before+3 })
	b.waitExecuted(b.run(b.quickDeployment(), nil), 30*time.Second)
	if again := len(b.channels()); again != tried {
		b.Errorf("the channel was tried again, %d times", again-tried)
	}
	if !w.alive() {
		b.Error("the worker ended")
	}
	b.saw("%d heartbeats over REST, no channel again, a run executed, same process", len(b.restHeartbeats())-before)
}

func Test027NotAuthorized(t *testing.T) {
	b := newBench(t, "27", "close 1008 authorization_failed: REST for good, and the worker keeps running")
	b.createPool("process", nil)
	w := b.worker("process", withEnv("PREFECT_WORKER_HEARTBEAT_SECONDS", "1"))
	b.waitReady().Close(1008, "authorization_failed")
	b.checkDisabled(w)
}

// frame is a frame of the channel as the server would send it.
func (b *bench) frame(typ string, payload object) string {
	b.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		b.Fatal(err)
	}
	text, err := json.Marshal(object{"type": typ, "id": id.String(), "sent_at": time.Now().UTC().Format(time.RFC3339Nano), "payload": payload})
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

func Test028UnknownFrame(t *testing.T) {
	b := newBench(t, "28", "a frame of unknown type from the server: the channel is given up, REST from then on, no crash")
	b.createPool("process", nil)
	w := b.worker("process", withEnv("PREFECT_WORKER_HEARTBEAT_SECONDS", "1"))
	s := b.waitReady()
	w.waitStarted()
	if err := s.Send(b.frame("worker.surprise.v1", object{})); err != nil {
		t.Fatal(err)
	}
	b.until(10*time.Second, "the worker closed the channel", func() bool { return !s.Open() })
	b.checkDisabled(w)
}

// setEcho edits the pool's template so that its jobs print text.
func (b *bench) setEcho(text string) {
	b.Helper()
	b.patchPool(object{"base_job_template": echoTemplate(text)})
}

func Test029TemplateEdited(t *testing.T) {
	b := newBench(t, "29", "editing the pool's template while the worker runs affects the next run, by channel and by REST")
	rest := b.pooled("-rest")
	rest.refuseChannel()
	lanes := map[string]*bench{"channel": b, "REST": rest}
	workers := map[string]*worker{}
	for way, lane := range lanes {
		lane.createPool("process", echoTemplate("old-"+way))
		workers[way] = lane.worker("process", withEnv("PREFECT_WORKER_HEARTBEAT_SECONDS", "2"))
	}
	for way, lane := range lanes {
		w := workers[way]
		w.waitStarted()
		deployment := lane.deployment(nil)
		lane.run(deployment, nil)
		w.waitLog(30*time.Second, "old-"+way)
		lane.setEcho("new-" + way)
		edited := time.Now()
		if way == "REST" {
			heartbeats := len(lane.restHeartbeats())
			lane.until(20*time.Second, "the worker synced", func() bool { return len(lane.restHeartbeats()) > heartbeats+1 })
		}
		lane.run(deployment, nil)
		w.waitLog(30*time.Second, "new-"+way)
		if n := strings.Count(w.log(), "old-"+way); n != 1 || !w.alive() {
			t.Errorf("%s: the old template was used %d times; alive: %t", way, n, w.alive())
		}
		b.saw("%s: the run after the edit printed the new text, %.1f s after", way, time.Since(edited).Seconds())
	}
}

func Test030OldSnapshot(t *testing.T) {
	b := newBench(t, "30", "a snapshot whose sequence has not grown is ignored; one whose has is taken in")
	b.createPool("process", echoTemplate("first-text"))
	w := b.worker("process")
	s := b.waitReady()
	w.waitStarted()
	ready := channelFrames(s, "worker.ready.v1")[0]
	pool := dig(ready, "payload", "initial_snapshot", "work_pool").(object)
	sequence := dig(ready, "payload", "initial_snapshot", "snapshot_sequence").(float64)
	send := func(sequence float64, text string) {
		pool["base_job_template"] = echoTemplate(text)
		err := s.Send(b.frame("work_pool.snapshot.v1", object{"snapshot_sequence": sequence, "reason": "work_pool_updated", "work_pool": pool}))
		if err != nil {
			t.Fatal(err)
		}
	}
	deployment := b.deployment(nil)
	send(sequence, "stale-text")
	b.waitExecuted(b.run(deployment, nil), 30*time.Second)
	w.waitLog(10*time.Second, "first-text")
	send(sequence+1, "grown-text")
	b.waitExecuted(b.run(deployment, nil), 30*time.Second)
	w.waitLog(10*time.Second, "grown-text")
	if strings.Contains(w.log(), "stale-text") || !s.Open() {
		t.Errorf("the stale snapshot was used: %t; the channel is open: %t", strings.Contains(w.log(), "stale-text"), s.Open())
	}
	b.saw("sequence %v again: ignored; sequence %v: used; the channel is open", sequence, sequence+1)
}
