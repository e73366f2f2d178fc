package ecs

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
)

// One queue serves several work pools, and workers of several kinds. Whoever
// reads a message tells all others, and needs no permission to see the task.
func TestEventsOfAllPoolsAreHandedOver(t *testing.T) {
	f := newFakeAWS(t)
	f.Fail("DescribeTasks", fakeaws.Fault{Code: "AccessDeniedException", Message: "no", Times: -1})
	l := listen(t, f)
	elsewhere := func(event map[string]any) { // in an account and a region of its own
		for _, key := range []string{"taskArn", "clusterArn"} {
			fakeaws.Detail(event)[key] = strings.NewReplacer(fakeaws.Account, "210987654321", fakeaws.Region, "us-east-1").Replace(fakeaws.Detail(event)[key].(string))
		}
	}
	python := func(event map[string]any) { delete(fakeaws.Detail(event), "startedBy") }
	for i, tt := range []struct {
		name string
		edit func(map[string]any)
		pool string
	}{
		{"this pool's", func(map[string]any) {}, testJob().Pool.ID},
		{"another pool's", func(map[string]any) {}, uuid.NewString()},
		{"in another account", elsewhere, uuid.NewString()},
		{"of a Python worker", python, ""},
	} {
		task := launchedElsewhere(t, f, func(job *launch.Job) {
			job.FlowRunID, job.Pool.ID = uuid.NewString(), tt.pool
			job.Env = []launch.EnvVar{{Name: envFlowRunID, Value: job.FlowRunID}, {Name: envWorkerName, Value: "their worker"}}
		})
		for _, status := range []string{"PENDING", "RUNNING", "STOPPED"} {
			task.Set(status)
			source := task.Tell("events", tt.edit)
			hint := nextHint(t, l)
			if hint.FlowRunID != task.FlowRunID() || hint.Event == nil || hint.Event.Name != "prefect.ecs.task."+strings.ToLower(status) || hint.Event.ID != source["id"] {
				t.Fatalf("%s: %s: hint %+v", tt.name, status, hint)
			}
			want := map[string]string{tagFlowRunID: task.FlowRunID(), tagWorkerName: "their worker"}
			if tt.pool != "" {
				want[tagPoolID] = tt.pool
			}
			if diff := cmp.Diff(want, hint.Event.Labels); diff != "" {
				t.Errorf("%s: labels (-want +got):\n%s", tt.name, diff)
			}
		}
		f.WaitDeleted(t, 30*time.Second, 3*(i+1), "events")
	}
}

func TestJunkGoesToTheDeadLetterQueue(t *testing.T) {
	f := newFakeAWS(t)
	f.AddQueue("events")
	f.AddQueue("dead")
	f.Redrive("events", "dead", 3)
	var log syncBuffer
	junk := []string{"not json", `{"detail-type": 1}`, `"text"`, `{"detail-type":"ECS Task State Change","detail":{"overrides":[]}}`}
	f.Send("events", junk...)
	metrics := prometheus.NewRegistry()
	l := newLauncher(t, f, func(o *Options) {
		o.Queue, o.Logger, o.Metrics = "events", slog.New(slog.NewTextHandler(&log, nil)), metrics
	})
	for run := range 25 { // nothing waits for the junk
		f.Send("events", taskEventBody(fmt.Sprint("run-", run)))
		if hint := nextHint(t, l); hint.FlowRunID != fmt.Sprint("run-", run) {
			t.Fatalf("hint %+v", hint)
		}
	}
	f.Wait(t, 30*time.Second, "all junk is in the dead-letter queue", func() bool { return f.Queued("dead") == len(junk) })
	f.WaitDeleted(t, 30*time.Second, 25, "events")
	if f.Queued("events") != 0 || slices.Contains(f.Deleted("events"), junk[0]) {
		t.Errorf("%d messages left, deleted %q", f.Queued("events"), f.Deleted("events"))
	}
	if got := l.EventStats(); got.Malformed != int64(len(junk)) || got.Handed != 25 {
		t.Errorf("counts %+v", got)
	}
	for outcome, want := range map[string]float64{"malformed": 4, "handed": 25, "foreign": 0, "received": 25 + 3*4} {
		if got := counted(t, metrics, outcome); got != want {
			t.Errorf("the metrics have %v messages %s, want %v", got, outcome, want)
		}
	}
	if n := log.count("is no event"); n != len(junk) {
		t.Errorf("warned %d times of %d messages", n, len(junk))
	}
}

func counted(t *testing.T, from prometheus.Gatherer, outcome string) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == "faber_event_messages_total" && metric.GetLabel()[0].GetValue() == outcome {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return -1
}

func TestJunkOfQueuesThatDoNotCount(t *testing.T) {
	f := newFakeAWS(t)
	url := f.AddQueue("events")
	receipt := map[string]any{"MessageId": "m", "ReceiptHandle": "r", "Body": "not json"} // and no attributes
	f.Fail("ReceiveMessage", fakeaws.Fault{Answer: map[string]any{"Messages": []any{receipt}}})
	newLauncher(t, f, func(o *Options) { o.Queue = url })
	if got := f.WaitCalls(t, 30*time.Second, 1, "DeleteMessageBatch"); len(f.Calls("ChangeMessageVisibilityBatch")) != 0 {
		t.Errorf("kept beside %d deletions", len(got))
	}
}

func TestAQueueThatIsMadeAnew(t *testing.T) {
	for _, by := range []string{"name", "URL"} {
		f := newFakeAWS(t)
		url := f.AddQueue("events")
		var log syncBuffer
		l := newLauncher(t, f, func(o *Options) {
			o.Queue, o.Logger = map[string]string{"name": "events", "URL": url}[by], slog.New(slog.NewTextHandler(&log, nil))
		})
		for round := range 3 {
			f.Send("events", taskEventBody(fmt.Sprint("run-", round)))
			if hint := nextHint(t, l); hint.FlowRunID != fmt.Sprint("run-", round) {
				t.Fatalf("hint %+v", hint)
			}
			f.WaitDeleted(t, 30*time.Second, 1, "events")
			f.RemoveQueue("events")
			eventually(t, "it is missed", func() bool { return log.count("does not exist") == round+1 })
			f.AddQueue("events")
		}
		if told := log.count("has appeared"); told != 2 { // the third has no message yet
			t.Errorf("told %d times that it is back", told)
		}
		if looks := len(f.Calls("GetQueueUrl")); by == "name" && looks < 3 {
			t.Errorf("it was looked up %d times", looks)
		}
	}
}

// A call that takes long is no reason to see its events again after minutes.
func TestADeletionMayTakeItsTime(t *testing.T) {
	f := newFakeAWS(t)
	f.AddQueue("events")
	f.Fail("DeleteMessageBatch", fakeaws.Fault{Delay: deleteTimeout + time.Second})
	l := newLauncher(t, f, func(o *Options) { o.Queue = "events" })
	f.Send("events", taskEventBody("run-1"))
	nextHint(t, l)
	f.WaitDeleted(t, 30*time.Second, 1, "events")
	if n := len(f.Calls("DeleteMessageBatch")); n != 1 {
		t.Errorf("%d deletions", n)
	}
}

// A worker that was away for an hour comes back to thousands of messages.
func TestABacklogIsWorkedOff(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes its time: calls to SQS have a limit of their own")
	}
	const backlog = 6000
	f := newFakeAWS(t)
	f.AddQueue("events")
	bodies := make([]string, backlog)
	for i := range bodies {
		bodies[i] = taskEventBody(fmt.Sprint("run-", i))
	}
	f.Send("events", bodies...)
	away := 15 * time.Millisecond // SQS within a region
	for _, op := range []string{"ReceiveMessage", "DeleteMessageBatch"} {
		f.Fail(op, fakeaws.Fault{Delay: away, Times: -1})
	}
	began := time.Now()
	l := newLauncher(t, f, func(o *Options) { o.Queue = "events" })
	seen := map[string]bool{}
	for range backlog {
		seen[nextHint(t, l).FlowRunID] = true
	}
	f.WaitDeleted(t, 60*time.Second, backlog, "events")
	t.Logf("%d events in %.1f s, with calls of %s", backlog, time.Since(began).Seconds(), away)
	if len(seen) != backlog {
		t.Errorf("%d of %d hints", len(seen), backlog)
	}
	if n := together(f.Calls("ReceiveMessage"), away); n != 1+maxHelpers {
		t.Errorf("at most %d receivers at once, want %d", n, 1+maxHelpers)
	}
}

// together is how many calls were under way at once at most, each of which took
// at least so long.
func together(calls []fakeaws.Call, each time.Duration) int {
	most := 0
	for i, call := range calls {
		n := 0
		for _, other := range calls[i:] {
			if other.At.Sub(call.At) < each {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}
