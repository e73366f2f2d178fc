//go:build conformance

package conformance

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/relay"
)

// quickDeployment is a deployment whose runs end in a moment, without an engine: what
// matters here is whether they are started, and how often.
func (b *bench) quickDeployment() string {
	b.Helper()
	return b.deployment(object{"job_variables": object{"command": "true"}})
}

// waitExecuted waits until a worker has sent that it executed the run.
func (b *bench) waitExecuted(run string, limit time.Duration) {
	b.Helper()
	b.until(limit, "run "+run+" was executed", func() bool { return b.executions(run) > 0 })
}

// executions counts the executed events that name the run.
func (b *bench) executions(run string) int {
	b.Helper()
	count := 0
	for _, event := range b.emitted("prefect.worker.executed-flow-run") {
		related, _ := event["related"].([]any)
		if slices.ContainsFunc(related, func(r any) bool { return dig(r, "prefect.resource.id") == "prefect.flow-run."+run }) {
			count++
		}
	}
	return count
}

func TestL1SameNameTwice(t *testing.T) {
	b := newBench(t, "L1", "two workers of the same name: one line at the server, each run executed once, both live on")
	b.createPool("process", nil)
	first := b.worker("process", withName("twin"))
	first.waitStarted()
	second := b.worker("process", withName("twin"))
	second.waitStarted()
	deployment := b.quickDeployment()
	var runs []string
	for range 4 {
		runs = append(runs, b.run(deployment, nil))
	}
	for _, run := range runs {
		b.waitExecuted(run, 30*time.Second)
		pending := 0
		for _, s := range b.states(run) {
			if s.Name == "Pending" {
				pending++
			}
		}
		if n := b.executions(run); n != 1 || pending != 1 {
			t.Errorf("run %s was executed %d times and pending %d times", run, n, pending)
		}
	}
	workers := b.workers()
	if len(workers) != 1 || workers[0]["name"] != "twin" || workers[0]["status"] != "ONLINE" {
		t.Errorf("the server lists %v", workers)
	}
	if !first.alive() || !second.alive() {
		t.Error("a worker ended")
	}
	b.saw("4 runs, each claimed and executed once; the server lists 1 worker twin ONLINE; both processes alive")
}

func TestL2PausedAndResumed(t *testing.T) {
	b := newBench(t, "L2", "a pool that is paused while the worker runs gives no runs until it is resumed; same process")
	b.createPool("process", nil)
	w := b.worker("process")
	w.waitStarted()
	deployment := b.quickDeployment()
	b.waitExecuted(b.run(deployment, nil), 30*time.Second)
	b.patchPool(object{"is_paused": true})
	held := b.run(deployment, nil)
	b.hold(5*time.Second, "a run of a paused pool is started", func() bool { return len(b.states(held)) > 1 })
	b.patchPool(object{"is_paused": false})
	resumed := time.Now()
	b.waitExecuted(held, 30*time.Second)
	if !w.alive() {
		t.Error("the worker ended")
	}
	b.saw("paused 5 s: run stays Scheduled; executed %.0f s after resume; same process", time.Since(resumed).Seconds())
}

func TestL3EditedWhileRunning(t *testing.T) {
	b := newBench(t, "L3", "a pool that is edited while the worker runs: the next run has the new template; same process")
	pool := b.createPool("process", nil)
	w := b.worker("process")
	w.waitStarted()
	b.until(20*time.Second, "the pool has a template", func() bool {
		pool = b.readPool()
		return dig(pool, "base_job_template", "job_configuration") != nil
	})
	deployment := b.deployment(nil)
	template := pool["base_job_template"].(object)
	template["job_configuration"].(object)["command"] = "echo edited-template-at-work"
	b.patchPool(object{"base_job_template": template})
	b.run(deployment, nil)
	w.waitLog(30*time.Second, "edited-template-at-work")
	if !w.alive() {
		t.Error("the worker ended")
	}
	b.saw("the run after the edit printed the new command's text; same process")
}

func TestL4DeletedWhileRunning(t *testing.T) {
	b := newBench(t, "L4", "a pool that is deleted while the worker runs: the worker lives on, and serves the pool when it is there again")
	b.createPool("process", nil)
	w := b.worker("process", withEnv("PREFECT_WORKER_HEARTBEAT_SECONDS", "2"))
	w.waitStarted()
	b.waitExecuted(b.run(b.quickDeployment(), nil), 30*time.Second)
	old := b.readPool()["id"]
	b.call("DELETE", "/work_pools/"+b.pool, nil, nil)
	// Who makes the pool again is not the same for both: it is there in the end.
	deleted := time.Now()
	again := false
	for !again && time.Since(deleted) < 15*time.Second {
		if again = b.poolExists(); !again {
			<-time.After(200 * time.Millisecond)
		}
	}
	byWorker := again
	if !again {
		b.createPool("process", nil)
	}
	if b.readPool()["id"] == old {
		t.Fatal("the pool was never deleted")
	}
	deployment := b.quickDeployment()
	b.waitExecuted(b.run(deployment, nil), 90*time.Second)
	if !w.alive() {
		t.Error("the worker ended")
	}
	b.saw("made again by the worker: %t, %.0f s after; a run of the new pool was executed; same process", byWorker, time.Since(deleted).Seconds())
}

func TestL5ServerRestarts(t *testing.T) {
	b := newBenchOn(t, "L5", "a server that restarts: the worker lives on, is online again, and starts what was scheduled", func(t *testing.T) *server { return ownServer(t) })
	b.createPool("process", nil)
	w := b.worker("process", withEnv("PREFECT_WORKER_HEARTBEAT_SECONDS", "3"))
	w.waitStarted()
	deployment := b.quickDeployment()
	b.waitExecuted(b.run(deployment, nil), 30*time.Second)
	channels := len(b.channels())
	b.server.stop()
	b.hold(4*time.Second, "the worker ends", func() bool { return !w.alive() })
	if err := b.server.start(); err != nil {
		t.Fatal(err)
	}
	up := time.Now()
	b.waitExecuted(b.run(deployment, nil), 2*time.Minute)
	b.until(time.Minute, "the worker is online again", func() bool {
		workers := b.workers()
		return len(workers) == 1 && workers[0]["status"] == "ONLINE"
	})
	if !w.alive() {
		t.Error("the worker ended")
	}
	b.saw("run executed %.0f s after the server was back; %d channels before, %d after; same process", time.Since(up).Seconds(), channels, len(b.channels()))
}

func TestL6DownAtBoot(t *testing.T) {
	b := newBench(t, "L6", "an API that is down when the worker starts: the worker waits, and works once it is up; same process")
	b.createPool("process", nil)
	deployment := b.quickDeployment()
	b.relay.Down()
	w := b.worker("process")
	w.waitLog(time.Minute, "Unable to reach the Prefect API while starting up")
	run := b.run(deployment, nil)
	b.hold(3*time.Second, "the worker ends", func() bool { return !w.alive() })
	b.relay.Up(t)
	up := time.Now()
	b.waitExecuted(run, 90*time.Second)
	if !w.alive() {
		t.Error("the worker ended")
	}
	calls := b.relay.Exchanges(func(x relay.Exchange) bool {
		return strings.HasSuffix(x.Path, "/get_scheduled_flow_runs") && x.Status == http.StatusOK
	})
	b.saw("run executed %.0f s after the API came up, %d polls answered; same process", time.Since(up).Seconds(), len(calls))
}
