package awsfront

import (
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"faber/internal/front"
)

// The faults that act on tasks and events, before the emulator of the local
// stack and with the front's own events.
func TestRealFaults(t *testing.T) {
	s := startStack(t, 0)
	if _, err := s.ecs.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String("c")}); err != nil {
		t.Fatal(err)
	}
	queueURL := s.rule(t, "c")
	start := func(run string) string {
		t.Helper()
		in := s.runInput(t, "c", "")
		in.Tags[0].Value = &run
		out, err := s.ecs.RunTask(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return *out.Tasks[0].TaskArn
	}
	describe := func(arn string) *ecs.DescribeTasksOutput {
		t.Helper()
		out, err := s.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("c"), Tasks: []string{arn}})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	add := func(f front.Fault) {
		t.Helper()
		if _, err := s.front.Faults().Add(f); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("an invented end", func(t *testing.T) {
		arn := start(runA)
		if running := s.receive(t, queueURL, 1)[0]; running.Detail["lastStatus"] != "RUNNING" {
			t.Fatalf("%v", running.Detail)
		}
		code := 137
		add(front.Fault{Run: runA, Stop: &front.Stop{Code: "SpotInterruption", Reason: "Your Spot Task was interrupted.", ExitCode: &code}})
		task := describe(arn).Tasks[0]
		if *task.LastStatus != "STOPPED" || task.StopCode != "SpotInterruption" || *task.StoppedReason != "Your Spot Task was interrupted." || aws.ToInt32(task.Containers[0].ExitCode) != 137 {
			t.Errorf("described: %+v", task)
		}
		e := s.receive(t, queueURL, 1)[0]
		if e.Detail["lastStatus"] != "STOPPED" || e.Detail["stopCode"] != "SpotInterruption" || !slices.Equal(e.Resources, []string{arn}) {
			t.Errorf("event: %v", e.Detail)
		}
		if _, err := time.Parse(time.RFC3339, str(e.Detail["stoppedAt"])); err != nil {
			t.Error(err)
		}
	})
	t.Run("a hidden task and a lost event", func(t *testing.T) {
		add(front.Fault{ID: "hide", Run: runB, Hide: front.Forever})
		add(front.Fault{ID: "lose", Run: runB, LastStatus: "RUNNING", Event: front.EventDrop})
		arn := start(runB)
		if out := describe(arn); len(out.Tasks) != 0 || *out.Failures[0].Reason != "MISSING" {
			t.Errorf("described: %+v", out)
		}
		s.front.Faults().Remove("hide")
		if out := describe(arn); len(out.Tasks) != 1 {
			t.Errorf("described: %+v", out)
		}
		eventually(t, "the event is dropped", 20*time.Second, func() bool {
			if out, err := s.sqs.ReceiveMessage(t.Context(), receiveInput(queueURL, 0)); err != nil || len(out.Messages) > 0 {
				t.Fatalf("received %+v, %v", out, err)
			}
			return len(s.front.Ledger().Calls(front.Query{Fault: "lose"})) == 1
		})
		if _, err := s.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("c"), Task: &arn}); err != nil {
			t.Fatal(err)
		}
		if e := s.receive(t, queueURL, 1)[0]; e.Detail["lastStatus"] != "STOPPED" {
			t.Errorf("event: %v", e.Detail)
		}
	})
	t.Run("a repeated call after the end", func(t *testing.T) {
		in := s.runInput(t, "c", "token")
		first, err := s.ecs.RunTask(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: aws.String("c"), Task: first.Tasks[0].TaskArn}); err != nil {
			t.Fatal(err)
		}
		again, err := s.ecs.RunTask(t.Context(), in)
		if err != nil || len(again.Tasks) != 1 || *again.Tasks[0].TaskArn != *first.Tasks[0].TaskArn || *again.Tasks[0].LastStatus != "STOPPED" || again.Tasks[0].Overrides != nil {
			t.Errorf("%+v %v", again, err)
		}
	})
}
