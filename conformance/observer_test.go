//go:build conformance

package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
)

// events is the queue that the tests of the observer use.
const events = "events"

// newObserverBench is newECSBench with a queue, that the worker was told of.
func newObserverBench(t *testing.T, name, title string, change ...func(*workerOptions)) *ecsBench {
	t.Helper()
	e := prepareECSBench(newBench(t, name, title))
	e.cloud.AddQueue(events)
	e.start(append(change, withEnv(queueNameSetting, events))...)
	return e
}

// tell brings a task into a status and sends the event, waits until the message
// is deleted, and returns the event.
func (e *ecsBench) tell(task *fakeaws.Task, status string, changes ...fakeaws.Change) object {
	e.Helper()
	task.Set(status, changes...)
	event := task.Tell(events)
	e.waitTaken(event)
	return event
}

// waitTaken waits until the message with an event is deleted.
func (e *ecsBench) waitTaken(event object) {
	e.Helper()
	body := fakeaws.Message(event)
	e.cloud.Wait(e, time.Minute, "the message is deleted", func() bool { return slices.Contains(e.cloud.Deleted(events), body) })
}

// replica waits for Prefect's event of a task's event.
func (e *ecsBench) replica(event object) object {
	e.Helper()
	var found object
	e.until(shortly, fmt.Sprintf("event %v was passed on", event["id"]), func() bool {
		for _, emitted := range e.emitted("prefect.ecs.task.") {
			if emitted["id"] == event["id"] {
				found = emitted
				return true
			}
		}
		return false
	})
	return found
}

func Test096NoQueue(t *testing.T) {
	e := newECSBench(t, "96", "no queue: one warning, and the worker works", withEnv(queueNameSetting, "not-there"))
	const warning = "SQS queue 'not-there' does not exist in region 'default'. This worker will continue to submit ECS tasks, but event replication and crash detection will not work."
	e.w.waitLog(shortly, `WARNING .*SQS queue 'not-there' does not exist in region 'default'\.`)
	run, _ := e.launchWith(nil)
	e.waitPID(run)
	e.hold(3*time.Second, "it is said twice", func() bool { return strings.Count(e.w.log(), "does not exist in region") > 1 })
	if !strings.Contains(e.w.log(), warning) {
		t.Errorf("the warning is not %q", warning)
	}
	if n := len(e.cloud.Calls("ReceiveMessage")); n != 0 || !e.w.alive() {
		t.Errorf("there were %d ReceiveMessage; the worker lives: %t", n, e.w.alive())
	}
	e.saw("1 warning: %q; a run launched all the same", cut(warning, 62))
}

func Test097TaskEvents(t *testing.T) {
	e := newObserverBench(t, "97", "PROVISIONING and PENDING: an event each, and one InfrastructurePending state", withName("watcher-97"))
	deployment := e.variables(nil)
	run, task := e.launch(deployment)
	e.waitPID(run)
	provisioning := e.tell(task, "PROVISIONING")
	pending := e.waitState(run, "InfrastructurePending", shortly)
	second := e.tell(task, "PENDING")
	for event, status := range map[*object]string{&provisioning: "provisioning", &second: "pending"} {
		replica := e.replica(*event)
		if replica["event"] != "prefect.ecs.task."+status {
			t.Errorf("the event of %s is %v", status, replica["event"])
		}
		e.checkReplica(replica, *event, task, deployment)
	}
	e.until(shortly, "the second state was proposed", func() bool { return len(setStates(e.bench, run, "InfrastructurePending")) > 1 })
	e.hold(2*time.Second, "there is a second InfrastructurePending", func() bool { return e.count(run, "InfrastructurePending") > 1 })
	if pending.Type != "PENDING" || pending.Message != "ECS task is provisioning." {
		t.Errorf("the state is %s: %q", pending, pending.Message)
	}
	if n := e.cloud.Queued(events); n != 0 {
		t.Errorf("%d messages are left in the queue", n)
	}
	e.saw("prefect.ecs.task.provisioning and .pending with EventBridge's ids and times; 1 %s %q; 2 messages deleted", pending, pending.Message)
}

// count counts the states of this name in the run's history.
func (e *ecsBench) count(run, name string) int {
	e.Helper()
	n := 0
	for _, s := range e.states(run) {
		if s.Name == name {
			n++
		}
	}
	return n
}

// checkReplica holds an event to the task's event that it was made of.
func (e *ecsBench) checkReplica(replica, event object, task *fakeaws.Task, deployment string) {
	e.Helper()
	at, err := time.Parse(time.RFC3339Nano, replica["occurred"].(string))
	if err != nil || at.UTC().Format(time.RFC3339) != event["time"] {
		e.Errorf("it occurred %v, the task's event at %v", replica["occurred"], event["time"])
	}
	e.same("the resource", replica["resource"], object{
		"prefect.resource.id": "prefect.ecs.task." + task.ID(),
		"ecs.taskArn":         task.ARN, "ecs.clusterArn": task.Cluster, "ecs.taskDefinitionArn": task.Definition,
	})
	tags := task.Tags()
	e.same("what it relates to", relatedTo(replica), []string{
		"prefect.flow-run." + tags["prefect.io/flow-run-id"] + " as flow-run", "prefect.deployment." + deployment + " as deployment",
		"prefect.flow." + e.flow() + " as flow", "prefect.work-pool." + tags["prefect.io/work-pool-id"] + " as work-pool",
		"prefect.worker.ecs." + tags["prefect.io/worker-name"] + " as worker",
	})
}

// stopped launches a run that never begins to run, or that the flow says it runs,
// ends its task and returns the run and the event of that.
func (e *ecsBench) stopped(running bool, changes ...fakeaws.Change) (run string, event object) {
	e.Helper()
	run, task := e.launchWith(nil)
	e.waitPID(run)
	if running {
		e.flowSays(run, "RUNNING")
		task.Set("RUNNING")
	}
	return run, e.tell(task, "STOPPED", changes...)
}

const listText = "The following containers stopped with a non-zero exit code: ['prefect']"

func Test098StoppedTask(t *testing.T) {
	e := newObserverBench(t, "98", "STOPPED with exit code 1: event, diagnosis in the log, Crashed with the list; exit code 0: the event alone")
	run, event := e.stopped(true, fakeaws.Exit(1))
	crashed := e.waitState(run, "CRASHED", shortly)
	if !strings.HasPrefix(crashed.Message, listText) {
		t.Errorf("it crashed with %q", crashed.Message)
	}
	if replica := e.replica(event); replica["event"] != "prefect.ecs.task.stopped" {
		t.Errorf("the event is %v", replica["event"])
	}
	const diagnosis = "Essential container exited: Container 'prefect' exited with code 1. Resolution: An essential container in the task exited"
	line := e.waitLogLine(run, diagnosis, shortly)
	if line.Name != "prefect.flow_runs.observer" || line.Level != 40 || !strings.HasPrefix(line.Message, diagnosis) {
		t.Errorf("the diagnosis is by %s at level %d: %q", line.Name, line.Level, line.Message)
	}
	clean, event := e.stopped(true, fakeaws.Exit(0))
	// The flow's own word of its end comes a little later.
	e.hold(2*time.Second, "a run whose container ended with code 0 is crashed", func() bool { return e.count(clean, "Crashed") > 0 })
	e.flowSays(clean, "COMPLETED")
	e.replica(event)
	if log := e.logText(clean); strings.Contains(log, "Resolution") || strings.Contains(log, "exit code") {
		t.Errorf("the log of the clean run has %q", log)
	}
	if final := e.waitFinal(clean, shortly); final.Type != "COMPLETED" {
		t.Errorf("the clean run ended %s: %s", final, final.Message)
	}
	e.saw("exit 1: prefect.ecs.task.stopped, ERROR by %s %q, Crashed %q; exit 0: the event alone", line.Name, cut(line.Message, 75), cut(crashed.Message, 80))
}

// logText is the run's log as one text.
func (e *ecsBench) logText(run string) string {
	e.Helper()
	var text strings.Builder
	for _, line := range e.logs(run) {
		text.WriteString(line.Message + "\n")
	}
	return text.String()
}

func Test099StoppedAfterTheEnd(t *testing.T) {
	e := newObserverBench(t, "99", "STOPPED for a run that is Completed or Failed already: the event alone")
	deployment := e.variables(nil)
	for _, typ := range []string{"COMPLETED", "FAILED"} {
		run, task := e.launch(deployment)
		e.waitPID(run)
		task.Set("RUNNING")
		e.flowSays(run, typ)
		states, proposals := len(e.states(run)), len(setStates(e.bench, run, ""))
		log := e.logText(run)
		event := e.tell(task, "STOPPED", fakeaws.Exit(1))
		e.replica(event)
		e.hold(3*time.Second, "anything is said of the run", func() bool {
			return len(e.states(run)) > states || len(setStates(e.bench, run, "")) > proposals || strings.Contains(strings.TrimPrefix(e.logText(run), log), "exit")
		})
	}
	e.saw("exit 1 after Completed and after Failed: prefect.ecs.task.stopped, no proposal, no line, message deleted")
}
