package ecs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
)

// taskPID is a PID of a task whose id is 32 times a digit.
func taskPID(cluster, digit string) string {
	return cluster + "::arn:aws:ecs:eu-central-1:123456789012:task/" + cluster + "/" + strings.Repeat(digit, 32)
}

func TestDescribeCallsByTheHundred(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	var handles []launch.Handle
	for range 250 {
		handles = append(handles, launch.Handle{PID: taskPID("default", "1")}, launch.Handle{PID: taskPID("blue", "2")})
	}
	handles = append(handles, launch.Handle{PID: "4711"}, launch.Handle{PID: taskPID("gone", "3")})
	seen, err := l.Describe(t.Context(), handles)
	if err != nil || len(seen) != len(handles) {
		t.Fatalf("%d observations of %d, %v", len(seen), len(handles), err)
	}
	if got := len(f.Bodies("DescribeTasks")); got != 7 {
		t.Errorf("%d calls, want 3 + 3 + 1", got)
	}
}

func TestOneBadIdentifierHidesNoOther(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	live := mustLaunch(t, l, testJob())
	handles := []launch.Handle{live}
	for range 60 {
		handles = append(handles, launch.Handle{PID: live.PID[:strings.LastIndex(live.PID, "/")] + "/too-short"})
	}
	seen, err := l.Describe(t.Context(), handles)
	if err != nil || len(seen) != len(handles) {
		t.Fatalf("%d observations, %v", len(seen), err)
	}
	for _, o := range seen {
		if (o.Phase == launch.PhaseMissing) == (o.Handle.PID == live.PID) {
			t.Errorf("%s is %s", o.Handle.PID, o.Phase)
		}
	}
}

func TestDescribeErrorsKeepTheRest(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	f.Fail("DescribeTasks", fakeaws.Fault{Code: "AccessDeniedException", Message: "no"})
	seen, err := l.Describe(t.Context(), []launch.Handle{{PID: taskPID("default", "1")}, {PID: "junk"}})
	if err == nil || len(seen) != 1 {
		t.Errorf("%v, %v", seen, err)
	}
}

func TestAPlaceWithoutCredentialsHidesNoOther(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f, func(o *Options) {
		o.LoadConfig = func(ctx context.Context, options ...func(*config.LoadOptions) error) (aws.Config, error) {
			loaded, err := loadFrom(f)(ctx, options...)
			if loaded.Region == "eu-west-1" {
				return aws.Config{}, errors.New("no such profile")
			}
			return loaded, err
		}
	})
	live := mustLaunch(t, l, testJob())
	seen, err := l.Describe(t.Context(), []launch.Handle{{PID: strings.ReplaceAll(live.PID, fakeaws.Region, "eu-west-1")}, live})
	if err == nil || len(seen) != 1 || seen[0].Handle.PID != live.PID {
		t.Errorf("seen %v, %v", seen, err)
	}
}

func TestDeregistersAfterTheEnd(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	job := testJob(set(true, "auto_deregister_task_definition"))
	handle := mustLaunch(t, l, job)
	for range 5 {
		if _, err := l.Describe(t.Context(), []launch.Handle{handle}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(f.Bodies("DeregisterTaskDefinition")); got != 1 {
		t.Errorf("%d deregistrations", got)
	}
	job.ClaimID = "next"
	mustLaunch(t, l, job)
	if got := len(f.Bodies("RegisterTaskDefinition")); got != 2 {
		t.Errorf("%d registrations", got)
	}
}

func TestFindAfterARestart(t *testing.T) {
	f := newFakeAWS(t)
	first := newLauncher(t, f)
	pids := map[string]bool{}
	for _, claim := range []string{"a", "b", "c", "d", "e"} {
		job := testJob()
		job.ClaimID, job.FlowRunID = claim, "run-"+claim
		job.Env = []launch.EnvVar{{Name: envFlowRunID, Value: "run-" + claim}, {Name: envWorkerName, Value: "worker one"}}
		pids[mustLaunch(t, first, job).PID] = true
	}
	found, err := newLauncher(t, f).Find(t.Context(), testJob().Pool)
	if err != nil || len(found) != 5 {
		t.Fatalf("found %d, %v", len(found), err)
	}
	for _, h := range found {
		if !pids[h.PID] || h.FlowRunID != "run-"+h.ClaimID || h.WorkerName != "worker one" || h.StartedAt.IsZero() {
			t.Errorf("found %+v", h)
		}
	}
}

func TestFindInThePoolsCluster(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	job := testJob(set("blue", "cluster"), set("mine", "task_run_request", "startedBy"))
	job.Labels[tagPoolID] = job.Pool.ID
	handle := mustLaunch(t, l, job)

	pool := job.Pool
	pool.Configuration = map[string]any{"cluster": "blue", "task_run_request": map[string]any{"startedBy": "mine"}}
	found, err := newLauncher(t, f).Find(t.Context(), pool)
	if err != nil || len(found) != 1 || found[0].PID != handle.PID {
		t.Errorf("found %v, %v, want %q", found, err, handle.PID)
	}
	pool.Configuration["cluster"] = "{{ cluster }}"
	found, err = l.Find(t.Context(), pool)
	if err != nil || len(found) != 1 || !sameTask(found[0].PID, handle.PID) {
		t.Errorf("in a cluster that was launched in: %v, %v", found, err)
	}
	pool.ID = "another"
	if found, err := l.Find(t.Context(), pool); err != nil || len(found) != 0 {
		t.Errorf("in another pool: %v, %v", found, err)
	}
}

func TestStopReason(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	handle := mustLaunch(t, l, testJob())
	if err := l.Stop(t.Context(), handle, "cancelled", time.Second); err != nil {
		t.Fatal(err)
	}
	if got := f.Bodies("StopTask")[0]["reason"]; got != "Stopped by Prefect worker" {
		t.Errorf("reason %q", got)
	}
	f.Fail("StopTask", fakeaws.Fault{Code: "AccessDeniedException", Message: "no"})
	if err := l.Stop(t.Context(), handle, "", 0); err == nil {
		t.Error("a refused stop passed for done")
	}
}

func TestPhases(t *testing.T) {
	for status, want := range map[string]launch.Phase{
		"PROVISIONING": launch.PhaseStarting, "PENDING": launch.PhaseStarting, "ACTIVATING": launch.PhaseStarting, "RUNNING": launch.PhaseRunning,
		"DEACTIVATING": launch.PhaseStopping, "STOPPING": launch.PhaseStopping, "DEPROVISIONING": launch.PhaseStopping, "STOPPED": launch.PhaseStopped,
	} {
		if got := phaseOf(types.Task{LastStatus: aws.String(status)}); got != want {
			t.Errorf("%s is %s", status, got)
		}
	}
	if got := phaseOf(types.Task{LastStatus: aws.String("RUNNING"), DesiredStatus: aws.String("STOPPED")}); got != launch.PhaseStopping {
		t.Errorf("a running task that is to stop is %s", got)
	}
}

func TestATaskIsOverWhenItsContainersAre(t *testing.T) {
	ended := func(change func(*types.Task)) types.Task {
		task := types.Task{
			LastStatus: aws.String("DEPROVISIONING"), DesiredStatus: aws.String("STOPPED"), StopCode: types.TaskStopCodeEssentialContainerExited,
			StartedAt: aws.Time(time.Unix(1_700_000_000, 0)), ExecutionStoppedAt: aws.Time(time.Unix(1_700_000_060, 0)),
			Containers: []types.Container{
				{Name: aws.String("side"), LastStatus: aws.String("RUNNING")},
				{Name: aws.String("prefect"), LastStatus: aws.String("STOPPED"), ExitCode: aws.Int32(1)},
			},
		}
		change(&task)
		return task
	}
	for _, test := range []struct {
		name   string
		change func(*types.Task)
		want   launch.Phase
	}{
		{"and gives its network back", func(*types.Task) {}, launch.PhaseStopped},
		{"whatever the status says yet", func(task *types.Task) { task.LastStatus = aws.String("RUNNING") }, launch.PhaseStopped},
		{"not before it is to stop", func(task *types.Task) {
			task.LastStatus, task.DesiredStatus, task.StopCode = aws.String("RUNNING"), aws.String("RUNNING"), ""
		}, launch.PhaseRunning},
		{"not without a reason", func(task *types.Task) { task.StopCode = "" }, launch.PhaseStopping},
		{"not without an exit code", func(task *types.Task) { task.Containers[1].ExitCode = nil }, launch.PhaseStopping},
		{"not while it runs", func(task *types.Task) { task.Containers[1].LastStatus = aws.String("RUNNING") }, launch.PhaseStopping},
		{"not without containers", func(task *types.Task) { task.Containers = nil }, launch.PhaseStopping},
	} {
		t.Run(test.name, func(t *testing.T) {
			task := ended(test.change)
			o := observe(launch.Handle{}, task)
			if o.Phase != test.want || (o.Exit != nil) != (test.want == launch.PhaseStopped) {
				t.Fatalf("%s, exit %v", o.Phase, o.Exit)
			}
			if o.Exit != nil && (o.Exit.Kind != launch.ExitNonZero || *o.Exit.Code != 1 || !o.Exit.At.Equal(*task.ExecutionStoppedAt)) {
				t.Errorf("exit %+v", o.Exit)
			}
		})
	}
}

func TestReasonsReadAsOneSentence(t *testing.T) {
	exit := exitOf(types.Task{
		StopCode: types.TaskStopCodeTaskFailedToStart, StoppedReason: aws.String("Task failed to start."),
		Containers: []types.Container{{Name: aws.String("prefect"), Reason: aws.String("CannotPullContainerError: pull access denied.")}},
	})
	if want := "ECS task failed to start: Task failed to start; CannotPullContainerError: pull access denied"; exit.Message != want {
		t.Errorf("message %q", exit.Message)
	}
	started := aws.Time(time.Unix(1_700_000_000, 0))
	exit = exitOf(types.Task{StartedAt: started, StoppedReason: aws.String("Host gone."), Containers: []types.Container{{Name: aws.String("prefect")}}})
	if want := "The following containers stopped with a non-zero exit code: ['prefect'] (ECS task stopped: Host gone)"; exit.Message != want {
		t.Errorf("message %q", exit.Message)
	}
	if want := "Task terminated by infrastructure: Container(s) 'prefect' had no exit code, indicating the task was terminated"; !strings.HasPrefix(exit.Hint, want) {
		t.Errorf("hint %q", exit.Hint)
	}
}

func TestExits(t *testing.T) {
	container := func(name string, code *int32, reason string) types.Container {
		c := types.Container{Name: aws.String(name), ExitCode: code}
		if reason != "" {
			c.Reason = aws.String(reason)
		}
		return c
	}
	given := &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{{Name: aws.String("flow"), Environment: []types.KeyValuePair{{Name: aws.String(envFlowRunID), Value: aws.String("r")}}}}}
	ended, one, zero, killed := types.TaskStopCodeEssentialContainerExited, aws.Int32(1), aws.Int32(0), aws.Int32(137)
	now := aws.Time(time.Unix(1_700_000_000, 0))
	tests := []struct {
		name string
		task types.Task
		kind launch.ExitKind
		code int // -1: none
		want string
		hint string
	}{
		{"clean", types.Task{StopCode: ended, StartedAt: now, Containers: []types.Container{container("prefect", zero, "")}}, launch.ExitClean, 0, "exit code 0", ""},
		{"failed", types.Task{StopCode: ended, StartedAt: now, Containers: []types.Container{container("prefect", one, "")}}, launch.ExitNonZero, 1, "The following containers stopped with a non-zero exit code: ['prefect'] (exit code 1)", "log lines"},
		{"a sidecar failed", types.Task{StopCode: ended, StartedAt: now, Containers: []types.Container{container("side", one, ""), container("prefect", zero, "")}}, launch.ExitClean, 0, "", ""},
		{"a sidecar failed beside another name", types.Task{StopCode: ended, StartedAt: now, Overrides: given, Containers: []types.Container{container("prefect", one, ""), container("flow", zero, "")}}, launch.ExitClean, 0, "", ""},
		{"nobody knows which: all count", types.Task{StopCode: ended, StartedAt: now, Containers: []types.Container{container("a", zero, ""), container("b", one, "")}}, launch.ExitNonZero, 1, "['b'] (exit code 1)", ""},
		{"killed", types.Task{StopCode: ended, StartedAt: now, Memory: aws.String("512"), Containers: []types.Container{container("prefect", killed, "")}}, launch.ExitNonZero, 137, "(exit code 137, SIGKILL", "beyond the task's 512 MiB"},
		{"out of memory", types.Task{StopCode: ended, StartedAt: now, Containers: []types.Container{container("prefect", killed, "OutOfMemoryError: Container killed due to memory usage")}}, launch.ExitNonZero, 137, "OutOfMemoryError", "memory"},
		{"image", types.Task{StopCode: types.TaskStopCodeTaskFailedToStart, StoppedReason: aws.String("CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref x:1: not found")}, launch.ExitStartFailure, -1, "ECS task failed to start: CannotPullContainerError", "x:1 is not there"},
		{"pull limit", types.Task{StopCode: types.TaskStopCodeTaskFailedToStart, StoppedReason: aws.String("CannotPullContainerError: toomanyrequests: You have reached your pull rate limit")}, launch.ExitStartFailure, -1, "toomanyrequests", "ECR"},
		{"secret", types.Task{StopCode: types.TaskStopCodeTaskFailedToStart, StoppedReason: aws.String("ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: AccessDeniedException")}, launch.ExitStartFailure, -1, "ResourceInitializationError", "execution role"},
		{"no route", types.Task{StopCode: types.TaskStopCodeTaskFailedToStart, StoppedReason: aws.String("ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull registry auth from Amazon ECR: There is a connection issue between the task and Amazon ECR.")}, launch.ExitStartFailure, -1, "", "NAT gateway"},
		{"command", types.Task{StopCode: ended, StartedAt: now, Containers: []types.Container{container("prefect", aws.Int32(127), "CannotStartContainerError: Error response from daemon: exec: no such file")}}, launch.ExitStartFailure, 127, "CannotStartContainerError", "command"},
		{"never started", types.Task{StoppedReason: aws.String("Timeout waiting for network interface provisioning to complete."), Containers: []types.Container{container("prefect", nil, "")}}, launch.ExitStartFailure, -1, "network interface", "addresses"},
		{"Spot", types.Task{StopCode: types.TaskStopCodeSpotInterruption, StartedAt: now, StoppedReason: aws.String("Your Spot Task was interrupted."), Containers: []types.Container{container("prefect", killed, "")}}, launch.ExitInterrupted, 137, "Spot interrupted the task", "FARGATE"},
		{"maintenance", types.Task{StopCode: types.TaskStopCodeTerminationNotice, StartedAt: now}, launch.ExitInterrupted, -1, "out of service", ""},
		{"stopped by somebody", types.Task{StopCode: types.TaskStopCodeUserInitiated, StartedAt: now, StoppedReason: aws.String("Stopped by Prefect worker"), Containers: []types.Container{container("prefect", aws.Int32(143), "")}}, launch.ExitStopped, 143, "['prefect'] (ECS task was stopped: Stopped by Prefect worker)", "Container 'prefect' exited with code 143. Resolution: "},
		{"no code", types.Task{StopCode: ended, StartedAt: now, StoppedReason: aws.String("Essential container in task exited"), Containers: []types.Container{container("prefect", nil, "")}}, launch.ExitUnknown, -1, "(ECS task stopped: Essential container in task exited)", "stopped reason"},
		{"nothing at all", types.Task{StartedAt: now}, launch.ExitUnknown, -1, "unknown reason", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.task.StoppedAt = now
			exit := exitOf(test.task)
			code := -1
			if exit.Code != nil {
				code = *exit.Code
			}
			if exit.Kind != test.kind || code != test.code {
				t.Errorf("%s with code %d, want %s with %d", exit.Kind, code, test.kind, test.code)
			}
			if !strings.Contains(exit.Message, test.want) || !strings.Contains(exit.Hint, test.hint) {
				t.Errorf("message %q, hint %q", exit.Message, exit.Hint)
			}
			if !exit.At.Equal(*now) {
				t.Errorf("at %s", exit.At)
			}
		})
	}
}
