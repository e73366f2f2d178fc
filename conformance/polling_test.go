//go:build conformance

package conformance

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
	"faber/internal/fake/relay"
)

// polls are the worker's polls so far.
func (b *bench) polls() []relay.Exchange {
	return b.relay.Exchanges(relay.Calls("POST", "/get_scheduled_flow_runs"))
}

// waitPolls waits until there are n more polls than now.
func (b *bench) waitPolls(n int, limit time.Duration) {
	b.Helper()
	before := len(b.polls())
	b.until(limit, "there were more polls", func() bool { return len(b.polls()) >= before+n })
}

// taskOf waits until the run has a task, and returns it.
func (b *bench) taskOf(cloud *fakeaws.Server, run string) *fakeaws.Task {
	b.Helper()
	cloud.Wait(b, 30*time.Second, "run "+run+" has a task", func() bool { return cloud.TaskOf(run) != nil })
	return cloud.TaskOf(run)
}

// flowSays sets a state in the name of the flow, which a fake task does not run.
func (b *bench) flowSays(run, typ string) {
	b.Helper()
	b.call("POST", "/flow_runs/"+run+"/set_state", object{"state": object{"type": typ}, "force": true}, nil)
}

func Test038PollGaps(t *testing.T) {
	b := newBench(t, "38", "by default the gaps between polls are within 7.5 and 13 s, and 10 s on average")
	b.createPool("process", nil)
	b.worker("process", withEnv("PREFECT_WORKER_QUERY_SECONDS", "-"))
	const gaps = 6
	b.until(2*time.Minute, "there were 7 polls", func() bool { return len(b.polls()) > gaps })
	polls := b.polls()
	var seen []string
	for i := range gaps {
		gap := polls[i+1].At.Sub(polls[i].At)
		seen = append(seen, gap.Round(100*time.Millisecond).String())
		// A busy machine has its share in a gap, the call itself has not.
		if gap < 7500*time.Millisecond || gap-polls[i].Took > 16*time.Second {
			t.Errorf("gap %d is %s", i, gap)
		}
	}
	mean := polls[gaps].At.Sub(polls[0].At) / gaps
	if mean < 8*time.Second || mean > 13*time.Second {
		t.Errorf("the mean of the gaps is %s", mean)
	}
	b.saw("gaps %s, mean %s", strings.Join(seen, " "), mean.Round(100*time.Millisecond))
}

func Test039PollBody(t *testing.T) {
	b := newBench(t, "39", "a poll names the queues and asks for what is due in 10 s, or in --prefetch-seconds")
	b.createPool("process", nil)
	for _, queue := range []string{"qa", "qb"} {
		b.call("POST", "/work_pools/"+b.pool+"/queues/", object{"name": queue}, nil)
	}
	b.worker("process")
	b.until(time.Minute, "the first worker polls", func() bool { return len(b.polls()) > 0 })
	first := readPoll(b, b.polls()[0])
	if first.ahead > 10100*time.Millisecond || first.ahead < 7*time.Second {
		t.Errorf("it asks for what is due in %s", first.ahead)
	}
	if len(first.queues) != 0 {
		t.Errorf("it names queues %v", first.queues)
	}
	b.worker("process", withArgs("-q", "qb", "-q", "qa", "--prefetch-seconds", "60"))
	var second poll
	b.until(time.Minute, "the second worker polls", func() bool {
		return slices.ContainsFunc(b.polls(), func(x relay.Exchange) bool {
			second = readPoll(b, x)
			return len(second.queues) > 0
		})
	})
	if !slices.Equal(second.queues, []string{"qa", "qb"}) {
		t.Errorf("it names queues %v", second.queues)
	}
	if second.ahead > 60100*time.Millisecond || second.ahead < 57*time.Second {
		t.Errorf("with --prefetch-seconds 60 it asks for what is due in %s", second.ahead)
	}
	b.saw("default: queues %v, due in %s", first.queues, first.ahead.Round(100*time.Millisecond))
	b.saw("-q qb -q qa --prefetch-seconds 60: queues %v, due in %s", second.queues, second.ahead.Round(100*time.Millisecond))
}

// poll is what a poll asks for.
type poll struct {
	queues []string      // sorted
	ahead  time.Duration // how far scheduled_before lies after the call
}

func readPoll(b *bench, x relay.Exchange) poll {
	b.Helper()
	var body struct {
		Queues *[]string `json:"work_queue_names"`
		Before string    `json:"scheduled_before"`
	}
	if err := json.Unmarshal(x.Body, &body); err != nil {
		b.Fatalf("poll %s: %v", x.Body, err)
	}
	before, err := time.Parse(time.RFC3339Nano, strings.Replace(body.Before, " ", "T", 1))
	if err != nil || body.Queues == nil {
		b.Fatalf("poll %s: %v", x.Body, err)
	}
	slices.Sort(*body.Queues)
	return poll{*body.Queues, before.Sub(x.At)}
}

func Test041TwoWorkersOneRun(t *testing.T) {
	b := newBench(t, "41", "two workers are given one run: exactly one submits it, the other logs the abort")
	cloud := fakeaws.New(t)
	b.createPool("ecs", nil)
	// Both have the run in hand before either may claim it.
	var arrived atomic.Int32
	both := make(chan struct{})
	b.relay.Intercept(func(r *http.Request, _ []byte) *relay.Answer {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/deployments/") {
			return nil
		}
		if arrived.Add(1) == 2 {
			close(both)
		}
		select {
		case <-both:
		case <-r.Context().Done():
		}
		return nil
	})
	first, second := b.ecsWorker(cloud), b.ecsWorker(cloud)
	first.waitStarted()
	second.waitStarted()
	run := b.run(b.deployment(nil), nil)
	b.taskOf(cloud, run)
	line := "Aborted submission of flow run '" + run + "'. Server sent an abort signal: "
	aborts := func() int { return strings.Count(first.log(), line) + strings.Count(second.log(), line) }
	b.until(30*time.Second, "one of them logs the abort", func() bool { return aborts() > 0 })
	b.waitPolls(4, 30*time.Second)
	if n := aborts(); n != 1 || len(cloud.Tasks()) != 1 {
		t.Errorf("%d aborts, %d tasks", n, len(cloud.Tasks()))
	}
	proposals := setStates(b, run, "Pending")
	statuses := []string{proposals[0].status, proposals[1].status}
	slices.Sort(statuses)
	if len(proposals) != 2 || !slices.Equal(statuses, []string{"ABORT", "ACCEPT"}) {
		t.Errorf("Pending was proposed %d times: %v", len(proposals), statuses)
	}
	b.saw("2 proposals of Pending: %s; 1 task; 1 abort logged", strings.Join(statuses, " and "))
}

// proposed is a state that the worker proposed.
type proposed struct {
	relay.Exchange
	name       string
	typ        string
	message    string
	transition string
	status     string // of the answer
}

// setStates are the worker's proposals of states of this name for the run; ""
// is any name.
func setStates(b *bench, run, name string) []proposed {
	b.Helper()
	var out []proposed
	for _, x := range b.relay.Exchanges(relay.Calls("POST", "/flow_runs/"+run+"/set_state")) {
		var body struct {
			State struct {
				Name, Type, Message string
				Details             struct {
					Transition string `json:"transition_id"`
				} `json:"state_details"`
			}
		}
		var answer struct{ Status string }
		if err := json.Unmarshal(x.Body, &body); err != nil {
			b.Fatalf("set_state %s: %v", x.Body, err)
		}
		_ = json.Unmarshal(x.Answer, &answer) // none yet, or not JSON: no status
		if name == "" || body.State.Name == name {
			out = append(out, proposed{x, body.State.Name, body.State.Type, body.State.Message, body.State.Details.Transition, answer.Status})
		}
	}
	return out
}

func Test042LimitProcess(t *testing.T) {
	b := newBench(t, "42", "--limit 1, process: the second run starts only after the first one's child has ended")
	b.createPool("process", nil)
	diary := filepath.Join(t.TempDir(), "diary")
	w := b.worker("process", withArgs("--limit", "1"))
	w.waitStarted()
	deployment := b.deployment(object{"job_variables": object{
		"command": `sh -c 'echo start $PREFECT__FLOW_RUN_ID >> ` + diary + `; sleep 4; echo end $PREFECT__FLOW_RUN_ID >> ` + diary + `'`,
	}})
	for range 2 {
		b.run(deployment, nil)
	}
	var lines, order []string
	b.until(time.Minute, "both children have ended", func() bool {
		text, _ := os.ReadFile(diary)
		lines = strings.Split(strings.TrimSpace(string(text)), "\n")
		if run, ok := strings.CutPrefix(lines[len(lines)-1], "start "); ok && !slices.Contains(order, run) {
			b.flowSays(run, "COMPLETED")
			order = append(order, run)
		}
		return len(lines) == 4
	})
	if len(order) != 2 {
		t.Fatalf("the children wrote %q", lines)
	}
	want := []string{"start " + order[0], "end " + order[0], "start " + order[1], "end " + order[1]}
	if !slices.Equal(lines, want) {
		t.Errorf("the children wrote %q", lines)
	}
	second := setStates(b, order[1], "Pending")
	gap := second[0].At.Sub(setStates(b, order[0], "Pending")[0].At)
	if len(second) != 1 || gap < 4*time.Second {
		t.Errorf("the second run was claimed %d times, first %s after the first run", len(second), gap)
	}
	b.saw("start, end, start, end; the second run was claimed %s after the first, whose child took 4s", gap.Round(100*time.Millisecond))
}

func Test043LimitECS(t *testing.T) {
	b := newBench(t, "43", "--limit 1, ecs: two runs due together are launched one after the other")
	b.differs()
	if suite.worker == python {
		b.bothLaunched(fakeaws.New(t), "--limit", "1")
		return
	}
	// The slot is for as long as the task lives, unless the worker is told to count as Prefect's.
	b.anotherPool().bothLaunched(fakeaws.New(t), "--limit", "1", "--limit-counts", "launches")
	cloud := fakeaws.New(t)
	runs := b.twoRuns(cloud, "--limit", "1")
	first := cloud.WaitTasks(t, 30*time.Second, 1)[0]
	b.hold(5*time.Second, "the second run is launched while the first one's task lives", func() bool { return len(cloud.Tasks()) > 1 })
	b.flowSays(first.FlowRunID(), "COMPLETED")
	stopped := time.Now()
	first.Set("STOPPED", fakeaws.Exit(0))
	tasks := cloud.WaitTasks(t, 40*time.Second, 2)
	if got := []string{tasks[0].FlowRunID(), tasks[1].FlowRunID()}; !slices.Contains(got, runs[0]) || !slices.Contains(got, runs[1]) {
		t.Errorf("the tasks are of runs %v", got)
	}
	b.saw("by default 1 task for 5s, the second one %s after the first had ended", cloud.Calls("RunTask")[1].At.Sub(stopped).Round(100*time.Millisecond))
}

// twoRuns starts a worker with these flags and schedules two runs for it.
func (b *bench) twoRuns(cloud *fakeaws.Server, args ...string) []string {
	b.Helper()
	b.createPool("ecs", nil)
	b.ecsWorker(cloud, withArgs(args...)).waitStarted()
	deployment := b.deployment(nil)
	return []string{b.run(deployment, nil), b.run(deployment, nil)}
}

// bothLaunched is for a limit that counts submissions: both runs get a task
// although neither task ends.
func (b *bench) bothLaunched(cloud *fakeaws.Server, args ...string) {
	b.Helper()
	b.twoRuns(cloud, args...)
	tasks := cloud.WaitTasks(b, 30*time.Second, 2)
	if tasks[0].FlowRunID() == tasks[1].FlowRunID() {
		b.Error("both tasks are of one run")
	}
	calls := cloud.Calls("RunTask")
	b.saw("%s: 2 tasks, %s apart, neither has ended", strings.Join(args, " "), calls[1].At.Sub(calls[0].At).Round(100*time.Millisecond))
}

func Test044DeploymentLimit(t *testing.T) {
	b := newBench(t, "44", "deployment concurrency limit 1: the second run waits as AwaitingConcurrencySlot and is run later")
	cloud := fakeaws.New(t)
	b.createPool("ecs", nil)
	// The server has the run wait for 30 s; a worker that looks ahead sees it sooner.
	w := b.ecsWorker(cloud, withArgs("--prefetch-seconds", "25"))
	w.waitStarted()
	deployment := b.deployment(object{"concurrency_limit": 1})
	first := b.run(deployment, nil)
	b.taskOf(cloud, first)
	b.flowSays(first, "RUNNING")
	second := b.run(deployment, nil)
	waiting := b.waitState(second, "AwaitingConcurrencySlot", 30*time.Second)
	if cloud.TaskOf(second) != nil {
		t.Error("the second run was launched all the same")
	}
	var refused proposed
	b.until(10*time.Second, "the proposal of Pending is answered", func() bool {
		refused = setStates(b, second, "Pending")[0]
		return refused.status != ""
	})
	if refused.status != "REJECT" {
		t.Errorf("the proposal of Pending was answered with %s", refused.status)
	}
	b.flowSays(first, "COMPLETED")
	b.taskOf(cloud, second)
	if n := len(cloud.Tasks()); n != 2 {
		t.Errorf("%d tasks", n)
	}
	b.saw("first proposal: %s, %s; launched %s later, once the first run was Completed", refused.status, waiting,
		time.Since(waiting.Timestamp).Round(time.Second))
}

func Test045QueueAndPoolLimit(t *testing.T) {
	b := newBench(t, "45", "queue limit 1 and pool limit 1 are respected, by the server alone")
	cloud := fakeaws.New(t)
	b.createPool("ecs", nil)
	b.call("PATCH", "/work_pools/"+b.pool+"/queues/default", object{"concurrency_limit": 1}, nil)
	w := b.ecsWorker(cloud)
	w.waitStarted()
	deployment := b.deployment(nil)
	for range 3 {
		b.run(deployment, nil)
	}
	expect := func(n int, what string) {
		t.Helper()
		tasks := cloud.WaitTasks(t, 30*time.Second, n)
		b.waitPolls(3, 30*time.Second)
		if now := len(cloud.Tasks()); now != n {
			t.Fatalf("%s: %d tasks, not %d", what, now, n)
		}
		b.saw("%s: task %d alone for 3 polls", what, n)
		b.flowSays(tasks[n-1].FlowRunID(), "COMPLETED")
	}
	expect(1, "queue limit")
	// The one before the other goes: there is always a limit.
	b.patchPool(object{"concurrency_limit": 1})
	b.call("PATCH", "/work_pools/"+b.pool+"/queues/default", object{"concurrency_limit": nil}, nil)
	expect(2, "pool limit")
	expect(3, "pool limit")
}

func Test046DeploymentDeleted(t *testing.T) {
	b := newBench(t, "46", "the deployment of a scheduled run is deleted: the run is Cancelled with that text")
	b.createPool("process", nil)
	deployment := b.deployment(nil)
	// Runs in this state outlive their deployment at the server; others go with it.
	run := b.run(deployment, object{"state": object{"type": "SCHEDULED", "name": "AwaitingConcurrencySlot"}})
	b.call("DELETE", "/deployments/"+deployment, nil, nil)
	w := b.worker("process")
	cancelled := b.waitState(run, "CANCELLED", time.Minute)
	if want := "Deployment " + deployment + " no longer exists, cancelled run."; cancelled.Message != want {
		t.Errorf("the message is %q", cancelled.Message)
	}
	if pending := setStates(b, run, "Pending"); len(pending) > 0 || !w.alive() {
		t.Errorf("it was claimed %d times; worker alive: %t", len(pending), w.alive())
	}
	b.saw("%s %q, never Pending; worker alive", cancelled, strings.Replace(cancelled.Message, deployment, "<id>", 1))
}
