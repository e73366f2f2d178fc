//go:build conformance

package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
	"faber/internal/fake/relay"
)

// echoTemplate is a base job template of a user's own. Its jobs print a text.
func echoTemplate(text string) object {
	return object{
		"job_configuration": object{"command": "{{ command }}", "env": "{{ env }}", "name": "{{ name }}"},
		"variables": object{"type": "object", "properties": object{
			"command": object{"type": "string", "default": "echo " + text},
			"env":     object{"type": "object", "default": object{"MODE": "of the template"}},
			"name":    object{"type": "string"},
		}},
	}
}

// plainJSON is a value as it is after a trip through JSON, to be compared.
func plainJSON(value any) any {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var plain any
	if err := json.Unmarshal(data, &plain); err != nil {
		return err
	}
	return plain
}

// variableCount is how many variables a pool's template has, 0 if it is none.
func variableCount(pool object) int {
	properties, _ := dig(pool, "base_job_template", "variables", "properties").(object)
	configuration, _ := dig(pool, "base_job_template", "job_configuration").(object)
	if len(configuration) == 0 {
		return 0
	}
	return len(properties)
}

// pooled is the bench with another pool, on the same relay.
func (b *bench) pooled(suffix string) *bench {
	return &bench{item: b.item, server: b.server, relay: b.relay, pool: b.pool + suffix}
}

func Test016FreshPool(t *testing.T) {
	b := newBench(t, "16", "a pool that does not exist is there afterwards, of the worker's type and with a template")
	elsewhere := b.pooled("-ecs")
	b.worker("process")
	elsewhere.ecsWorker(fakeaws.New(t))
	for typ, lane := range map[string]*bench{"process": b, "ecs": elsewhere} {
		pool := lane.waitPool()
		lane.until(20*time.Second, "the pool has a template", func() bool {
			pool = lane.readPool()
			return variableCount(pool) > 0
		})
		if pool["type"] != typ {
			t.Errorf("the pool of the %s worker has type %v", typ, pool["type"])
		}
		b.saw("%s: type %v, %d variables", typ, pool["type"], variableCount(pool))
	}
}

func Test017TemplateGiven(t *testing.T) {
	b := newBench(t, "17", "--base-job-template and no pool: the pool has exactly that template")
	template := echoTemplate("given")
	text, err := json.Marshal(template)
	if err != nil {
		t.Fatal(err)
	}
	file := b.writeFile(t.TempDir(), "f.json", string(text))
	b.worker("process", withArgs("--base-job-template", file))
	b.waitPolled(1)
	got := b.waitPool()["base_job_template"]
	if !reflect.DeepEqual(got, plainJSON(template)) {
		t.Errorf("the template is %v", got)
	}
	b.saw("the pool's template equals the file, default command %v", dig(got, "variables", "properties", "command", "default"))
}

func Test018TemplateKept(t *testing.T) {
	b := newBench(t, "18", "a pool that has a template keeps it when a worker starts, --base-job-template or not, channel or REST")
	template := echoTemplate("kept")
	b.createPool("process", template)
	text, err := json.Marshal(echoTemplate("other"))
	if err != nil {
		t.Fatal(err)
	}
	file := b.writeFile(t.TempDir(), "f.json", string(text))
	rest := b.lane()
	rest.relay.RefuseSockets("/workers/connect", http.StatusNotFound)
	for _, lane := range []*bench{b, rest} {
		lane.worker("process")
		lane.worker("process", withArgs("--base-job-template", file))
	}
	for _, lane := range []*bench{b, rest} {
		lane.until(time.Minute, "both workers poll", func() bool {
			names := map[string]bool{}
			for _, x := range lane.polls() {
				names[x.Header.Get("X-Prefect-Worker-Name")] = true
			}
			return len(names) == 2
		})
		if patches := lane.calls("PATCH", "/work_pools/"+b.pool); len(patches) > 0 {
			t.Errorf("the pool was changed: %s", patches[0].Body)
		}
	}
	if got := b.readPool()["base_job_template"]; !reflect.DeepEqual(got, plainJSON(template)) {
		t.Errorf("the template is %v", got)
	}
	b.saw("4 workers polled, 2 of them with a template of their own, 2 over REST: the pool's template is unchanged")
}

func Test019TemplateFilled(t *testing.T) {
	b := newBench(t, "19", "a pool with an empty template is given the worker's, by channel or by REST")
	rest := b.pooled("-rest")
	b.relay.RefuseSockets("/"+rest.pool+"/workers/connect", http.StatusNotFound)
	for way, lane := range map[string]*bench{"channel": b, "REST": rest} {
		if made := lane.createPool("process", nil); variableCount(made) > 0 {
			t.Fatalf("the server itself gave the pool a template: %v", made)
		}
		lane.worker("process")
		b.saw("%s: empty at first", way)
	}
	for way, lane := range map[string]*bench{"channel": b, "REST": rest} {
		lane.until(time.Minute, "the pool has a template", func() bool { return variableCount(lane.readPool()) > 0 })
		pool := lane.readPool()
		if dig(pool, "base_job_template", "job_configuration", "command") != "{{ command }}" {
			t.Errorf("the template is %v", pool["base_job_template"])
		}
		b.saw("%s: %d variables", way, variableCount(pool))
	}
}

func Test020PoolNotCreated(t *testing.T) {
	b := newBench(t, "20", "--no-create-pool-if-not-found and no pool: a warning each round, no pool; one made later is picked up")
	w := b.worker("process", withArgs("--no-create-pool-if-not-found"), withEnv("PREFECT_WORKER_HEARTBEAT_SECONDS", "1"))
	warning := "Work pool '" + b.pool + "' not found!"
	warnings := func() int { return strings.Count(w.log(), warning) }
	b.until(time.Minute, "there were 4 warnings", func() bool {
		if b.poolExists() {
			t.Fatal("the worker made the pool")
		}
		return warnings() >= 4
	})
	if polls := b.polls(); len(polls) > 0 {
		t.Errorf("%d polls of a pool that does not exist", len(polls))
	}
	seen := warnings()
	b.createPool("process", nil)
	made := time.Now()
	run := b.run(b.quickDeployment(), nil)
	b.waitExecuted(run, 30*time.Second)
	if !w.alive() {
		t.Error("the worker ended")
	}
	b.saw("%d warnings, no pool, 0 polls; a run of the pool made later executed %.1f s after; same process", seen, time.Since(made).Seconds())
}

func Test021Online(t *testing.T) {
	b := newBench(t, "21", "the server lists the worker ONLINE within 2 s of its start, with the name it was given")
	w := b.worker("process", withName("Night Shift 7"))
	w.waitStarted()
	started := time.Now()
	var list []object
	b.until(2*time.Second, "the worker is listed", func() bool {
		list = b.workers()
		return len(list) > 0
	})
	if len(list) != 1 || list[0]["name"] != "Night Shift 7" || list[0]["status"] != "ONLINE" || list[0]["last_heartbeat_time"] == nil {
		t.Errorf("the server lists %v", list)
	}
	b.saw("%v %v, %s after it said that it started", list[0]["name"], list[0]["status"], time.Since(started).Round(10*time.Millisecond))
}

func Test031QueueMissing(t *testing.T) {
	b := newBench(t, "31", "a queue that does not exist: the worker polls 404 quietly, and runs appear once it is there")
	b.createPool("process", nil)
	w := b.worker("process", withArgs("-q", "missing"))
	b.until(time.Minute, "there were 4 polls", func() bool {
		return len(b.answered("POST", "/get_scheduled_flow_runs", http.StatusNotFound)) >= 4
	})
	unanswered := b.polls()
	for _, x := range unanswered {
		if x.Status != http.StatusNotFound && x.Status != 0 {
			t.Errorf("a poll was answered with %d", x.Status)
		}
	}
	for _, word := range []string{"WARN", "ERROR", "Traceback", "404"} {
		if strings.Contains(w.log(), word) {
			t.Errorf("the worker's log has %s", word)
		}
	}
	b.call("POST", "/work_pools/"+b.pool+"/queues/", object{"name": "missing"}, nil)
	run := b.run(b.deployment(object{"work_queue_name": "missing", "job_variables": object{"command": "true"}}), nil)
	b.waitExecuted(run, 30*time.Second)
	b.saw("%d polls answered 404, nothing said of it; then a run of the queue was executed, same process: %t", len(unanswered), w.alive())
}

func Test032TypeMismatch(t *testing.T) {
	b := newBench(t, "32", "a pool of another type: Worker type mismatch! is said, and runs are executed all the same")
	b.createPool("kubernetes", echoTemplate("mismatched"))
	w := b.worker("process")
	w.waitStarted()
	said := w.waitLog(10*time.Second, `Worker type mismatch! This worker process expects type 'process' but received 'kubernetes' from the server\. Unexpected behavior may occur\.`)
	b.waitExecuted(b.run(b.deployment(nil), nil), 30*time.Second)
	b.until(10*time.Second, "the command was run", func() bool { return strings.Contains(w.log(), "mismatched") })
	if n := strings.Count(w.log(), "Worker type mismatch!"); n != 1 {
		t.Errorf("it was said %d times", n)
	}
	b.saw("%.90s..., once; the run was executed", said)
}

func Test033TypeFromPool(t *testing.T) {
	b := newBench(t, "33", "no --type: the pool's type is taken and printed; no pool: process")
	b.createPool("ecs", nil)
	fresh := b.pooled("-fresh")
	found := b.ecsWorker(fakeaws.New(t), func(o *workerOptions) { o.Type = "" })
	fallen := fresh.worker("")
	said := found.waitLog(time.Minute, `Discovered type 'ecs' for work pool '`+b.pool+`'\.`)
	other := fallen.waitLog(time.Minute, `Work pool '`+fresh.pool+`' does not exist and no worker type was\s+provided\. Starting a process worker\.\.\.`)
	found.waitStarted()
	fallen.waitStarted()
	types := map[any]any{}
	for _, s := range b.channels() {
		for _, hello := range channelFrames(s, "worker.hello.v1") {
			types[dig(hello, "payload", "worker_name")] = dig(hello, "payload", "worker_type")
		}
	}
	if got := fresh.waitPool()["type"]; got != "process" {
		t.Errorf("the new pool has type %v", got)
	}
	if len(types) != 2 || !slices.Contains(values(types), "ecs") || !slices.Contains(values(types), "process") {
		t.Errorf("the workers said that they are %v", types)
	}
	b.saw("%q; %q; hello as %v", said, cut(other, 90), values(types))
}

// values are a map's values as texts, sorted.
func values(m map[any]any) []string {
	var out []string
	for _, v := range m {
		out = append(out, fmt.Sprint(v))
	}
	slices.Sort(out)
	return out
}

func Test034Paused(t *testing.T) {
	b := newBenchOn(t, "34", "a paused pool or queues: said at start, no runs until resumed, and no restart needed", guardedServer)
	queued := b.pooled("-queues")
	b.createPool("process", nil)
	queued.createPool("process", nil)
	b.patchPool(object{"is_paused": true})
	queue := "/work_pools/" + queued.pool + "/queues/default"
	b.call("PATCH", queue, object{"is_paused": true}, nil)
	w, other := b.worker("process"), queued.worker("process")
	held := b.run(b.quickDeployment(), nil)
	heldToo := queued.run(queued.quickDeployment(), nil)
	w.waitLog(time.Minute, `The work pool '`+b.pool+`' is currently paused\. This worker will not execute any flow runs until the work pool is unpaused\.`)
	other.waitLog(time.Minute, `All work queues in the work pool '`+queued.pool+`' are currently paused\. This worker will not execute any flow runs until the work queues are unpaused\.`)
	w.waitStarted()
	other.waitStarted()
	// A run that is late gets a state that says so, of the same type.
	begun := func(run string) bool { return b.readRun(run)["state_type"] != "SCHEDULED" }
	b.hold(4*time.Second, "a run of something paused is started", func() bool { return begun(held) || begun(heldToo) })
	b.patchPool(object{"is_paused": false})
	b.call("PATCH", queue, object{"is_paused": false}, nil)
	resumed := time.Now()
	b.waitExecuted(held, 30*time.Second)
	queued.waitExecuted(heldToo, 30*time.Second)
	if !w.alive() || !other.alive() {
		t.Error("a worker ended")
	}
	b.saw("both notices; nothing started in 4 s; both runs executed %.1f s after resuming, same processes", time.Since(resumed).Seconds())
}

func Test035WorkerName(t *testing.T) {
	b := newBench(t, "35", "a worker name with / or % is refused")
	b.createPool("process", nil)
	var workers []*worker
	names := []string{"a/b", "a%b"}
	for _, name := range names {
		workers = append(workers, b.worker("process", withName(name)))
	}
	for i, w := range workers {
		code := w.waitExit(time.Minute)
		if code <= 0 || !strings.Contains(w.log(), "'/'") || strings.Contains(w.log(), "started!") {
			t.Errorf("%s: it ended with %d and said %s", names[i], code, w.log())
		}
		b.saw("%s: exit code %d", names[i], code)
	}
	if polls, list := b.polls(), b.workers(); len(polls) > 0 || len(list) > 0 {
		t.Errorf("%d polls, workers %v", len(polls), list)
	}
}

func Test036DownAtStart(t *testing.T) {
	b := newBench(t, "36", "the API is down at start: a warning, further attempts, and work once it comes up")
	b.relay.Down()
	cloud := fakeaws.New(t)
	w := b.ecsWorker(cloud, withEnv("PREFECT_WORKER_HEARTBEAT_SECONDS", "1"))
	said := w.waitLog(time.Minute, `(?i)Unable to reach the Prefect API while starting up; the worker will keep attempting to connect`)
	b.hold(2*time.Second, "the worker ends", func() bool { return !w.alive() })
	if b.poolExists() {
		t.Fatal("the pool exists before the API was to be reached")
	}
	b.relay.Up(t)
	up := time.Now()
	pool := b.waitPool()
	b.taskOf(cloud, b.run(b.deployment(nil), nil))
	if !w.alive() || pool["type"] != "ecs" {
		t.Errorf("alive: %t; the pool has type %v", w.alive(), pool["type"])
	}
	b.saw("%q; pool made and a run launched within %.1f s of the API coming up, same process", said, time.Since(up).Seconds())
}

// failPolls answers every call of the worker as a gateway before a dead server.
func (b *bench) failPolls() (remove func()) {
	return b.relay.Intercept(func(r *http.Request, _ []byte) *relay.Answer {
		if strings.Contains(r.URL.Path, "/work_pools/") {
			return &relay.Answer{Status: http.StatusGatewayTimeout}
		}
		return nil
	})
}

func Test037DownForLong(t *testing.T) {
	b := newBench(t, "37", "the API is down for long: the interval doubles with every 3 failures; Prefect's worker ends at the 4th level, faber keeps trying")
	b.differs()
	b.createPool("process", nil)
	const query = 100 * time.Millisecond
	w := b.worker("process", withEnv("PREFECT_WORKER_QUERY_SECONDS", fmt.Sprint(query.Seconds())))
	b.waitPolled(3)
	up := b.failPolls()
	failed := func() []relay.Exchange {
		return b.relay.Exchanges(relay.Calls("POST", "/get_scheduled_flow_runs"), func(x relay.Exchange) bool { return x.Spoilt })
	}
	if suite.worker == python {
		code := w.waitExit(time.Minute)
		polls := failed()
		if code <= 0 || len(polls) != 12 || !strings.Contains(w.log(), "Service exceeded error threshold.") {
			t.Errorf("it ended with %d after %d failed polls", code, len(polls))
		}
		b.saw("12 failed polls, waits %s; exit code %d, Service exceeded error threshold.", b.checkDoubling(polls, query), code)
		return
	}
	b.until(time.Minute, "there were 15 failed polls", func() bool { return len(failed()) >= 15 })
	pauses := b.checkDoubling(failed()[:15], query)
	if !w.alive() {
		t.Fatalf("the worker ended with %d", w.code)
	}
	up()
	back := time.Now()
	b.waitExecuted(b.run(b.quickDeployment(), nil), 30*time.Second)
	b.saw("15 failed polls, waits %s; alive; a run executed %.1f s after the API was back", pauses, time.Since(back).Seconds())
}

// checkDoubling fails unless the waits double with every three failures.
func (b *bench) checkDoubling(polls []relay.Exchange, query time.Duration) string {
	b.Helper()
	var pauses []string
	for i := 1; i < len(polls); i++ {
		mean := query << (i / 3)
		pauses = append(pauses, b.checkPause(polls[i-1], polls[i], mean*3/4, mean*13/10).String())
	}
	return strings.Join(pauses, " ")
}
