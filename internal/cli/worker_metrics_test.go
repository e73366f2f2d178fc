package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestMetricsFlagsOfTheWorker(t *testing.T) {
	for name, c := range map[string]struct {
		args, want string
	}{
		"no stack":        {"--metrics-transport emf", "CloudWatch metrics need the name of a stack"},
		"transport":       {"--metrics-transport statsd", `unknown --metrics-transport "statsd"`},
		"namespace":       {"--metrics-transport emf --stack s --metrics-namespace AWS/ECS", `--metrics-namespace "AWS/ECS" is none of CloudWatch's`},
		"defaults":        {"--work-pool-defaults [1]", "--work-pool-defaults is no JSON object"},
		"null as default": {"--work-pool-defaults null", "--work-pool-defaults is no JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			std, talk := testIO(t, map[string]string{"PREFECT_API_URL": "http://127.0.0.1:1/api"})
			code := Main(t.Context(), append(strings.Fields("worker start --pool p --type process"), strings.Fields(c.args)...), std)
			if code != exitUsage || !strings.Contains(talk.String(), c.want) {
				t.Errorf("exit code %d: %s", code, talk)
			}
		})
	}
}

// TestWorkerPublishesInTheEnd: what a worker counted stands on its stdout as one bare
// line, also when it ends within its first minute.
func TestWorkerPublishesInTheEnd(t *testing.T) {
	s := newStage(t, "process", `{}`)
	std, _ := testIO(t, map[string]string{
		"PREFECT_API_URL": s.toPrefect.url() + "/api", "FABER_STACK": "data", "FABER_METRICS_TRANSPORT": "emf", "FABER_LIMIT": "1",
	})
	talk, out := newWatched("Worker 'w1' started!"), &bytes.Buffer{}
	std.Err, std.Out = talk, out
	ctx, terminate := context.WithCancel(t.Context())
	defer terminate()
	ended := make(chan int, 1)
	go func() { ended <- Main(ctx, strings.Fields("worker start --pool p --type process --name w1"), std) }()
	select {
	case <-talk.seen:
	case <-time.After(30 * time.Second):
		t.Fatalf("the worker did not start: %s", talk)
	}
	terminate()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d: %s", code, talk)
	}
	found := 0
	for line := range strings.Lines(out.String()) {
		found++
		var document map[string]any
		if err := json.Unmarshal([]byte(line), &document); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if document["Stack"] != "data" || document["WorkPool"] != "p" || document["LaunchFailures"] != 0.0 || document["Backlog"] != nil {
			t.Errorf("%v", document)
		}
	}
	if found != 1 {
		t.Errorf("%d lines of metrics:\n%s", found, out)
	}
}
