//go:build conformance

package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
	"faber/internal/fake/relay"
)

func Test040StateHistory(t *testing.T) {
	b := newBench(t, "40", "a run goes Scheduled, Pending, Submitting (Pending), Running, Completed")
	b.createPool("process", nil)
	w := b.worker("process")
	w.waitStarted()
	run := b.run(b.sourceDeployment(`return 1`, nil), nil)
	b.waitFinal(run, time.Minute)
	var got []string
	for _, s := range b.states(run) {
		got = append(got, s.String())
	}
	if want := []string{"Scheduled", "Pending", "Submitting (PENDING)", "Running", "Completed"}; !slices.Equal(got, want) {
		t.Errorf("the history is %q", got)
	}
	b.saw("%s", strings.Join(got, ", "))
}

func Test047RunLabels(t *testing.T) {
	b := newBench(t, "47", "the run's labels name worker, worker type, work pool and its id")
	cloud := fakeaws.New(t)
	pool := b.createPool("ecs", nil)
	b.ecsWorker(cloud, withName("labeller")).waitStarted()
	run := b.run(b.deployment(nil), nil)
	b.taskOf(cloud, run)
	labels := b.readRun(run)["labels"]
	want := object{
		"prefect.worker.name": "labeller", "prefect.worker.type": "ecs",
		"prefect.work-pool.name": b.pool, "prefect.work-pool.id": pool["id"],
	}
	for name, want := range want {
		if got := dig(labels, name); got != want {
			t.Errorf("label %s is %v, not %v", name, got, want)
		}
	}
	b.saw("prefect.worker.name=%v prefect.worker.type=%v, and the pool's name and id", dig(labels, "prefect.worker.name"), dig(labels, "prefect.worker.type"))
}

func Test048InfrastructurePID(t *testing.T) {
	b := newBench(t, "48", "infrastructure_pid is the child's pid, or cluster::task ARN")
	cloud := fakeaws.New(t)
	b.createPool("ecs", nil)
	b.ecsWorker(cloud).waitStarted()
	run := b.run(b.deployment(nil), nil)
	task := b.taskOf(cloud, run)
	if got, want := b.waitPID(run), task.Cluster+"::"+task.ARN; got != want {
		t.Errorf("ecs: the pid is %q, not %q", got, want)
	}
	b.saw("ecs: cluster ARN::task ARN")

	child := b.anotherPool()
	child.createPool("process", nil)
	child.worker("process").waitStarted()
	note := filepath.Join(t.TempDir(), "pid")
	run = child.run(child.deployment(object{"job_variables": object{"command": `sh -c 'echo $$ > ` + note + `; sleep 60'`}}), nil)
	pid := child.waitPID(run)
	b.until(10*time.Second, "the child has noted its pid", func() bool {
		text, _ := os.ReadFile(note)
		return strings.TrimSpace(string(text)) != ""
	})
	if own, _ := os.ReadFile(note); strings.TrimSpace(string(own)) != pid {
		t.Errorf("process: the pid is %q, the child's own is %s", pid, own)
	}
	b.saw("process: %s, as the child says", pid)
}

// waitPID waits until the run has an infrastructure_pid.
func (b *bench) waitPID(run string) string {
	b.Helper()
	var pid string
	b.until(30*time.Second, "run "+run+" has an infrastructure_pid", func() bool {
		pid, _ = b.readRun(run)["infrastructure_pid"].(string)
		return pid != ""
	})
	return pid
}

// anotherPool is the bench with a pool of its own, for a second worker.
func (b *bench) anotherPool() *bench {
	other := *b
	other.pool, other.flowID = b.pool+"-2", ""
	return &other
}

func Test049RunLog(t *testing.T) {
	b := newBench(t, "49", "the worker's lines are in the run's log, in order, within 4 s, by prefect.flow_runs.worker")
	cloud := fakeaws.New(t)
	b.createPool("ecs", nil)
	b.ecsWorker(cloud, withName("scribe")).waitStarted()
	run := b.run(b.deployment(nil), object{"name": "noted"})
	b.waitLogLine(run, "submitted to infrastructure", 30*time.Second)
	want := []string{
		"Worker 'scribe' submitting flow run '" + run + "'",
		"Flow run 'noted' submitted to infrastructure",
	}
	var got []string
	for _, line := range b.logs(run) {
		if slices.Contains(want, line.Message) {
			got = append(got, line.Message)
			if line.Name != "prefect.flow_runs.worker" || line.Level != 20 {
				t.Errorf("%q is by %s at level %d", line.Message, line.Name, line.Level)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log has %q", got)
	}
	late := b.logDelay(run)
	if late > 6*time.Second { // 4 s, and a busy machine's share
		t.Errorf("a line was sent %s after it was written", late)
	}
	b.saw("both lines, in order, INFO, by prefect.flow_runs.worker; sent at most %s after they were written", late.Round(100*time.Millisecond))
}

// logDelay is the longest time between a line of the run and its being sent.
func (b *bench) logDelay(run string) time.Duration {
	b.Helper()
	var longest time.Duration
	for _, x := range b.relay.Exchanges(relay.Calls("POST", "/logs/")) {
		var lines []struct {
			Run       string    `json:"flow_run_id"`
			Timestamp time.Time `json:"timestamp"`
		}
		if err := json.Unmarshal(x.Body, &lines); err != nil {
			b.Fatalf("logs %s: %v", x.Body, err)
		}
		for _, line := range lines {
			if line.Run == run {
				longest = max(longest, x.At.Sub(line.Timestamp))
			}
		}
	}
	return longest
}

func Test050LogsRefused(t *testing.T) {
	b := newBench(t, "50", "/logs/ fails: runs are not affected")
	cloud := fakeaws.New(t)
	b.createPool("ecs", nil)
	b.relay.InterceptWorker("POST", "/logs/", -1, relay.Answer{Status: 500, Body: `{"detail":"out of paper"}`})
	w := b.ecsWorker(cloud)
	w.waitStarted()
	deployment := b.deployment(nil)
	refused := func() int { return len(b.relay.Exchanges(relay.Calls("POST", "/logs/"))) }
	for n := range 2 {
		run := b.run(deployment, nil)
		b.taskOf(cloud, run)
		b.waitPID(run)
		b.until(30*time.Second, "the lines of the run were refused", func() bool { return refused() > n })
		if states := b.states(run); states[len(states)-1].Name != "Submitting" {
			t.Errorf("run %d is %s", n+1, states[len(states)-1])
		}
	}
	if !w.alive() {
		t.Error("the worker ended")
	}
	b.saw("%d calls of /logs/ refused with 500; 2 runs launched, pids stored, worker alive", refused())
}

// setStateAnswer is the server's word on a proposal.
func setStateAnswer(status string, details, state object) relay.Answer {
	body, err := json.Marshal(object{"status": status, "details": details, "state": state})
	if err != nil {
		panic(err) // of maps of strings
	}
	return relay.Answer{Status: http.StatusOK, Body: string(body)}
}

func Test054ProposalAnswers(t *testing.T) {
	b := newBench(t, "54", "Pending answered WAIT 2 s: sent again after 2 s; ABORT, REJECT: dropped; the slot is free each time")
	cloud := fakeaws.New(t)
	b.createPool("ecs", nil)
	w := b.ecsWorker(cloud, withArgs("--limit", "1"))
	w.waitStarted()
	deployment := b.deployment(nil)
	// A run that is dropped stays scheduled at the server, and comes again.
	drop := func(answer relay.Answer, line string) {
		run, stop := b.spoiltRun(deployment, -1, answer)
		b.until(30*time.Second, "the run was proposed twice", func() bool { return len(setStates(b, run, "Pending")) >= 2 })
		w.waitLog(10*time.Second, strings.Replace(line, "<id>", run, 1))
		b.call("DELETE", "/flow_runs/"+run, nil, nil)
		stop()
		if cloud.TaskOf(run) != nil {
			t.Errorf("it was launched in spite of %s", answer.Body)
		}
	}
	drop(setStateAnswer("ABORT", object{"type": "abort_details", "reason": "not you"}, nil),
		`Aborted submission of flow run '<id>'\. Server sent an abort signal: not you`)
	drop(setStateAnswer("REJECT", object{"type": "reject_details", "reason": "later"}, object{"type": "SCHEDULED", "name": "AwaitingConcurrencySlot"}),
		`Aborted submission of flow run '<id>': Server returned a non-pending state 'SCHEDULED'`)
	run, _ := b.spoiltRun(deployment, 1, setStateAnswer("WAIT", object{"type": "wait_details", "delay_seconds": 2, "reason": "hold on"}, nil))
	b.taskOf(cloud, run)
	proposals := setStates(b, run, "Pending")
	if len(proposals) != 2 || proposals[0].status != "WAIT" || proposals[1].status != "ACCEPT" {
		t.Fatalf("after WAIT Pending was proposed %d times", len(proposals)-1)
	}
	gap := proposals[1].At.Sub(proposals[0].At)
	if gap < 2*time.Second || gap > 6*time.Second {
		t.Errorf("after WAIT it was sent again %s later", gap)
	}
	b.saw("with --limit 1: ABORT and REJECT each dropped, polled and proposed again; WAIT 2 s: sent again after %s and launched", gap.Round(10*time.Millisecond))
}

// spoiltRun schedules a run whose proposals of Pending are answered by the relay,
// so many times (-1: always), until stop is called.
func (b *bench) spoiltRun(deployment string, times int, answer relay.Answer) (run string, stop func()) {
	b.Helper()
	id := make(chan string, 1)
	given := 0
	stop = b.relay.Intercept(func(r *http.Request, body []byte) *relay.Answer {
		if !strings.HasSuffix(r.URL.Path, "/set_state") || !strings.Contains(string(body), `"Pending"`) {
			return nil
		}
		known := <-id
		defer func() { id <- known }()
		if !strings.Contains(r.URL.Path, known) || times >= 0 && given >= times {
			return nil
		}
		given++
		return &answer
	})
	run = b.run(deployment, nil)
	id <- run
	return run, stop
}

func Test055LabelsRefused(t *testing.T) {
	b := newBench(t, "55", "the labels cannot be stored (500): Crashed, Failed to submit flow run to infrastructure")
	cloud := fakeaws.New(t)
	b.createPool("ecs", nil)
	w := b.ecsWorker(cloud)
	w.waitStarted()
	stop := b.relay.InterceptWorker("PATCH", "/labels", -1, relay.Answer{Status: 500, Body: `{"detail":"no"}`})
	deployment := b.deployment(nil)
	run := b.run(deployment, nil)
	crashed := b.waitState(run, "CRASHED", time.Minute)
	if !strings.HasPrefix(crashed.Message, "Failed to submit flow run to infrastructure: ") {
		t.Errorf("the message is %q", crashed.Message)
	}
	if cloud.TaskOf(run) != nil {
		t.Error("it was launched")
	}
	stop()
	b.taskOf(cloud, b.run(deployment, nil))
	b.saw("%s %q, not launched; the next run is", crashed, cut(crashed.Message, 90))
}

func Test056PIDRefused(t *testing.T) {
	b := newBench(t, "56", "infrastructure_pid cannot be stored: logged, the run goes on")
	b.createPool("process", nil)
	b.relay.Intercept(func(r *http.Request, body []byte) *relay.Answer {
		if r.Method == http.MethodPatch && strings.Contains(string(body), `"infrastructure_pid"`) {
			return &relay.Answer{Status: 500, Body: `{"detail":"no"}`}
		}
		return nil
	})
	w := b.worker("process")
	w.waitStarted()
	run := b.run(b.sourceDeployment(`return 1`, nil), nil)
	line := b.waitLogLine(run, "An error occurred while setting the `infrastructure_pid` on flow run", time.Minute)
	final := b.waitFinal(run, time.Minute)
	if final.Type != "COMPLETED" || line.Level != 40 {
		t.Errorf("the run ended %s; the line's level is %d", final, line.Level)
	}
	if pid := b.readRun(run)["infrastructure_pid"]; pid != nil {
		t.Errorf("a pid was stored: %v", pid)
	}
	b.saw("the run's log has it as an error; the run is %s without a pid", final)
}

func Test057TransitionIDs(t *testing.T) {
	b := newBench(t, "57", "each set_state has a fresh transition_id; an HTTP retry keeps it")
	cloud := fakeaws.New(t)
	b.createPool("ecs", nil)
	b.relay.InterceptWorker("POST", "/set_state", 1, relay.Answer{Status: 503, Body: `{}`})
	b.ecsWorker(cloud).waitStarted()
	run := b.run(b.deployment(nil), nil)
	b.taskOf(cloud, run)
	var all []string
	distinct := map[string]bool{}
	for _, p := range setStates(b, run, "") {
		all = append(all, fmt.Sprintf("%s %d", p.name, p.Status))
		distinct[p.transition] = true
	}
	if want := []string{"Pending 503", "Pending 201", "Submitting 201"}; !slices.Equal(all, want) {
		t.Fatalf("the proposals were %q", all)
	}
	p := setStates(b, run, "")
	if p[0].transition != p[1].transition || p[2].transition == p[0].transition || distinct[""] {
		t.Errorf("the transition ids are %s, %s, %s", p[0].transition, p[1].transition, p[2].transition)
	}
	if string(p[0].Body) != string(p[1].Body) {
		t.Errorf("the retry has another body: %s, then %s", p[0].Body, p[1].Body)
	}
	b.saw("%s: ids %.8s, %.8s, %.8s", strings.Join(all, ", "), p[0].transition, p[1].transition, p[2].transition)
}
