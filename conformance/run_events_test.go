//go:build conformance

package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
)

// sent counts how often the worker sent the event with this id, over all sockets.
func (b *bench) sent(id string) int {
	b.Helper()
	count := 0
	for _, socket := range b.relay.Sockets("/events/in") {
		for _, frame := range socket.Frames() {
			var event struct{ ID string }
			if frame.FromClient && json.Unmarshal([]byte(frame.Data), &event) == nil && event.ID == id {
				count++
			}
		}
	}
	return count
}

// relatedTo are the ids and roles of an event's related resources, in order.
func relatedTo(event object) []string {
	list, _ := event["related"].([]any)
	var out []string
	for _, r := range list {
		out = append(out, fmt.Sprintf("%v as %v", dig(r, "prefect.resource.id"), dig(r, "prefect.resource.role")))
	}
	return out
}

func Test051Events(t *testing.T) {
	b := newBench(t, "51", "started, submitted, executed and stopped are sent, with what they concern, and kept by the server")
	cloud := fakeaws.New(t)
	pool := b.createPool("ecs", nil)
	w := b.ecsWorker(cloud, withName("Wörker No. 5"))
	w.waitStarted()
	deployment := b.deployment(object{"tags": []string{"zebra", "both"}})
	run := b.run(deployment, object{"tags": []string{"ant", "both"}})
	executed := b.waitEmitted("prefect.worker.executed-flow-run", 30*time.Second)
	w.signal(syscall.SIGTERM)
	if code := w.waitExit(30 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	started, submitted := b.waitEmitted("prefect.worker.started", time.Second), b.waitEmitted("prefect.worker.submitted-flow-run", time.Second)
	stopped := b.waitEmitted("prefect.worker.stopped", 10*time.Second)

	ofPool := fmt.Sprintf("prefect.work-pool.%v as work-pool", pool["id"])
	ofRun := []string{
		"prefect.deployment." + deployment + " as deployment", "prefect.flow." + b.flow() + " as flow", "prefect.flow-run." + run + " as flow-run",
		"prefect.tag.ant as tag", "prefect.tag.both as tag", "prefect.tag.zebra as tag", ofPool,
	}
	for _, want := range []struct {
		event   object
		related []string
		follows any
	}{{started, []string{ofPool}, nil}, {submitted, ofRun, nil}, {executed, ofRun, submitted["id"]}, {stopped, []string{ofPool}, started["id"]}} {
		if got := relatedTo(want.event); !slices.Equal(got, want.related) || want.event["follows"] != want.follows {
			t.Errorf("%v follows %v and is related to %q; want %v, %q", want.event["event"], want.event["follows"], got, want.follows, want.related)
		}
		if id, kind := dig(want.event, "resource", "prefect.resource.id"), dig(want.event, "resource", "prefect.worker-type"); id != "prefect.worker.ecs.worker-no-5" || kind != "ecs" {
			t.Errorf("%v is of %v, type %v", want.event["event"], id, kind)
		}
	}
	flowRun := dig(executed, "related", 2)
	if code, pid := dig(flowRun, "prefect.infrastructure.status-code"), dig(flowRun, "prefect.infrastructure.identifier"); code != "0" || pid != b.readRun(run)["infrastructure_pid"] {
		t.Errorf("executed has status code %v and identifier %v", code, pid)
	}
	b.waitKept(started, submitted, executed, stopped)
	b.saw("4 events of prefect.worker.ecs.worker-no-5, all kept by the server; executed follows submitted, stopped follows started; related: deployment, flow, flow-run, 3 tags, work-pool")
}

// waitKept waits until the server has stored these events.
func (b *bench) waitKept(events ...object) {
	b.Helper()
	var ids []any
	for _, event := range events {
		ids = append(ids, event["id"])
	}
	b.until(30*time.Second, fmt.Sprintf("the server has %d events", len(ids)), func() bool {
		var page struct{ Total int }
		b.call("POST", "/events/filter", object{"filter": object{"id": object{"id": ids}}}, &page)
		return page.Total == len(ids)
	})
}

func Test052EventsRefused(t *testing.T) {
	b := newBench(t, "52", "/events/in is refused: runs are not affected, one warning")
	cloud := fakeaws.New(t)
	b.createPool("ecs", nil)
	b.relay.RefuseSockets("/events/in", http.StatusServiceUnavailable)
	w := b.ecsWorker(cloud)
	w.waitStarted()
	run := b.run(b.deployment(nil), nil)
	b.taskOf(cloud, run)
	b.waitPID(run)
	line := w.waitLog(time.Minute, `WARNING .*events/in.*`)
	if !w.alive() || len(b.emitted("prefect.")) > 0 {
		t.Errorf("worker alive: %t; %d events got out", w.alive(), len(b.emitted("prefect.")))
	}
	b.saw("%d sockets refused; the run is launched, its pid stored; %q", len(b.relay.Sockets("/events/in")), cut(line, 80))
}

func Test053EventsResent(t *testing.T) {
	b := newBench(t, "53", "the events' socket is dropped: what was not confirmed is sent again, once, under the same id")
	cloud := fakeaws.New(t)
	b.createPool("ecs", nil)
	b.ecsWorker(cloud).waitStarted()
	// The server confirms every 30 s at most, so started is not confirmed yet.
	started := b.waitEmitted("prefect.worker.started", 30*time.Second)
	first := b.relay.Sockets("/events/in")
	if len(first) != 1 {
		t.Fatalf("%d sockets before the cut", len(first))
	}
	first[0].Cut()
	b.run(b.deployment(nil), nil)
	executed := b.waitEmitted("prefect.worker.executed-flow-run", 30*time.Second)
	submitted := b.waitEmitted("prefect.worker.submitted-flow-run", time.Second)
	sockets := b.relay.Sockets("/events/in")
	if len(sockets) != 2 {
		t.Errorf("%d sockets", len(sockets))
	}
	// The event with which the cut was noticed may be among those sent again.
	again, noticed, after := b.sent(started["id"].(string)), b.sent(submitted["id"].(string)), b.sent(executed["id"].(string))
	if again != 2 || noticed > 2 || after != 1 {
		t.Errorf("started was sent %d times, submitted %d times, executed %d times", again, noticed, after)
	}
	b.waitKept(started, submitted, executed)
	b.saw("started: sent %d times with id %.8s, on the socket that was cut and on the next; submitted %d, executed %d times; the server has each once", again, started["id"], noticed, after)
}
