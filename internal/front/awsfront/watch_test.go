package awsfront

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/front"
)

const taskArn = "arn:aws:ecs:us-east-1:123456789012:task/c/1"

// watchStack is a front whose watch a test polls by hand.
type watchStack struct {
	*fakeStack
	tasks map[string]map[string]any
	sent  []map[string]any
}

func newWatchStack(t *testing.T, o Options) *watchStack {
	t.Helper()
	s := &watchStack{fakeStack: newFakeStack(t, o), tasks: map[string]map[string]any{}}
	s.front.watch.since = time.Now().Truncate(time.Second)
	s.ministack.says("ListClusters", `{"clusterArns":["arn:aws:ecs:us-east-1:123456789012:cluster/c"]}`)
	s.ministack.on("ListTasks", func(in map[string]any) (int, any) {
		arns := []string{}
		for arn, task := range s.tasks {
			if task["desiredStatus"] == in["desiredStatus"] {
				arns = append(arns, arn)
			}
		}
		return 200, map[string]any{"taskArns": arns}
	})
	s.ministack.on("DescribeTasks", func(in map[string]any) (int, any) {
		found, failures := []any{}, []any{}
		for _, arn := range in["tasks"].([]any) {
			if task := s.tasks[arn.(string)]; task != nil {
				found = append(found, task)
			} else {
				failures = append(failures, map[string]any{"arn": arn, "reason": "MISSING"})
			}
		}
		return 200, map[string]any{"tasks": found, "failures": failures}
	})
	s.rules(`{"source":["aws.ecs"]}`, `{"Id":"q","Arn":"arn:aws:sqs:us-east-1:123456789012:events"}`)
	s.ministack.says("GetQueueUrl", `{"QueueUrl":"http://q/events"}`)
	s.ministack.on("SendMessage", func(in map[string]any) (int, any) {
		s.sent = append(s.sent, in)
		return 200, map[string]any{"MessageId": "m"}
	})
	return s
}

// rules sets the one rule of the bus, beside one that is off.
func (s *watchStack) rules(pattern string, targets ...string) {
	s.ministack.on("ListRules", func(map[string]any) (int, any) {
		return 200, map[string]any{"Rules": []any{
			map[string]any{"Name": "off", "State": "DISABLED", "EventPattern": `{"source":["aws.ecs"]}`},
			map[string]any{"Name": "on", "State": "ENABLED", "EventPattern": pattern},
		}}
	})
	s.ministack.says("ListTargetsByRule", `{"Targets":[`+strings.Join(targets, ",")+`]}`)
}

func (s *watchStack) set(status, desired string, version int, more string) {
	task := map[string]any{
		"taskArn": taskArn, "clusterArn": "arn:aws:ecs:us-east-1:123456789012:cluster/c", "lastStatus": status, "desiredStatus": desired, "version": version,
		"launchType": "FARGATE", "containerInstanceArn": "arn:ci", "createdAt": 1767323045, "healthStatus": "UNKNOWN", "stopCode": "",
		"tags":       []any{map[string]any{"key": "k", "value": "v"}},
		"containers": []any{map[string]any{"name": "prefect", "lastStatus": status, "image": "i", "healthStatus": "UNKNOWN"}},
	}
	if more != "" {
		if err := json.Unmarshal([]byte(more), &task); err != nil {
			panic(err)
		}
	}
	s.tasks[taskArn] = task
}

// poll looks once and returns what was sent since: status/version of each.
func (s *watchStack) poll(t *testing.T) string {
	t.Helper()
	s.sent = nil
	if err := s.front.watch.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	told := []string{}
	for _, m := range s.sent {
		var e event
		if err := json.Unmarshal([]byte(m["MessageBody"].(string)), &e); err != nil {
			t.Fatal(err)
		}
		told = append(told, fmt.Sprintf("%v/%v", e.Detail["lastStatus"], e.Detail["version"]))
	}
	return strings.Join(told, " ")
}

func (s *watchStack) expect(t *testing.T, want string) {
	t.Helper()
	if got := s.poll(t); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestWatchTellsEachChangeOnce(t *testing.T) {
	s := newWatchStack(t, Options{})
	s.expect(t, "")
	s.set("PROVISIONING", "RUNNING", 1, "")
	s.expect(t, "PROVISIONING/1")
	s.expect(t, "")
	s.set("RUNNING", "RUNNING", 3, `{"startedAt":1767323050}`)
	s.expect(t, "RUNNING/3")
	s.set("STOPPED", "STOPPED", 6, `{"startedAt":1767323050,"stoppedAt":1767323060,"stopCode":"EssentialContainerExited"}`)
	s.expect(t, "STOPPED/6")
	described := s.ministack.count("DescribeTasks")
	s.expect(t, "")
	s.expect(t, "")
	if n := s.ministack.count("DescribeTasks"); n != described {
		t.Error("a task that is over is still looked at")
	}
	delete(s.tasks, taskArn)
	for range stoppedEvery {
		s.expect(t, "")
	}
	if n := len(s.front.watch.seen); n != 0 {
		t.Errorf("%d tasks are remembered that are gone", n)
	}
}

func TestWatchTellsWhatItMissed(t *testing.T) {
	s := newWatchStack(t, Options{})
	s.expect(t, "")
	s.front.watch.expect([]string{taskArn})
	s.set("STOPPED", "STOPPED", 6, fmt.Sprintf(`{"startedAt":1767323050,"stoppedAt":%d,"containers":[{"name":"prefect","exitCode":3,"lastStatus":"STOPPED"}]}`, time.Now().Unix()+1))
	s.expect(t, "RUNNING/1 STOPPED/6")
	var running event
	if err := json.Unmarshal([]byte(s.sent[0]["MessageBody"].(string)), &running); err != nil {
		t.Fatal(err)
	}
	if c := running.Detail["containers"].([]any)[0].(map[string]any); c["exitCode"] != nil || c["lastStatus"] != "RUNNING" || running.Detail["stoppedAt"] != nil {
		t.Errorf("running: %v", running.Detail)
	}
}

func TestWatchIsSilentAboutHistory(t *testing.T) {
	s := newWatchStack(t, Options{})
	s.set("STOPPED", "STOPPED", 6, `{"startedAt":1767323050,"stoppedAt":1767323060}`)
	s.expect(t, "")
}

func TestEventShape(t *testing.T) {
	s := newWatchStack(t, Options{})
	s.set("RUNNING", "RUNNING", 3, `{"startedAt":1767323050,"overrides":{"containerOverrides":[{"name":"prefect","command":["x"]}]},"startedBy":"faber/p","group":"family:f"}`)
	s.poll(t)
	got := map[string]any{}
	if err := json.Unmarshal([]byte(s.sent[0]["MessageBody"].(string)), &got); err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for name := range got {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := "account detail detail-type id region resources source time version"; strings.Join(names, " ") != want {
		t.Errorf("envelope has %v, want %s", names, want)
	}
	if _, err := time.Parse("2006-01-02T15:04:05Z", got["time"].(string)); err != nil {
		t.Error(err)
	}
	detail := got["detail"].(map[string]any)
	delete(detail, "updatedAt")
	text, err := json.Marshal(detail)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"clusterArn":"arn:aws:ecs:us-east-1:123456789012:cluster/c","containers":[{"image":"i","lastStatus":"RUNNING","name":"prefect"}],"createdAt":"2026-01-02T03:04:05.000Z","desiredStatus":"RUNNING","group":"family:f","lastStatus":"RUNNING","launchType":"FARGATE","overrides":{"containerOverrides":[{"command":["x"],"name":"prefect"}]},"startedAt":"2026-01-02T03:04:10.000Z","startedBy":"faber/p","taskArn":"` + taskArn + `","version":3}`
	if string(text) != want {
		t.Errorf("detail:\n%s\nwant\n%s", text, want)
	}
}

func TestDeliveryTargets(t *testing.T) {
	s := newWatchStack(t, Options{})
	queue := `"Arn":"arn:aws:sqs:us-east-1:123456789012:events"`
	s.rules(`{"detail":{"lastStatus":["RUNNING"]}}`,
		`{"Id":"constant",`+queue+`,"Input":"{\"a\":1}"}`,
		`{"Id":"part",`+queue+`,"InputPath":"$.detail.lastStatus"}`,
		`{"Id":"fifo",`+queue+`,"InputPath":"$.source","SqsParameters":{"MessageGroupId":"g"}}`,
		`{"Id":"transformer",`+queue+`,"InputTransformer":{"InputTemplate":"x"}}`,
		`{"Id":"lambda","Arn":"arn:aws:lambda:us-east-1:1:function:f"}`)
	s.set("PENDING", "RUNNING", 2, "")
	if err := s.front.watch.poll(t.Context()); err != nil || len(s.sent) != 0 {
		t.Fatalf("what the pattern does not match: %v %v", s.sent, err)
	}
	s.set("RUNNING", "RUNNING", 3, "")
	if err := s.front.watch.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	bodies := []string{}
	for _, m := range s.sent {
		bodies = append(bodies, m["MessageBody"].(string))
	}
	if want := []string{`{"a":1}`, `"RUNNING"`, `"aws.ecs"`}; !slices.Equal(bodies, want) {
		t.Errorf("sent %q, want %q", bodies, want)
	}
	if last := s.sent[len(s.sent)-1]; last["MessageGroupId"] != "g" || last["MessageDeduplicationId"] == nil {
		t.Errorf("to a FIFO queue: %v", last)
	}
}

func TestEventsWaitForTheQueue(t *testing.T) {
	s := newWatchStack(t, Options{})
	ctx := t.Context()
	working := s.ministack.answers["SendMessage"]
	s.ministack.on("SendMessage", func(map[string]any) (int, any) { return 500, map[string]any{"__type": "InternalError"} })
	s.set("RUNNING", "RUNNING", 3, "")
	if err := s.front.watch.poll(ctx); err == nil {
		t.Error("a queue that fails is no error")
	}
	s.ministack.on("SendMessage", working)
	s.expect(t, "RUNNING/3")
	s.expect(t, "")

	// Rules that cannot be read lose nothing either.
	rules := s.ministack.answers["ListRules"]
	s.ministack.on("ListRules", func(map[string]any) (int, any) { return 500, map[string]any{} })
	s.set("RUNNING", "STOPPED", 4, "")
	if err := s.front.watch.poll(ctx); err == nil {
		t.Error("rules that cannot be read are no error")
	}
	s.ministack.on("ListRules", rules)
	s.expect(t, "RUNNING/4")

	// A queue that does not exist does not come to be by waiting.
	s.ministack.on("GetQueueUrl", func(map[string]any) (int, any) {
		return 400, map[string]any{"__type": "com.amazonaws.sqs#QueueDoesNotExist"}
	})
	s.set("STOPPED", "STOPPED", 6, "")
	s.expect(t, "")
	s.ministack.says("GetQueueUrl", `{"QueueUrl":"http://q/events"}`)
	s.expect(t, "")
}

func TestEventFaults(t *testing.T) {
	s := newWatchStack(t, Options{})
	if _, err := s.front.Faults().Add(
		front.Fault{ID: "late", Service: "events", Count: 1, Delay: front.Duration(time.Hour)},
		front.Fault{ID: "lost", Service: "events", Operation: "Deliver", Request: `"STOPPED"`, Drop: front.DropRequest},
	); err != nil {
		t.Fatal(err)
	}
	s.set("PENDING", "RUNNING", 2, "")
	s.expect(t, "")
	s.set("RUNNING", "RUNNING", 3, "")
	s.expect(t, "RUNNING/3")
	for i := range s.front.watch.deliver.waiting {
		s.front.watch.deliver.waiting[i].due = time.Now()
	}
	s.expect(t, "PENDING/2")
	s.set("STOPPED", "STOPPED", 6, "")
	s.expect(t, "")
	calls := s.front.Ledger().Calls(front.Query{Service: "events", Operation: "Deliver"})
	told := []string{}
	for _, c := range calls {
		told = append(told, fmt.Sprintf("%d%s", c.Status, c.Fault))
	}
	if got := strings.Join(told, " "); got != "200 200 0lost" {
		t.Errorf("ledger of deliveries: %q", got)
	}
}

func TestDuplicates(t *testing.T) {
	s := newWatchStack(t, Options{DuplicateEvery: 2})
	s.set("PENDING", "RUNNING", 1, "")
	s.expect(t, "PENDING/1")
	s.set("RUNNING", "RUNNING", 2, "")
	s.expect(t, "RUNNING/2 RUNNING/2")
}

func TestRunSurvivesTheEmulator(t *testing.T) {
	s := newWatchStack(t, Options{PollInterval: time.Millisecond})
	sent := make(chan string, 100)
	s.ministack.on("SendMessage", func(in map[string]any) (int, any) {
		sent <- in["MessageBody"].(string)
		return 200, map[string]any{}
	})
	failed := make(chan struct{})
	s.ministack.on("ListClusters", func(map[string]any) (int, any) {
		s.ministack.says("ListClusters", `{"clusterArns":["arn:aws:ecs:us-east-1:123456789012:cluster/c"]}`)
		close(failed)
		return 500, map[string]any{}
	})
	s.set("RUNNING", "RUNNING", 1, "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.front.Run(ctx) }()
	<-failed
	if body := <-sent; !strings.Contains(body, taskArn) {
		t.Errorf("sent %s", body)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
}
