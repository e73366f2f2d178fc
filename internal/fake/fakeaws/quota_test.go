package fakeaws_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"faber/internal/fake/fakeaws"
)

func TestQuota(t *testing.T) {
	s, on := start(t)
	list := func() error {
		_, err := on.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{})
		return err
	}
	s.Quota("ListTasks", 3, 1.0/3600)
	for range 3 {
		if err := list(); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, list(), "ThrottlingException")
	if _, err := on.ecs.ListTaskDefinitions(t.Context(), &ecs.ListTaskDefinitionsInput{}); err != nil {
		t.Errorf("another operation: %v", err)
	}
	var marks []bool
	for _, call := range s.Calls("ListTasks") {
		marks = append(marks, call.Refused)
	}
	if len(marks) != 4 || marks[2] || !marks[3] {
		t.Errorf("refused: %v", marks)
	}
	s.Quota("ListTasks", 1, 1e9) // refills while the call is on its way
	for range 5 {
		if err := list(); err != nil {
			t.Error(err)
		}
	}
	s.Quota("ListTasks", 1, 0)
	if err := list(); err != nil {
		t.Error(err)
	}
	refused(t, list(), "ThrottlingException")
	s.Quota("ListTasks", 0, 0)
	if err := list(); err != nil {
		t.Errorf("without a quota: %v", err)
	}
}

func TestThrottledLaunchesHaveNoEffect(t *testing.T) {
	s, on := start(t)
	run(t, s, on)
	s.Quota("RunTask", 1, 0)
	next := func(token string) error {
		_, err := on.ecs.RunTask(t.Context(), request(func(r *ecs.RunTaskInput) { r.ClientToken = &token }))
		return err
	}
	if err := next("second"); err != nil {
		t.Fatal(err)
	}
	refused(t, next("third"), "ThrottlingException")
	if len(s.Tasks()) != 2 {
		t.Errorf("%d tasks", len(s.Tasks()))
	}
}

func TestPlay(t *testing.T) {
	ended := make(chan string, 2)
	t.Run("in a test", func(t *testing.T) {
		s, on := start(t)
		s.Play(func(ctx context.Context, task *fakeaws.Task) {
			task.Set("RUNNING")
			<-ctx.Done()
			ended <- task.ARN
		})
		task := run(t, s, on)
		s.Wait(t, patience, "the task runs", func() bool { return task.Status() == "RUNNING" })
	})
	select {
	case <-ended:
	default:
		t.Error("the test did not wait for the player")
	}
}
