//go:build conformance

package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
	"faber/internal/fake/relay"

	"github.com/google/uuid"
)

// A bench is what one test works on: a relay of its own before a Prefect server,
// and a work pool name that nobody else uses. Set-up goes past the relay, so that
// the relay sees the worker and its flow runs alone.
type bench struct {
	*item
	server *server
	relay  *relay.Relay
	pool   string
	flowID string
}

// newBench begins the test of an item on a shared plain server.
func newBench(t *testing.T, name, title string) *bench {
	t.Helper()
	return newBenchOn(t, name, title, plainServer)
}

// newBenchOn is newBench with another server; it is asked for once the test may run.
func newBenchOn(t *testing.T, name, title string, find func(*testing.T) *server) *bench {
	t.Helper()
	i := newItem(t, name, title)
	s := find(t)
	b := &bench{item: i, server: s, relay: relay.New(t, s.url), pool: "pool-" + uuid.NewString()[:8]}
	t.Cleanup(b.showCalls)
	return b
}

// showCalls shows what was last on the wire if the test failed.
func (b *bench) showCalls() {
	if !b.Failed() {
		return
	}
	all := b.relay.Exchanges()
	for _, x := range all[max(0, len(all)-20):] {
		b.Logf("%s %s %s: %d after %s", x.At.Format("15:04:05.000"), x.Method, x.Path, x.Status, x.Took.Round(time.Millisecond))
	}
}

// worker starts the worker under test on the bench's pool, through the relay.
func (b *bench) worker(typ string, change ...func(*workerOptions)) *worker {
	b.Helper()
	o := workerOptions{Pool: b.pool, Type: typ, Name: "w-" + uuid.NewString()[:8], API: b.relay.API(), Env: map[string]string{}}
	if b.server.auth != "" {
		o.Env["PREFECT_API_AUTH_STRING"] = b.server.auth
	}
	for _, f := range change {
		f(&o)
	}
	return startWorker(b.T, o)
}

// ecsWorker is worker with type ecs and AWS's services played by cloud.
func (b *bench) ecsWorker(cloud *fakeaws.Server, change ...func(*workerOptions)) *worker {
	b.Helper()
	return b.worker("ecs", append([]func(*workerOptions){func(o *workerOptions) {
		o.Env["AWS_ENDPOINT_URL"] = cloud.URL
		o.Env["AWS_REGION"], o.Env["AWS_DEFAULT_REGION"] = fakeaws.Region, fakeaws.Region
		o.Env["AWS_ACCESS_KEY_ID"], o.Env["AWS_SECRET_ACCESS_KEY"] = "AKIAMACHINE", "machine-secret"
		o.Env["AWS_EC2_METADATA_DISABLED"] = "true"
	}}, change...)...)
}

// withEnv sets an environment variable of the worker.
func withEnv(name, value string) func(*workerOptions) {
	return func(o *workerOptions) { o.Env[name] = value }
}

// withArgs adds flags.
func withArgs(args ...string) func(*workerOptions) {
	return func(o *workerOptions) { o.Args = append(o.Args, args...) }
}

// withName names the worker.
func withName(name string) func(*workerOptions) {
	return func(o *workerOptions) { o.Name = name }
}

type object = map[string]any

// call asks the server, past the relay, and fails the test on any error.
func (b *bench) call(method, path string, body, into any) {
	b.Helper()
	var status int
	var answer []byte
	// The server answers 503 while its SQLite file is busy, and may then not know
	// yet of a CSRF token that it has just given.
	b.until(time.Minute, method+" "+path+" is answered", func() bool {
		status, answer = b.try(method, path, body)
		return status != http.StatusServiceUnavailable && !bytes.Contains(answer, []byte("Invalid CSRF token"))
	})
	if status >= http.StatusBadRequest {
		b.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(answer, into); err != nil {
		b.Fatalf("%s %s: %v in %s", method, path, err, answer)
	}
}

// try asks the server once and returns status and body.
func (b *bench) try(method, path string, body any) (int, []byte) {
	b.Helper()
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			b.Fatal(err)
		}
		reader = bytes.NewReader(data)
	}
	request, err := http.NewRequest(method, b.server.url+"/api"+path, reader)
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if user, password, ok := strings.Cut(b.server.auth, ":"); ok {
		request.SetBasicAuth(user, password)
	}
	if b.server.csrf && method != http.MethodGet {
		var given struct{ Token string }
		b.call("GET", "/csrf-token?client="+b.pool, nil, &given)
		request.Header.Set("Prefect-Csrf-Client", b.pool)
		request.Header.Set("Prefect-Csrf-Token", given.Token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return http.StatusServiceUnavailable, nil // a server that is just starting
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		b.Fatal(err)
	}
	return response.StatusCode, answer
}

// until asks again and again until reached says yes: what is asked lives in
// another process, and gives no other sign.
func (b *bench) until(limit time.Duration, what string, reached func() bool) {
	b.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !reached() {
		select {
		case <-tick.C:
		case <-deadline:
			b.Fatalf("waited %s in vain until %s", limit, what)
		}
	}
}

// hold lets time go by while nothing may happen, and fails if stop says that it
// did: for "it is not called", which only time can show.
func (b *bench) hold(d time.Duration, what string, stop func() bool) {
	b.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(d)
	for {
		if stop() {
			b.Fatalf("it must not be that %s", what)
		}
		select {
		case <-tick.C:
		case <-deadline:
			return
		}
	}
}

// createPool makes the bench's pool. A nil template is an empty one.
func (b *bench) createPool(typ string, template object) object {
	b.Helper()
	body := object{"name": b.pool, "type": typ}
	if template != nil {
		body["base_job_template"] = template
	}
	var pool object
	b.call("POST", "/work_pools/", body, &pool)
	return pool
}

func (b *bench) readPool() object {
	b.Helper()
	var pool object
	b.call("GET", "/work_pools/"+b.pool, nil, &pool)
	return pool
}

func (b *bench) patchPool(change object) {
	b.Helper()
	b.call("PATCH", "/work_pools/"+b.pool, change, nil)
}

// poolExists asks whether the bench's pool is there.
func (b *bench) poolExists() bool {
	b.Helper()
	status, _ := b.try("GET", "/work_pools/"+b.pool, nil)
	return status == http.StatusOK
}

// waitPool waits until the worker has made the bench's pool.
func (b *bench) waitPool() object {
	b.Helper()
	b.until(time.Minute, "the pool exists", b.poolExists)
	return b.readPool()
}

// workers are those the server knows of the pool.
func (b *bench) workers() []object {
	b.Helper()
	var list []object
	b.call("POST", "/work_pools/"+b.pool+"/workers/filter", object{}, &list)
	return list
}

// flowFile writes a Python file with a flow and returns its directory; the
// entrypoint is flow.py:main.
func (b *bench) flowFile(body string) string {
	b.Helper()
	dir := b.TempDir()
	source := "import os, sys, time, signal\nfrom prefect import flow, get_run_logger\n\n@flow\ndef main():\n"
	for line := range strings.Lines(strings.TrimSpace(body)) {
		source += "    " + strings.TrimRight(line, "\n") + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "flow.py"), []byte(source), 0o644); err != nil {
		b.Fatal(err)
	}
	return dir
}

// flow is the id of the bench's flow.
func (b *bench) flow() string {
	b.Helper()
	if b.flowID == "" {
		var flow object
		b.call("POST", "/flows/", object{"name": "flow-" + b.pool}, &flow)
		b.flowID = flow["id"].(string)
	}
	return b.flowID
}

// deployment makes a deployment on the bench's pool and returns its id. fields
// are laid over the request ("job_variables", "path", "entrypoint", "tags", …).
func (b *bench) deployment(fields object) string {
	b.Helper()
	body := object{"name": "deployment-" + uuid.NewString()[:8], "flow_id": b.flow(), "work_pool_name": b.pool}
	maps.Copy(body, fields)
	var made object
	b.call("POST", "/deployments/", body, &made)
	return made["id"].(string)
}

// sourceDeployment is a deployment of a flow whose code is body.
func (b *bench) sourceDeployment(body string, fields object) string {
	b.Helper()
	all := object{"path": b.flowFile(body), "entrypoint": "flow.py:main"}
	maps.Copy(all, fields)
	return b.deployment(all)
}

// run schedules a run of the deployment for now and returns its id. fields are
// laid over the request ("job_variables", "name", "tags", …).
func (b *bench) run(deployment string, fields object) string {
	b.Helper()
	body := object{"state": object{"type": "SCHEDULED", "message": "by the conformance suite"}}
	maps.Copy(body, fields)
	var made object
	b.call("POST", "/deployments/"+deployment+"/create_flow_run", body, &made)
	return made["id"].(string)
}

func (b *bench) readRun(id string) object {
	b.Helper()
	var run object
	b.call("GET", "/flow_runs/"+id, nil, &run)
	return run
}

// state is a state of a run as the server keeps it.
type state struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Name      string    `json:"name"`
	Message   string    `json:"message"`
	Timestamp time.Time `json:"timestamp"`
	Details   object    `json:"state_details"`
}

func (s state) String() string {
	if s.Type == strings.ToUpper(s.Name) {
		return s.Name
	}
	return s.Name + " (" + s.Type + ")"
}

// states is the run's history, oldest first.
func (b *bench) states(run string) []state {
	b.Helper()
	var list []state
	b.call("GET", "/flow_run_states/?flow_run_id="+run, nil, &list)
	slices.SortStableFunc(list, func(x, y state) int { return x.Timestamp.Compare(y.Timestamp) })
	return list
}

// waitState waits until the run's history has a state of this name or type, and
// returns it.
func (b *bench) waitState(run, nameOrType string, limit time.Duration) state {
	b.Helper()
	var found state
	b.until(limit, fmt.Sprintf("run %s is %s", run, nameOrType), func() bool {
		for _, s := range b.states(run) {
			if s.Name == nameOrType || s.Type == nameOrType {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// waitFinal waits until the run has ended.
func (b *bench) waitFinal(run string, limit time.Duration) state {
	b.Helper()
	var last state
	b.until(limit, "run "+run+" has ended", func() bool {
		states := b.states(run)
		last = states[len(states)-1]
		return slices.Contains([]string{"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}, last.Type)
	})
	return last
}

// logLine is a line of a run's log in Prefect.
type logLine struct {
	Name      string    `json:"name"`
	Level     int       `json:"level"`
	Message   string    `json:"message"`
	Timestamp time.Time `json:"timestamp"`
}

// logs is the run's log, oldest line first.
func (b *bench) logs(run string) []logLine {
	b.Helper()
	var list []logLine
	b.call("POST", "/logs/filter", object{"logs": object{"flow_run_id": object{"any_": []string{run}}}, "sort": "TIMESTAMP_ASC", "limit": 200}, &list)
	return list
}

// waitLogLine waits for a line of the run's log that contains text.
func (b *bench) waitLogLine(run, text string, limit time.Duration) logLine {
	b.Helper()
	var found logLine
	b.until(limit, fmt.Sprintf("the log of run %s has %q", run, text), func() bool {
		for _, line := range b.logs(run) {
			if strings.Contains(line.Message, text) {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

// emitted returns the events that the worker (not its flow runs) sent through
// the relay so far, each once, with this name or, if it ends in a dot, prefix.
func (b *bench) emitted(name string) []object {
	b.Helper()
	var out []object
	seen := map[string]bool{}
	for _, socket := range b.relay.Sockets("/events/in") {
		for _, frame := range socket.Frames() {
			var event object
			if !frame.FromClient || json.Unmarshal([]byte(frame.Data), &event) != nil {
				continue
			}
			got, _ := event["event"].(string)
			id, _ := event["id"].(string)
			if seen[id] || got != name && (!strings.HasSuffix(name, ".") || !strings.HasPrefix(got, name)) {
				continue
			}
			seen[id] = true
			out = append(out, event)
		}
	}
	return out
}

// waitEmitted waits for such an event.
func (b *bench) waitEmitted(name string, limit time.Duration) object {
	b.Helper()
	var found []object
	b.until(limit, "the worker has sent "+name, func() bool {
		found = b.emitted(name)
		return len(found) > 0
	})
	return found[0]
}

// channels are the worker channels that were opened or tried.
func (b *bench) channels() []*relay.Socket { return b.relay.Sockets("/workers/connect") }

// channelFrames are the frames of one type on a worker channel.
func channelFrames(s *relay.Socket, typ string) []object {
	var out []object
	for _, frame := range s.Frames() {
		var f object
		if json.Unmarshal([]byte(frame.Data), &f) == nil && f["type"] == typ {
			f["_at"] = frame.At
			out = append(out, f)
		}
	}
	return out
}

// waitReady waits until the newest worker channel has the server's ready frame.
func (b *bench) waitReady() *relay.Socket {
	b.Helper()
	var ready *relay.Socket
	b.until(time.Minute, "a worker channel is ready", func() bool {
		channels := b.channels()
		if len(channels) == 0 {
			return false
		}
		ready = channels[len(channels)-1]
		return len(channelFrames(ready, "worker.ready.v1")) > 0
	})
	return ready
}

// dig reads a value below nested objects and lists: dig(x, "payload", "list", 0).
func dig(value any, path ...any) any {
	for _, step := range path {
		switch at := step.(type) {
		case string:
			m, _ := value.(map[string]any)
			value = m[at]
		case int:
			list, _ := value.([]any)
			if at >= len(list) {
				return nil
			}
			value = list[at]
		}
	}
	return value
}
