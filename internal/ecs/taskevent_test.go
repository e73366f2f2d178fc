package ecs

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
)

// launchedElsewhere starts a task by another worker, which is then moved by hand.
func launchedElsewhere(t *testing.T, f *fakeaws.Server, changes ...func(*launch.Job)) *fakeaws.Task {
	t.Helper()
	f.Script("", fakeaws.Script{Hold: true})
	job := testJob()
	job.Labels["prefect.io/work-pool-name"] = "my pool"
	for _, change := range changes {
		change(&job)
	}
	mustLaunch(t, newLauncher(t, f), job)
	tasks := f.Tasks()
	return tasks[len(tasks)-1]
}

func listen(t *testing.T, f *fakeaws.Server, changes ...func(*Options)) *Launcher {
	t.Helper()
	f.AddQueue("events")
	return newLauncher(t, f, append([]func(*Options){func(o *Options) { o.Queue, o.queueBackoff = "events", time.Millisecond }}, changes...)...)
}

func TestEventsCarryWhatHappened(t *testing.T) {
	f := newFakeAWS(t)
	task := launchedElsewhere(t, f)
	l := listen(t, f)
	for _, step := range []struct{ status, name, pending string }{
		{"PROVISIONING", "prefect.ecs.task.provisioning", "ECS task is provisioning."},
		{"PENDING", "prefect.ecs.task.pending", "ECS task is pending."},
		{"RUNNING", "prefect.ecs.task.running", ""},
		{"STOPPED", "prefect.ecs.task.stopped", ""},
	} {
		task.Set(step.status)
		source := task.Tell("events")
		hint := nextHint(t, l)
		detail := fakeaws.Detail(source)
		at, _ := time.Parse(time.RFC3339, source["time"].(string))
		want := launch.Hint{
			PID: detail["clusterArn"].(string) + "::" + task.ARN, FlowRunID: testJob().FlowRunID,
			Event: &launch.Event{
				ID: source["id"].(string), At: at, Name: step.name, Pending: step.pending, Labels: task.Tags(),
				Resource: map[string]string{
					"prefect.resource.id": "prefect.ecs.task." + task.ID(), "ecs.taskArn": task.ARN,
					"ecs.clusterArn": detail["clusterArn"].(string), "ecs.taskDefinitionArn": detail["taskDefinitionArn"].(string),
				},
			},
		}
		if diff := cmp.Diff(want, hint); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.status, diff)
		}
		if hint.Event.Labels["prefect.io/work-pool-name"] != "my-pool" {
			t.Errorf("labels %v", hint.Event.Labels)
		}
	}
	f.WaitDeleted(t, 30*time.Second, 4, "events")
	if got := len(f.Calls("DescribeTasks")); got != 1 {
		t.Errorf("the tags of one task were asked for %d times", got)
	}
}

func TestOwnTasksNeedNoLook(t *testing.T) {
	f := newFakeAWS(t)
	f.Script("", fakeaws.Script{Hold: true})
	l := listen(t, f)
	mustLaunch(t, l, testJob())
	f.Tasks()[0].Tell("events")
	if hint := nextHint(t, l); hint.Event == nil || hint.Event.Labels[tagClaim] != testJob().ClaimID {
		t.Errorf("hint %+v", hint)
	}
	if got := f.Calls("DescribeTasks"); len(got) != 0 {
		t.Errorf("%d looks at a task whose tags are known", len(got))
	}
}

// The first event of a task may overtake the answer to RunTask.
func TestOwnTasksNeedNoLookEvenBeforeTheyAreKnown(t *testing.T) {
	f := newFakeAWS(t)
	f.AddQueue("events")
	f.EventsTo("events")
	f.Script("", fakeaws.Script{Hold: true})
	answer := make(chan struct{})
	l := newLauncher(t, f, func(o *Options) { o.Queue = "events" })
	f.Fail("RunTask", fakeaws.Fault{Lost: true, Times: 2}) // the effect comes first, the answer with the third try
	go func() {
		defer close(answer)
		_, _ = l.Launch(t.Context(), testJob())
	}()
	if hint := nextHint(t, l); hint.Event == nil || hint.Event.Labels[tagClaim] != testJob().ClaimID {
		t.Errorf("hint %+v", hint)
	}
	<-answer
	if got := f.Calls("DescribeTasks"); len(got) != 0 {
		t.Errorf("%d looks at a task that is just launched", len(got))
	}
}

func TestTagsOfABatchAreReadAtOnce(t *testing.T) {
	f := newFakeAWS(t)
	var bodies []string
	for _, run := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		task := launchedElsewhere(t, f, func(job *launch.Job) { job.ClaimID, job.Labels[tagFlowRunID] = run, run })
		bodies = append(bodies, fakeaws.Message(task.Event()))
	}
	f.AddQueue("events")
	f.Send("events", bodies...)
	l := newLauncher(t, f, func(o *Options) { o.Queue = "events" })
	runs := map[string]bool{}
	for range bodies {
		runs[nextHint(t, l).Event.Labels[tagFlowRunID]] = true
	}
	if len(runs) != 10 || len(f.Calls("DescribeTasks")) != 1 {
		t.Errorf("runs %v, %d calls", runs, len(f.Calls("DescribeTasks")))
	}
}

func TestEventsOfForgottenTasks(t *testing.T) {
	f := newFakeAWS(t)
	task := launchedElsewhere(t, f, func(job *launch.Job) {
		job.Env = append(job.Env, launch.EnvVar{Name: "PREFECT__FLOW_NAME", Value: "my flow"}, launch.EnvVar{Name: "PREFECT__WORKER_NAME", Value: "w 1"})
	})
	l := listen(t, f)
	task.Hide()
	task.Tell("events")
	hint := nextHint(t, l)
	if hint.Event == nil {
		t.Fatalf("hint %+v", hint)
	}
	want := map[string]string{tagFlowRunID: testJob().FlowRunID, "prefect.io/flow-name": "my flow", tagWorkerName: "w 1", tagPoolID: testJob().Pool.ID}
	if diff := cmp.Diff(want, hint.Event.Labels); diff != "" {
		t.Error(diff)
	}
}

func TestForeignTasks(t *testing.T) {
	f := newFakeAWS(t)
	task := launchedElsewhere(t, f, func(job *launch.Job) { job.Labels = nil })
	l := listen(t, f)
	ofService := func(event map[string]any) { fakeaws.Detail(event)["group"] = "service:web" }
	nobodys := func(event map[string]any) {
		fakeaws.Detail(event)["taskArn"] = strings.Replace(task.ARN, task.ID(), "unknown", 1)
		delete(fakeaws.Detail(event), "overrides")
		fakeaws.Detail(event)["startedBy"] = "somebody"
	}
	other := func(event map[string]any) { event["detail-type"] = "ECS Deployment State Change" }
	for _, edit := range []func(map[string]any){ofService, nobodys, other} {
		task.Tell("events", edit)
	}
	f.WaitDeleted(t, 30*time.Second, 3, "events")
	if got, want := l.EventStats(), (EventStats{Received: 3, Foreign: 3}); got != want {
		t.Errorf("counts %+v", got)
	}
	if got := len(f.Calls("DescribeTasks")); got != 1 {
		t.Errorf("%d looks", got)
	}
}

func TestEventsWithoutAnID(t *testing.T) {
	f := newFakeAWS(t)
	task := launchedElsewhere(t, f)
	l := listen(t, f)
	for _, edit := range []func(map[string]any){
		func(e map[string]any) { e["id"] = "no uuid" },
		func(e map[string]any) { delete(fakeaws.Detail(e), "lastStatus") },
	} {
		task.Tell("events", edit)
		if hint := nextHint(t, l); hint.Event != nil || hint.FlowRunID == "" {
			t.Errorf("hint %+v", hint)
		}
	}
	before := time.Now().Add(-time.Second)
	task.Tell("events", func(e map[string]any) { e["time"] = "soon" })
	if hint := nextHint(t, l); hint.Event == nil || hint.Event.At.Before(before) {
		t.Errorf("hint %+v", hint)
	}
}

// A task that says who started it, and not what for.
func TestEventsWaitForTags(t *testing.T) {
	f := newFakeAWS(t)
	task := launchedElsewhere(t, f)
	silent := func(event map[string]any) { delete(fakeaws.Detail(event), "overrides") }
	f.VisibilityTimeout(50 * time.Millisecond)
	f.Fail("DescribeTasks", fakeaws.Fault{Status: 500, Code: "ServerException", Message: "x", Times: 3})
	l := listen(t, f, func(o *Options) { o.askTags = time.Millisecond })
	source := task.Tell("events", silent)
	if hint := nextHint(t, l); hint.Event != nil || !strings.HasSuffix(hint.PID, task.ARN) {
		t.Errorf("without tags: %+v", hint)
	}
	if f.Queued("events") != 1 {
		t.Error("the message is gone before its event was told")
	}
	if hint := nextHint(t, l); hint.Event == nil || hint.Event.ID != source["id"] {
		t.Errorf("with tags: %+v", hint)
	}
	f.WaitDeleted(t, 30*time.Second, 1, "events")
}

// Events come by the thousand; questions about their tasks must not.
func TestEventsCostNoCallEach(t *testing.T) {
	f := newFakeAWS(t)
	var tasks []*fakeaws.Task
	for _, run := range []string{"a", "b", "c"} {
		tasks = append(tasks, launchedElsewhere(t, f, func(job *launch.Job) { job.ClaimID, job.Labels[tagFlowRunID] = run, run }))
	}
	l := listen(t, f)
	for range 5 {
		for _, task := range tasks {
			task.Tell("events")
			if hint := nextHint(t, l); hint.Event == nil || hint.FlowRunID != testJob().FlowRunID {
				t.Errorf("hint %+v", hint)
			}
		}
	}
	f.WaitDeleted(t, 30*time.Second, 15, "events")
	if got := len(f.Calls("DescribeTasks")); got != 1 {
		t.Errorf("%d looks for fifteen events within seconds", got)
	}
	if _, err := l.Describe(t.Context(), []launch.Handle{{PID: tasks[2].Cluster + "::" + tasks[2].ARN}}); err != nil {
		t.Fatal(err)
	}
	tasks[2].Tell("events")
	if hint := nextHint(t, l); hint.Event == nil || hint.Event.Labels[tagClaim] != "c" {
		t.Errorf("the event of a task that was described lacks its tags: %+v", hint.Event)
	}
}

func TestADeletionThatFailedIsNoNewEvent(t *testing.T) {
	f := newFakeAWS(t)
	task := launchedElsewhere(t, f)
	f.VisibilityTimeout(50 * time.Millisecond)
	f.Fail("DeleteMessageBatch", fakeaws.Fault{Status: 500, Code: "InternalError", Message: "x", Times: 6})
	l := listen(t, f)
	task.Tell("events")
	nextHint(t, l)
	f.WaitDeleted(t, 30*time.Second, 1, "events")
	if got := l.EventStats(); got.Handed != 1 || got.Received < 2 {
		t.Errorf("counts %+v", got)
	}
}

func TestDeregistrationAfterTheEnd(t *testing.T) {
	f := newFakeAWS(t)
	task := launchedElsewhere(t, f, func(job *launch.Job) {
		*job = testJob(set(true, "auto_deregister_task_definition"))
	})
	if task.Tags()[tagDeregister] != "true" {
		t.Fatalf("tags %v", task.Tags())
	}
	f.VisibilityTimeout(50 * time.Millisecond)
	f.Fail("DeregisterTaskDefinition", fakeaws.Fault{Code: "ThrottlingException", Message: "Rate exceeded"})
	l := listen(t, f)
	task.Tell("events")
	nextHint(t, l)
	f.WaitDeleted(t, 30*time.Second, 1, "events")
	if got := f.Calls("DeregisterTaskDefinition"); len(got) != 0 {
		t.Error("deregistered while its task ran")
	}
	task.Set("STOPPED")
	task.Tell("events")
	nextHint(t, l)
	f.WaitDeleted(t, 30*time.Second, 2, "events")
	calls := f.Calls("DeregisterTaskDefinition")
	if last := calls[len(calls)-1].Body["taskDefinition"]; last != fakeaws.Detail(task.Event())["taskDefinitionArn"] || len(calls) != 2 {
		t.Errorf("%d calls, the last for %v", len(calls), last)
	}
	if got := l.EventStats().Handed; got != 2 {
		t.Errorf("%d hints for two events", got)
	}
}

func TestMessagesAreHeldWhileTheWorkerIsBusy(t *testing.T) {
	f := newFakeAWS(t)
	task := launchedElsewhere(t, f)
	l := listen(t, f, func(o *Options) { o.extendEvery = time.Millisecond })
	task.Tell("events")
	calls := f.WaitCalls(t, 30*time.Second, 3, "ChangeMessageVisibilityBatch")
	entry := objects(calls[0].Body["Entries"])[0]
	if entry["VisibilityTimeout"] != receiveVisibility.Seconds() {
		t.Errorf("extended by %v", entry["VisibilityTimeout"])
	}
	nextHint(t, l)
	f.WaitDeleted(t, 30*time.Second, 1, "events")
}

func TestQueueOfThePoolsAccount(t *testing.T) {
	f := newFakeAWS(t)
	f.AddQueue("events")
	f.Fail("GetQueueUrl", fakeaws.Fault{Code: "AccessDenied", Message: "no", Times: -1, When: func(c fakeaws.Call) bool { return c.AccessKey == "machine" }})
	var log syncBuffer
	l := listen(t, f, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	f.WaitCalls(t, 30*time.Second, 4, "GetQueueUrl")
	pool := testJob().Pool
	pool.Configuration = map[string]any{"aws_credentials": map[string]any{"assume_role_arn": "arn:aws:iam::1:role/r"}}
	if _, err := l.Find(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	f.Send("events", taskEventBody("run-1"))
	if hint := nextHint(t, l); hint.FlowRunID != "run-1" {
		t.Errorf("hint %+v", hint)
	}
	if got := last(t, f, "ReceiveMessage").AccessKey; got != fakeaws.AssumedAccessKey {
		t.Errorf("the queue is read as %s", got)
	}
	if got := log.count("cannot read the event queue"); got != 1 {
		t.Errorf("one and the same trouble was told %d times", got)
	}
	eventually(t, "the recovery is told", func() bool { return log.count("the event queue is read again") == 1 })
}

func TestMissingQueueInPrefectsWords(t *testing.T) {
	f := newFakeAWS(t)
	var log syncBuffer
	newLauncher(t, f, func(o *Options) {
		o.Queue, o.QueueOptional, o.Logger = "prefect-ecs-tasks-events", true, slog.New(slog.NewTextHandler(&log, nil))
	})
	f.WaitCalls(t, 30*time.Second, 4, "GetQueueUrl")
	if log.count("SQS queue 'prefect-ecs-tasks-events' does not exist in region 'default'. This worker will continue to submit ECS tasks, but event replication "+
		"and crash detection will not work. To enable ECS event replication and crash detection, deploy an SQS queue using "+
		"`prefect-aws ecs-worker deploy-events` and configure the PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME environment "+
		"variable on your worker to point to the deployed queue.") != 1 || log.count("level=WARN") != 1 {
		t.Errorf("log:\n%s", log.b.String())
	}
}
