package stack

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// fakeECS has one service, and its tasks in pages of two.
type fakeECS struct {
	ECS

	service ecstypes.Service
	tasks   []ecstypes.Task
}

func (f *fakeECS) DescribeServices(context.Context, *ecs.DescribeServicesInput, ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error) {
	return &ecs.DescribeServicesOutput{Services: []ecstypes.Service{f.service}}, nil
}

func (f *fakeECS) ListTasks(_ context.Context, in *ecs.ListTasksInput, _ ...func(*ecs.Options)) (*ecs.ListTasksOutput, error) {
	var from int
	_, _ = fmt.Sscan(aws.ToString(in.NextToken), &from)
	out := &ecs.ListTasksOutput{}
	for _, t := range f.tasks[from:min(from+2, len(f.tasks))] {
		out.TaskArns = append(out.TaskArns, *t.TaskArn)
	}
	if from+2 < len(f.tasks) {
		out.NextToken = aws.String(fmt.Sprint(from + 2))
	}
	return out, nil
}

func (f *fakeECS) DescribeTasks(_ context.Context, in *ecs.DescribeTasksInput, _ ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error) {
	out := &ecs.DescribeTasksOutput{}
	for _, t := range f.tasks {
		if slices.Contains(in.Tasks, *t.TaskArn) {
			out.Tasks = append(out.Tasks, t)
		}
	}
	return out, nil
}

func deployment(status, rollout string) ecstypes.Deployment {
	return ecstypes.Deployment{Status: aws.String(status), RolloutState: ecstypes.DeploymentRolloutState(rollout)}
}

func TestSteady(t *testing.T) {
	for name, c := range map[string]struct {
		service ecstypes.Service
		want    bool
	}{
		"as it should be":               {ecstypes.Service{DesiredCount: 1, RunningCount: 1, Deployments: []ecstypes.Deployment{deployment("PRIMARY", "COMPLETED")}}, true},
		"ECS says nothing of a rollout": {ecstypes.Service{DesiredCount: 1, RunningCount: 1, Deployments: []ecstypes.Deployment{deployment("PRIMARY", "")}}, true},
		"too few":                       {ecstypes.Service{DesiredCount: 2, RunningCount: 1, Deployments: []ecstypes.Deployment{deployment("PRIMARY", "COMPLETED")}}, false},
		"too many":                      {ecstypes.Service{DesiredCount: 1, RunningCount: 2, Deployments: []ecstypes.Deployment{deployment("PRIMARY", "COMPLETED")}}, false},
		"not yet over":                  {ecstypes.Service{DesiredCount: 1, RunningCount: 1, Deployments: []ecstypes.Deployment{deployment("PRIMARY", "IN_PROGRESS")}}, false},
		"old one there":                 {ecstypes.Service{DesiredCount: 1, RunningCount: 1, Deployments: []ecstypes.Deployment{deployment("PRIMARY", "COMPLETED"), deployment("ACTIVE", "")}}, false},
	} {
		s := &Stack{ECS: &fakeECS{service: c.service}}
		if service, err := s.ReadService(t.Context()); err != nil || service.Steady() != c.want {
			t.Errorf("%s: steady is %t, want %t (%v)", name, service.Steady(), c.want, err)
		}
	}
}

func TestStoppedTasksTellWhatItMeans(t *testing.T) {
	now := time.Now()
	task := func(id string, ago time.Duration, reason string) ecstypes.Task {
		return ecstypes.Task{
			TaskArn: aws.String("arn:aws:ecs:eu-west-1:123456789012:task/faber/" + id), LastStatus: aws.String("STOPPED"),
			StoppedAt: aws.Time(now.Add(-ago)), StopCode: "TaskFailedToStart", StoppedReason: aws.String(reason),
		}
	}
	s := &Stack{ECS: &fakeECS{tasks: []ecstypes.Task{
		task("a", 3*time.Minute, "something that nobody has heard of"),
		task("b", time.Minute, "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref registry/faber:1: not found"),
		task("c", 2*time.Minute, "something that nobody has heard of"),
	}}}
	stopped, err := s.StoppedTasks(t.Context())
	if err != nil || len(stopped) != 3 {
		t.Fatalf("%d tasks, %v", len(stopped), err)
	}
	if stopped[0].ID != "b" || stopped[1].ID != "c" || stopped[2].ID != "a" {
		t.Errorf("the newest is not first: %+v", stopped)
	}
	if stopped[0].Cause == "" || stopped[0].Hint == "" {
		t.Errorf("a cause that is known is not told: %+v", stopped[0])
	}
	if stopped[1].Cause != "" || stopped[1].Hint != "" {
		t.Errorf("a cause that is not known is guessed at: %+v", stopped[1])
	}
}

func TestOtherTasksAreNotTheServices(t *testing.T) {
	s := &Stack{ECS: &fakeECS{tasks: []ecstypes.Task{
		{TaskArn: aws.String("x/worker"), Group: aws.String("service:faber-worker")},
		{TaskArn: aws.String("x/run"), Group: aws.String("family:prefect_p_d")},
	}}}
	others, err := s.OtherTasks(t.Context())
	if err != nil || len(others) != 1 || others[0].ID != "run" {
		t.Errorf("%+v, %v", others, err)
	}
}

// lateLogs is a log group to which lines come late: with a time that was asked for
// already.
type lateLogs struct {
	begun time.Time
	asked int
}

func (l *lateLogs) FilterLogEvents(_ context.Context, in *cloudwatchlogs.FilterLogEventsInput, _ ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.FilterLogEventsOutput, error) {
	l.asked++
	event := func(id string, at time.Duration) logstypes.FilteredLogEvent {
		return logstypes.FilteredLogEvent{EventId: aws.String(id), Timestamp: aws.Int64(l.begun.Add(at).UnixMilli()), Message: aws.String(id)}
	}
	events := []logstypes.FilteredLogEvent{event("a", 0), event("c", 20*time.Second)}
	if l.asked > 2 {
		events = append(events, event("b", 10*time.Second), event("d", 21*time.Second))
	}
	events = slices.DeleteFunc(events, func(e logstypes.FilteredLogEvent) bool { return *e.Timestamp < *in.StartTime })
	return &cloudwatchlogs.FilterLogEventsOutput{Events: events}, nil
}

func TestFollowTellsEachLineOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := &Stack{Logs: &lateLogs{begun: time.Now()}}
		var got []string
		err := s.FollowLogs(ctx, "g", time.Now(), func(line Line) { got = append(got, line.Message) })
		if want := []string{"a", "c", "b", "d"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("told %v, %v; want %v", got, err, want)
		}
	})
}
