package cli

import (
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
	talk, out, stop := startWorker(t, map[string]string{
		"PREFECT_API_URL": s.toPrefect.url() + "/api", "FABER_STACK": "data", "FABER_METRICS_TRANSPORT": "emf", "FABER_LIMIT": "1",
	}, "", 30*time.Second)
	if code := stop(); code != exitOK {
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
