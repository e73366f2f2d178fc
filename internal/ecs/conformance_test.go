package ecs

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
	"faber/internal/launch/launchtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// resolved is the default base job template with no job variables set, as it
// comes out of resolution, and changes laid over it by path.
func resolved(changes ...func(map[string]any)) map[string]any {
	configuration := map[string]any{
		"env": map[string]any{},
		"task_definition": map[string]any{
			"containerDefinitions": []any{map[string]any{}},
		},
		"task_run_request": map[string]any{
			"launchType": "FARGATE",
			"overrides":  map[string]any{"containerOverrides": []any{map[string]any{}}},
		},
		"stream_output":                   false,
		"task_start_timeout_seconds":      0.0,
		"task_watch_poll_interval":        0.0,
		"auto_deregister_task_definition": false,
		"match_latest_revision_in_family": false,
	}
	for _, change := range changes {
		change(configuration)
	}
	return configuration
}

func set(value any, keys ...string) func(map[string]any) {
	return func(object map[string]any) {
		for _, key := range keys[:len(keys)-1] {
			object = object[key].(map[string]any)
		}
		object[keys[len(keys)-1]] = value
	}
}

func withLogs(configuration map[string]any) {
	configuration["configure_cloudwatch_logs"] = true
	configuration["execution_role_arn"] = "arn:aws:iam::123456789012:role/execution"
	set("arn:aws:iam::123456789012:role/execution", "task_definition", "executionRoleArn")(configuration)
}

func newLauncher(t testing.TB, f *fakeaws.Server, changes ...func(*Options)) *Launcher {
	t.Helper()
	o := Options{LoadConfig: loadFrom(f), maxBackoff: time.Millisecond, queueWait: time.Millisecond}
	for _, change := range changes {
		change(&o)
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(0) })
	return l
}

func TestConformance(t *testing.T) {
	var f *fakeaws.Server
	pool := launch.Pool{ID: uuid.NewString(), Name: "suite pool"}
	job := func(t *testing.T, changes ...func(map[string]any)) launch.Job {
		job := launchtest.NewJob(t, pool)
		job.Configuration = resolved(changes...)
		return job
	}
	launchtest.Run(t, launchtest.Harness{
		New: func(t *testing.T) launch.Launcher {
			f = newFakeAWS(t)
			f.AddQueue("events")
			return newLauncher(t, f, func(o *Options) { o.Queue = "events" })
		},
		Job: func(t *testing.T, script launchtest.Script) launch.Job {
			job := job(t, withLogs)
			f.Script(job.FlowRunID, fakeaws.Script(script))
			return job
		},
		MissingPID: "default::arn:aws:ecs:eu-central-1:123456789012:task/default/00000000000000000000000000000000",
		BadJob: func(t *testing.T) launch.Job {
			return job(t, set(map[string]any{"subnets": []any{"subnet-a"}}, "network_configuration"))
		},
		Unlaunchable: func(t *testing.T) launch.Job { return job(t, set("nowhere", "cluster")) },
		Started: func(t *testing.T, flowRunID string) int {
			n := 0
			for _, task := range f.Tasks() {
				if task.FlowRunID() == flowRunID {
					n++
				}
			}
			return n
		},
	})
}
