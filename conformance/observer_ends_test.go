//go:build conformance

package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
)

func Test100TaskFailedToStart(t *testing.T) {
	e := newObserverBench(t, "100", "TaskFailedToStart without containers: Crashed, ECS task failed to start; faber launches such a run 3 times before")
	e.differs()
	const reason = "Capacity is unavailable at this time"
	const text = "ECS task failed to start: " + reason + ". The capacity provider could not place the task."
	run, _ := e.launchWith(nil)
	launches := map[underTest]int{python: 1, faber: 3}[suite.worker]
	for n := range launches {
		e.cloud.Wait(t, time.Minute, fmt.Sprintf("launch %d", n+1), func() bool { return len(e.cloud.Tasks()) > n })
		e.waitPID(run)
		e.tell(e.cloud.Tasks()[n], "STOPPED", fakeaws.StopCode("TaskFailedToStart"), fakeaws.Reason(reason), fakeaws.NoContainers())
	}
	crashed := e.waitFinal(run, time.Minute)
	if crashed.Type != "CRASHED" || !strings.HasPrefix(crashed.Message, text) {
		t.Errorf("the run ended %s: %q", crashed, crashed.Message)
	}
	if n := len(e.cloud.Tasks()); n != launches {
		t.Errorf("it was launched %d times", n)
	}
	for _, s := range e.states(run) {
		if s.Name == "AwaitingRetry" && !strings.HasPrefix(s.Message, text) {
			t.Errorf("it went back to the pool with %q", s.Message)
		}
	}
	line := e.waitLogLine(run, "ECS task failed to start: "+reason+" Resolution: Check the stopped reason for specifics.", shortly)
	e.saw("%d launches, %d AwaitingRetry, then %s %q; log by %s", launches, e.count(run, "AwaitingRetry"), crashed, cut(crashed.Message, 110), line.Name)
}

func Test101ForeignMessages(t *testing.T) {
	e := newObserverBench(t, "101", "a message without Prefect's tags, or of another kind: deleted, nothing else")
	run, task := e.launchWith(nil)
	e.waitPID(run)
	e.cloud.PutDefinition(object{"family": "foreign", "memory": "512", "containerDefinitions": []object{{"name": "app", "image": "app"}}})
	foreign := e.runForeignTask()
	states := len(e.states(run))
	foreign.Set("STOPPED", fakeaws.Exit(1))
	messages := []object{
		foreign.Tell(events),
		task.Tell(events, func(event map[string]any) { event["detail-type"] = "ECS Service Action" }),
		task.Tell(events, func(event map[string]any) { delete(event, "detail-type") }),
	}
	for _, message := range messages {
		e.waitTaken(message)
	}
	e.hold(3*time.Second, "anything follows", func() bool { return len(e.emitted("prefect.ecs.")) > 0 || len(e.states(run)) > states })
	if n := len(e.cloud.Calls("DeregisterTaskDefinition")); n > 0 || !e.w.alive() {
		t.Errorf("%d definitions were deregistered; the worker lives: %t", n, e.w.alive())
	}
	e.saw("a task without tags, ECS Service Action, no detail-type: 3 deleted, no event, no state")
}

// runForeignTask starts a task that has nothing to do with Prefect.
func (e *ecsBench) runForeignTask() *fakeaws.Task {
	e.Helper()
	body, err := json.Marshal(object{"taskDefinition": "foreign", "launchType": "EC2"})
	if err != nil {
		e.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodPost, e.cloud.URL, bytes.NewReader(body))
	if err != nil {
		e.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", "AmazonEC2ContainerServiceV20141113.RunTask")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		e.Fatal(err)
	}
	defer response.Body.Close()
	tasks := e.cloud.Tasks()
	if response.StatusCode != http.StatusOK || len(tasks) == 0 || len(tasks[len(tasks)-1].Tags()) > 0 {
		e.Fatalf("RunTask answers %s", response.Status)
	}
	return tasks[len(tasks)-1]
}

func Test102LogsForwarded(t *testing.T) {
	e := newObserverBench(t, "102", "CloudWatch lines of a run that never reached Running are copied to the run's logs, 500 at most")
	const written, most = 520, 500
	got := e.forwarded(written, most)
	want := lines(written)[written-most:]
	if !slices.Equal(got, want) {
		t.Errorf("%d lines were copied, from %q to %q", len(got), got[0], got[len(got)-1])
	}
	e.restart(withEnv(queueNameSetting, events), withEnv("PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_FORWARD_CRASHED_RUN_LOGS_MAX_EVENTS", "3"))
	few := e.forwarded(10, 3)
	if !slices.Equal(few, lines(10)[7:]) {
		t.Errorf("with a maximum of 3 these were copied: %q", few)
	}
	e.saw("of %d lines the last %d, %s to %s, INFO; with MAX_EVENTS=3 of 10: %s", written, len(got), got[0], got[len(got)-1], strings.Join(few, ", "))
}

// lines are n lines of a container's output.
func lines(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("output %03d", i+1))
	}
	return out
}

// forwarded launches a run whose container writes so many lines and fails before
// its flow begins to run, waits until so many of them are in the run's log, and
// returns those that are.
func (e *ecsBench) forwarded(written, most int) []string {
	e.Helper()
	run, task := e.launchWith(object{"configure_cloudwatch_logs": true, "execution_role_arn": "arn:aws:iam::123456789012:role/execution"})
	e.waitPID(run)
	group, stream := task.LogOf("prefect")
	e.cloud.PutLog(group, stream, lines(written)...)
	task.Set("RUNNING")
	e.tell(task, "STOPPED", fakeaws.Exit(1))
	e.waitState(run, "CRASHED", shortly)
	var copied []string
	e.until(shortly, "the output is in the run's log", func() bool {
		copied = e.output(run)
		return len(copied) >= most
	})
	e.hold(2*time.Second, "more of the output is copied", func() bool { return len(e.output(run)) > most })
	return copied
}

// output are the lines of the run's log that its container wrote.
func (e *ecsBench) output(run string) []string {
	e.Helper()
	var out []string
	const page = 200
	for offset := 0; ; offset += page {
		var list []logLine
		e.call("POST", "/logs/filter", object{
			"logs": object{"flow_run_id": object{"any_": []string{run}}}, "sort": "TIMESTAMP_ASC", "limit": page, "offset": offset,
		}, &list)
		for _, line := range list {
			if strings.HasPrefix(line.Message, "output ") && line.Level == 20 {
				out = append(out, line.Message)
			}
		}
		if len(list) < page {
			slices.Sort(out)
			return out
		}
	}
}

func Test103Deregistration(t *testing.T) {
	e := newObserverBench(t, "103", "deregister tag: DeregisterTaskDefinition after STOPPED")
	run, task := e.launchWith(object{"auto_deregister_task_definition": true})
	e.waitPID(run)
	e.flowSays(run, "COMPLETED")
	e.tell(task, "RUNNING")
	if n := len(e.cloud.Calls("DeregisterTaskDefinition")); n > 0 {
		t.Error("it was deregistered while the task ran")
	}
	e.tell(task, "STOPPED", fakeaws.Exit(0))
	calls := e.cloud.WaitCalls(t, shortly, 1, "DeregisterTaskDefinition")
	if calls[0].Body["taskDefinition"] != task.Definition {
		t.Errorf("%v was deregistered, the task ran %s", calls[0].Body["taskDefinition"], task.Definition)
	}
	plain, kept := e.launchWith(nil)
	e.waitPID(plain)
	e.flowSays(plain, "COMPLETED")
	e.tell(kept, "STOPPED", fakeaws.Exit(0))
	e.hold(2*time.Second, "a definition without the tag is deregistered", func() bool { return len(e.cloud.Calls("DeregisterTaskDefinition")) > 1 })
	e.saw("not at RUNNING, at STOPPED: %s; not without the tag", task.Definition[strings.LastIndex(task.Definition, ":task-definition/")+1:])
}
