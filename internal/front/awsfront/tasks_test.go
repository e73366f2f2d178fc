package awsfront

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"

	"faber/internal/fake/fakeaws"
	"faber/internal/front"
)

func TestHide(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{ID: "h", Run: runA, Hide: front.Forever})
	a, b := s.run(t, runA), s.run(t, runB)
	if s.describe(t, a) != nil || s.describe(t, b) == nil {
		t.Error("the task of run A is to be hidden, and no other")
	}
	if got := s.listed(t); !slices.Equal(got, []string{b}) {
		t.Errorf("listed: %v", got)
	}
	_, err := s.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Task: &a})
	var refused *types.InvalidParameterException
	if !errors.As(err, &refused) || s.aws.TaskOf(runA).Status() == "STOPPED" {
		t.Errorf("StopTask of a hidden task: %v", err)
	}
	if _, err := s.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Task: &b}); err != nil {
		t.Error(err)
	}
	if hits := s.front.Faults().List()[0].Hits; hits != 1 {
		t.Errorf("%d hits, want 1: a task is hidden once, however often it is looked for", hits)
	}
	// Later, by its ARN, and by its id.
	s.add(t, front.Fault{ID: "arn", Task: b, Hide: front.Forever})
	if s.describe(t, b) != nil {
		t.Error("hidden by ARN, and shown")
	}
	s.front.Faults().Clear()
	if s.describe(t, a) == nil || s.describe(t, b) == nil || len(s.listed(t)) != 1 { // B is to stop
		t.Error("hidden by a rule that is no more")
	}
	s.add(t, front.Fault{Task: s.aws.TaskOf(runA).ID(), Hide: front.Forever})
	if s.describe(t, a) != nil {
		t.Error("hidden by id, and shown")
	}
}

func TestHideOneByRequest(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{Request: `"startedBy":"faber/pool"`, Skip: 1, Count: 1, Hide: front.Forever})
	first, second, third := s.run(t, runA), s.run(t, runB), s.run(t, "cccccccc-1111-4111-8111-111111111111")
	if s.describe(t, first) == nil || s.describe(t, second) != nil || s.describe(t, third) == nil {
		t.Error("the second of three is to be hidden")
	}
}

func TestHiddenForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(Options{MissingFor: 5 * time.Second})
		defer f.Close()
		if _, err := f.Faults().Add(front.Fault{Run: runB, Hide: front.Duration(20 * time.Second)}); err != nil {
			t.Fatal(err)
		}
		start := func(arn, run string) {
			body, err := json.Marshal(map[string]any{"tags": []any{map[string]any{"key": "prefect.io/flow-run-id", "value": run}}})
			if err != nil {
				t.Fatal(err)
			}
			f.tasks.start(&exchange{body: body}, []string{arn})
		}
		hidden := func(want ...bool) {
			t.Helper()
			for i, arn := range []string{"a", "b", "later"} {
				if i < len(want) && f.tasks.isHidden(arn) != want[i] {
					t.Errorf("task %s hidden: %v, want %v", arn, !want[i], want[i])
				}
			}
		}
		start("a", runA)
		start("b", runB)
		hidden(true, true)
		time.Sleep(5 * time.Second)
		hidden(false, true)
		f.SetMissingFor(0)
		start("later", runA)
		hidden(false, true, false)
		time.Sleep(15 * time.Second)
		hidden(false, false, false)
		// A rule that comes later counts from then on.
		if _, err := f.Faults().Add(front.Fault{Run: runA, Hide: front.Duration(time.Second)}); err != nil {
			t.Fatal(err)
		}
		hidden(true, false, true)
		time.Sleep(time.Second)
		hidden(false, false, false)
	})
}

// An event may be faster than the answer that starts its task.
func TestEventBeforeTheAnswer(t *testing.T) {
	f := New(Options{MissingFor: time.Hour})
	defer f.Close()
	if _, err := f.Faults().Add(front.Fault{ID: "h", Request: "x", Hide: front.Forever}); err != nil {
		t.Fatal(err)
	}
	f.tasks.see(scope{}, "t", runA)
	if f.tasks.isHidden("t") {
		t.Error("hidden before it started")
	}
	for range 2 { // as when the emulator repeats an answer
		f.tasks.start(&exchange{body: []byte(`{"x":1}`)}, []string{"t"})
	}
	k := f.tasks.known["t"]
	if !f.tasks.isHidden("t") || len(k.hidden) != 2 || k.run != runA || f.Faults().List()[0].Hits != 1 {
		t.Errorf("%+v", k)
	}
}

// Rules that name no task and no run are for tasks that start: a worker's own
// task, which its service has started, is not to be struck by them.
func TestTasksOfOthersAreSpared(t *testing.T) {
	s := newSDKStack(t, Options{})
	a := s.run(t, runA)
	s.add(t, front.Fault{ID: "all", Hide: front.Forever}, front.Fault{ID: "request", Run: runA, Request: "x", Hide: front.Forever})
	if s.describe(t, a) == nil || len(s.listed(t)) != 1 {
		t.Error("a task that was there is hidden by a rule that does not name it")
	}
	// One that the front did not see start: the SDK goes around it.
	around := ecs.New(s.ecs.Options(), func(o *ecs.Options) { o.BaseEndpoint = &s.aws.URL })
	out, err := around.RunTask(t.Context(), runInput(runB))
	if err != nil {
		t.Fatal(err)
	}
	b := *out.Tasks[0].TaskArn
	if s.describe(t, b) == nil {
		t.Error("hidden by a rule that does not name it")
	}
	s.add(t, front.Fault{Run: runB, Hide: front.Forever})
	if s.describe(t, b) != nil {
		t.Error("its run is named, and it is shown")
	}
}

func TestMissingFor(t *testing.T) {
	s := newSDKStack(t, Options{})
	s.front.SetMissingFor(time.Hour)
	a := s.run(t, runA)
	s.front.SetMissingFor(0)
	b := s.run(t, runB)
	if s.describe(t, a) != nil || s.describe(t, b) == nil || !slices.Equal(s.listed(t), []string{b}) {
		t.Error("the first task is to be missing for an hour, the second not at all")
	}
}

func TestInventedEnd(t *testing.T) {
	code := 137
	for _, tt := range []struct {
		name string
		stop front.Stop
		want string
	}{
		{
			"out of memory",
			front.Stop{Code: "EssentialContainerExited", Reason: "Essential container in task exited", ContainerReason: "OutOfMemoryError: Container killed due to memory usage", ExitCode: &code},
			"EssentialContainerExited|Essential container in task exited|prefect 137 OutOfMemoryError: Container killed due to memory usage|sidecar 143 ",
		},
		{"Spot", front.Stop{Code: "SpotInterruption", Reason: "Your Spot Task was interrupted."}, "SpotInterruption|Your Spot Task was interrupted.|prefect - |sidecar 143 "},
		{
			"never started",
			front.Stop{Code: "TaskFailedToStart", Reason: "CannotPullContainerError: pull image manifest has been retried 1 time(s)", Container: "sidecar", ContainerReason: "no"},
			"TaskFailedToStart|CannotPullContainerError: pull image manifest has been retried 1 time(s)|prefect - |sidecar - no",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSDKStack(t, Options{})
			arn := s.run(t, runA)
			s.aws.TaskOf(runA).Set("RUNNING")
			s.receive(t, 0)
			// A rule that comes later ends it at once.
			s.add(t, front.Fault{Run: runA, Stop: &tt.stop})
			if got := s.aws.TaskOf(runA).Status(); got != "STOPPED" {
				t.Fatalf("the real task is %s", got)
			}
			task := s.describe(t, arn)
			if got := ended(task); aws.ToString(task.LastStatus) != "STOPPED" || aws.ToString(task.DesiredStatus) != "STOPPED" || got != tt.want || task.StoppedAt == nil {
				t.Errorf("described: %s, want %s", got, tt.want)
			}
			if ran := task.StartedAt != nil; ran != (tt.stop.Code != "TaskFailedToStart") {
				t.Errorf("started at %v", task.StartedAt)
			}
			messages := s.receive(t, 0)
			if len(messages) != 1 {
				t.Fatalf("%d events, want that of the end", len(messages))
			}
			var e event
			if err := json.Unmarshal([]byte(*messages[0].Body), &e); err != nil {
				t.Fatal(err)
			}
			if e.Detail["lastStatus"] != "STOPPED" || e.Detail["stopCode"] != tt.stop.Code || e.Detail["stoppedReason"] != tt.stop.Reason {
				t.Errorf("event: %v", e.Detail)
			}
			if _, err := time.Parse(time.RFC3339, str(e.Detail["stoppedAt"])); err != nil {
				t.Errorf("stoppedAt in the event: %v", err)
			}
			if _, ran := e.Detail["startedAt"]; ran != (tt.stop.Code != "TaskFailedToStart") {
				t.Errorf("the event says it ran: %v", ran)
			}
		})
	}
}

// ended is the end of a task on one line.
func ended(task *types.Task) string {
	text := string(task.StopCode) + "|" + aws.ToString(task.StoppedReason)
	for _, c := range task.Containers {
		code := "-"
		if c.ExitCode != nil {
			code = jsonText(*c.ExitCode)
		}
		text += "|" + aws.ToString(c.Name) + " " + code + " " + aws.ToString(c.Reason)
	}
	return text
}

func jsonText(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func TestInventedEndAfterAWhile(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{ID: "soon", Run: runA, Stop: &front.Stop{Code: "SpotInterruption", After: front.Duration(10 * time.Millisecond)}})
	asked := s.awaitStop(t)
	// The emulator refuses twice: it is asked until it does it.
	s.aws.Fail("StopTask", fakeaws.Fault{Code: "ThrottlingException", Message: "Rate exceeded"})
	arn := s.run(t, runA)
	<-asked
	<-asked
	eventually(t, "the end is told", 10*time.Second, func() bool { return s.describe(t, arn).StopCode == types.TaskStopCodeSpotInterruption })
}

func TestInventedEndIsTakenBack(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{ID: "later", Run: runA, Stop: &front.Stop{Code: "SpotInterruption", After: front.Duration(time.Hour)}})
	arn := s.run(t, runA)
	s.aws.TaskOf(runA).Set("RUNNING")
	if task := s.describe(t, arn); aws.ToString(task.LastStatus) != "RUNNING" {
		t.Errorf("before its time: %s", *task.LastStatus)
	}
	s.front.Faults().Clear()
	s.front.tasks.stop(s.front.tasks.known[arn], s.front.tasks.known[arn].end) // its time has come
	if task := s.describe(t, arn); aws.ToString(task.LastStatus) != "RUNNING" || len(s.aws.Calls("StopTask")) != 0 {
		t.Errorf("stopped by a rule that is no more: %s", *task.LastStatus)
	}
}

// What ended by itself before the invented end was due has ended so.
func TestOwnEndStands(t *testing.T) {
	s := newSDKStack(t, Options{})
	arn := s.run(t, runA)
	s.aws.TaskOf(runA).Set("RUNNING")
	s.aws.TaskOf(runA).Set("STOPPED", fakeaws.Exit(3))
	s.add(t, front.Fault{Run: runA, Stop: &front.Stop{Code: "SpotInterruption"}})
	if task := s.describe(t, arn); task.StopCode != types.TaskStopCodeEssentialContainerExited || aws.ToInt32(task.Containers[0].ExitCode) != 3 {
		t.Errorf("its own end is told as %s", ended(task))
	}
}

func TestFailures(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{ID: "f", Run: runA, Count: 1, Failures: []front.Failure{{Reason: "RESOURCE:MEMORY", Detail: "d", ARN: "arn:x"}}})
	for range 2 { // by the same token, the same again
		out, err := s.ecs.RunTask(t.Context(), runInput(runA))
		if err != nil || len(out.Tasks) != 0 || len(out.Failures) != 1 || *out.Failures[0].Reason != "RESOURCE:MEMORY" || *out.Failures[0].Detail != "d" || *out.Failures[0].Arn != "arn:x" {
			t.Fatalf("%+v %v", out, err)
		}
	}
	other := runInput(runA)
	other.ClientToken = aws.String("another")
	if out, err := s.ecs.RunTask(t.Context(), other); err != nil || len(out.Tasks) != 1 {
		t.Errorf("after the failures: %+v %v", out, err)
	}
	if n := len(s.aws.Tasks()); n != 1 {
		t.Errorf("%d tasks", n)
	}
	effects := []front.Effect{}
	for _, c := range s.calls(front.Query{Operation: "RunTask", Run: runA}) {
		effects = append(effects, c.Effect)
	}
	if !slices.Equal(effects, []front.Effect{front.EffectNo, front.EffectNo, front.EffectYes}) {
		t.Errorf("effects: %v", effects)
	}
}

func TestLedgerKnowsRunsTasksAndEffects(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{Operation: "RunTask", Run: runB, Drop: front.DropReply, Count: 1})
	a := s.run(t, runA)
	s.run(t, runA)
	if _, err := s.ecs.RunTask(t.Context(), runInput(runB)); err == nil {
		t.Error("the reply was not lost")
	}
	b := s.aws.TaskOf(runB).ARN
	if _, err := s.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Tasks: []string{a, b}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Task: aws.String(s.aws.TaskOf(runB).ID())}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Task: aws.String("none")}); err == nil {
		t.Fatal("a task that is none was stopped")
	}
	got := []string{}
	for _, c := range s.calls(front.Query{}) {
		got = append(got, jsonText([]any{c.Operation, c.Run, c.Runs, c.Tasks, c.Effect, c.Status}))
	}
	want := []string{
		jsonText([]any{"RunTask", runA, nil, []string{a}, "true", 200}),
		jsonText([]any{"RunTask", runA, nil, nil, "false", 200}),
		jsonText([]any{"RunTask", runB, nil, []string{b}, "true", 0}),
		jsonText([]any{"DescribeTasks", runA, []string{runA, runB}, nil, "true", 200}),
		jsonText([]any{"StopTask", runB, nil, nil, "true", 200}),
		jsonText([]any{"StopTask", "", nil, nil, "false", 400}),
	}
	if !slices.Equal(got, want) {
		t.Errorf("ledger:\n%v\nwant\n%v", got, want)
	}
}

func TestReplayTellsStoppedTasksByStatus(t *testing.T) {
	s := newSDKStack(t, Options{})
	arn := s.run(t, runA)
	out, err := s.ecs.RunTask(t.Context(), runInput(runA))
	if err != nil || aws.ToString(out.Tasks[0].TaskArn) != arn || out.Tasks[0].Overrides == nil {
		t.Fatalf("alive: %+v %v", out, err)
	}
	check := func(what string) {
		t.Helper()
		out, err := s.ecs.RunTask(t.Context(), runInput(runA))
		if err != nil || len(out.Tasks) != 1 {
			t.Fatalf("%s: %+v %v", what, out, err)
		}
		bare := types.Task{TaskArn: &arn, LastStatus: aws.String("STOPPED")}
		if got := out.Tasks[0]; jsonText(got) != jsonText(bare) {
			t.Errorf("%s: %s", what, jsonText(got))
		}
	}
	s.aws.TaskOf(runA).Set("STOPPED")
	check("stopped")
	s.aws.TaskOf(runA).Hide()
	check("forgotten by ECS")
	if n := len(s.aws.Tasks()); n != 1 {
		t.Errorf("%d tasks", n)
	}
	other := runInput(runA)
	other.StartedBy = aws.String("faber/other")
	_, err = s.ecs.RunTask(t.Context(), other)
	var conflict *types.ConflictException
	if !errors.As(err, &conflict) || !slices.Equal(conflict.ResourceIds, []string{arn}) {
		t.Errorf("other parameters: %v", err)
	}
}

func TestStartedByIsAFilterOfItsOwn(t *testing.T) {
	s := newSDKStack(t, Options{})
	a := s.run(t, runA)
	out, err := s.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{StartedBy: aws.String("faber/pool"), MaxResults: aws.Int32(10)})
	if err != nil || !slices.Equal(out.TaskArns, []string{a}) {
		t.Errorf("alone: %v %v", out, err)
	}
	for name, in := range map[string]*ecs.ListTasksInput{
		"family": {Family: aws.String("f")}, "serviceName": {ServiceName: aws.String("s")}, "desiredStatus": {DesiredStatus: types.DesiredStatusRunning},
		"launchType": {LaunchType: types.LaunchTypeFargate}, "containerInstance": {ContainerInstance: aws.String("c")},
	} {
		in.StartedBy = aws.String("faber/pool")
		_, err := s.ecs.ListTasks(t.Context(), in)
		var refused smithy.APIError
		if !errors.As(err, &refused) || refused.ErrorCode() != "InvalidParameterException" || refused.ErrorMessage() != "cannot specify startedBy with other arguments" {
			t.Errorf("with %s: %v", name, err)
		}
	}
	if n := len(s.aws.Calls("ListTasks")); n != 1 {
		t.Errorf("%d calls passed, want 1", n)
	}
}
