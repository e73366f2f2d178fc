//go:build conformance

package conformance

import (
	"strings"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
)

// quickRetries make Python's worker call RunTask again at once.
func quickRetries(o *workerOptions) {
	o.Env["PREFECT_INTEGRATIONS_AWS_ECS_WORKER_CREATE_TASK_RUN_MIN_DELAY_SECONDS"] = "0"
	o.Env["PREFECT_INTEGRATIONS_AWS_ECS_WORKER_CREATE_TASK_RUN_MAX_DELAY_JITTER_SECONDS"] = "1"
}

func Test086UnknownCluster(t *testing.T) {
	e := newECSBench(t, "86", "an unknown cluster: Crashed with Prefect's text; Python's worker calls RunTask 3 times for it, faber once", quickRetries)
	e.differs()
	const text = "RuntimeError: Failed to run ECS task, cluster 'nowhere' not found. Confirm that the cluster is configured in your region."
	said := e.crash(object{"cluster": "nowhere"}, text)
	if !strings.HasPrefix(said, text) {
		t.Errorf("the state says %q", said)
	}
	// An answer that cannot become another one is not asked for again.
	calls, want := len(e.cloud.Calls("RunTask")), map[underTest]int{python: 3, faber: 1}[suite.worker]
	if calls != want {
		t.Errorf("RunTask was called %d times, not %d", calls, want)
	}
	e.saw("%d calls of RunTask; Crashed %q", calls, cut(said, 100))
}

func Test087NoCapacity(t *testing.T) {
	e := newECSBench(t, "87", "failures RESOURCE:MEMORY: Python's worker tries 3 times, then Crashed; faber gives the run back and launches it when there is room", quickRetries)
	e.differs()
	const text = "Failed to run ECS task: RESOURCE:MEMORY"
	refusal := object{"tasks": []any{}, "failures": []object{{"arn": "arn:aws:ecs:::container-instance/x", "reason": "RESOURCE:MEMORY"}}}
	if suite.worker == python {
		e.cloud.Fail("RunTask", fakeaws.Fault{Answer: refusal, Times: -1})
		said := e.crash(nil, "RuntimeError: "+text)
		calls := len(e.cloud.Calls("RunTask"))
		if calls != 3 {
			t.Errorf("RunTask was called %d times", calls)
		}
		e.saw("%d calls of RunTask, then Crashed %q", calls, said)
		return
	}
	e.cloud.Fail("RunTask", fakeaws.Fault{Answer: refusal})
	run := e.run(e.variables(nil), nil)
	back := e.waitState(run, "AwaitingRetry", time.Minute)
	if back.Type != "SCHEDULED" || !strings.HasPrefix(back.Message, "waiting for capacity: "+text) {
		t.Errorf("the run went back as %s: %q", back, back.Message)
	}
	refused := e.cloud.Calls("RunTask")[0]
	e.taskOf(e.cloud, run)
	launched := e.cloud.Calls("RunTask")[1]
	if launched.Body["clientToken"] == refused.Body["clientToken"] {
		t.Error("the second launch has the token of the first")
	}
	for _, s := range e.states(run) {
		if s.Type == "CRASHED" {
			t.Errorf("it crashed: %s", s.Message)
		}
	}
	e.saw("%s %q; launched %.0f s later, as another claim", back, cut(back.Message, 110), launched.At.Sub(refused.At).Seconds())
}

func Test088ExecutedAtLaunch(t *testing.T) {
	e := newECSBench(t, "88", "executed-flow-run right after RunTask: status-code 0, and the pid as identifier")
	run, task := e.launchWith(nil)
	pid := task.Cluster + "::" + task.ARN
	event := e.waitEmitted("prefect.worker.executed-flow-run", 30*time.Second)
	about := relatedResource(event, "prefect.flow-run."+run)
	if about["prefect.infrastructure.status-code"] != "0" || about["prefect.infrastructure.identifier"] != pid {
		t.Errorf("the event says %v", about)
	}
	occurred, err := time.Parse(time.RFC3339Nano, event["occurred"].(string))
	if err != nil {
		t.Fatal(err)
	}
	late := occurred.Sub(e.cloud.Calls("RunTask")[0].At)
	if late < 0 || late > 5*time.Second {
		t.Errorf("it was executed %s after RunTask", late)
	}
	if status := task.Status(); status != "PROVISIONING" {
		t.Errorf("the task was %s by then", status)
	}
	submitted := e.waitEmitted("prefect.worker.submitted-flow-run", time.Second)
	if event["follows"] != submitted["id"] {
		t.Errorf("it follows %v, not the submitted event", event["follows"])
	}
	e.saw("%.1f s after RunTask, task PROVISIONING: status-code %v, identifier cluster ARN::task ARN, follows submitted",
		late.Seconds(), about["prefect.infrastructure.status-code"])
}

// relatedResource is the related resource of an event with this id.
func relatedResource(event object, id string) object {
	list, _ := event["related"].([]any)
	for _, item := range list {
		if dig(item, "prefect.resource.id") == id {
			return item.(object)
		}
	}
	return nil
}

func Test089DescribeTasks(t *testing.T) {
	e := newECSBench(t, "89", "without an event Python's worker never describes a task; faber does, and so sees an end that nobody told of")
	e.differs()
	run, task := e.launchWith(nil)
	e.waitPID(run)
	task.Set("RUNNING")
	e.flowSays(run, "RUNNING")
	if suite.worker == python {
		task.Set("STOPPED", fakeaws.Exit(1))
		e.hold(15*time.Second, "a task is described", func() bool { return len(e.cloud.Calls("DescribeTasks")) > 0 })
		if state := e.readRun(run)["state_type"]; state != "RUNNING" {
			t.Errorf("the run is %v", state)
		}
		e.saw("15 s after the task stopped: 0 DescribeTasks, the run still RUNNING")
		return
	}
	before := len(e.cloud.WaitCalls(t, time.Minute, 1, "DescribeTasks"))
	task.Set("STOPPED", fakeaws.Exit(1))
	stopped := time.Now()
	final := e.waitFinal(run, time.Minute)
	if final.Type != "CRASHED" || !strings.HasPrefix(final.Message, "The following containers stopped with a non-zero exit code: ['prefect']") {
		t.Errorf("the run ended %s: %q", final, final.Message)
	}
	for _, call := range e.cloud.Calls("DescribeTasks") {
		if tasks, _ := call.Body["tasks"].([]any); len(tasks) != 1 || tasks[0] != task.ARN {
			t.Errorf("DescribeTasks asked for %v", call.Body["tasks"])
		}
	}
	e.saw("described %d times by then; %s %.0f s after the task stopped, no event, no queue", before, final, time.Since(stopped).Seconds())
}
