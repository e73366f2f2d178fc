package ecs

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
)

// bigJob is a run of a deployment whose environment is longer than the overrides
// of a task may be.
func bigJob(run int, changes ...func(map[string]any)) launch.Job {
	job := testJob(changes...)
	job.FlowRunID = fmt.Sprintf("11111111-1111-4111-8111-%012d", run)
	job.FlowRunName = fmt.Sprintf("tidy-fox-%d", run)
	job.ClaimID = fmt.Sprintf("22222222-2222-4222-8222-%012d", run)
	job.Env = []launch.EnvVar{
		{Name: "PREFECT_API_URL", Value: "http://prefect/api"},
		{Name: "PREFECT__FLOW_RUN_ID", Value: job.FlowRunID},
		{Name: "PREFECT__WORKER_NAME", Value: fmt.Sprint("w", run)},
		{Name: "RESULTS", Value: "s3://bucket/" + job.FlowRunID},
		{Name: "DAY", Value: fmt.Sprint("day ", run), OfRun: true},
		{Name: "DB_PASSWORD", Value: "hunter2-hunter2"},
		{Name: "PREFECT_API_KEY", Value: "pnu_secret"},
		{Name: "EMPTY", Value: ""},
	}
	for i := range 9 {
		job.Env = append(job.Env, launch.EnvVar{Name: fmt.Sprint("SETTING_", i), Value: strings.Repeat("<ö>", 334)})
	}
	return job
}

// given is the environment that a container gets in the end.
func given(d *definition, request map[string]any, container string) map[string]string {
	out := map[string]string{}
	for _, defined := range d.containers {
		if aws.ToString(defined.Name) == container {
			for _, v := range defined.Environment {
				out[aws.ToString(v.Name)] = aws.ToString(v.Value)
			}
		}
	}
	overrides, _ := request["overrides"].(map[string]any)
	for _, override := range objects(overrides["containerOverrides"]) {
		if override["name"] == container {
			for _, v := range objects(override["environment"]) {
				out[stringField(v, "name")] = text(v["value"])
			}
		}
	}
	return out
}

func TestALongEnvironmentMovesIntoTheDefinition(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	for run := range 3 {
		job := bigJob(run)
		if err := l.Check(job); err != nil {
			t.Fatal(err)
		}
		mustLaunch(t, l, job)
		kept := f.Tasks()[run].Env("prefect")
		want := map[string]string{
			"PREFECT__FLOW_RUN_ID": job.FlowRunID, "PREFECT__WORKER_NAME": fmt.Sprint("w", run), "RESULTS": "s3://bucket/" + job.FlowRunID,
			"DAY": fmt.Sprint("day ", run), "DB_PASSWORD": "hunter2-hunter2", "PREFECT_API_KEY": "pnu_secret", "EMPTY": "",
		}
		if diff := cmp.Diff(want, kept); diff != "" {
			t.Errorf("run %d: overrides (-want +got):\n%s", run, diff)
		}
	}
	registered := f.Bodies("RegisterTaskDefinition")
	if len(registered) != 1 {
		t.Fatalf("%d registrations for three runs of a deployment", len(registered))
	}
	var moved []string
	for _, variable := range objects(objects(registered[0]["containerDefinitions"])[0]["environment"]) {
		moved = append(moved, variable["name"].(string))
	}
	if want := append([]string{"PREFECT_API_URL"}, settings(9)...); !slices.Equal(moved, want) {
		t.Errorf("moved %q, want %q", moved, want)
	}
	mustLaunch(t, newLauncher(t, f), bigJob(7))
	if n := len(f.Bodies("RegisterTaskDefinition")); n != 1 {
		t.Errorf("%d registrations after a restart", n)
	}
}

func settings(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprint("SETTING_", i))
	}
	return out
}

func TestEnvironmentThatNobodyCanMakeFit(t *testing.T) {
	ofRun := func(job launch.Job) launch.Job {
		for i := range job.Env {
			job.Env[i].OfRun = true
		}
		return job
	}
	users := "arn:aws:ecs:eu-central-1:123456789012:task-definition/mine:1"
	secrets := bigJob(1)
	for i := range secrets.Env {
		secrets.Env[i].Name = strings.Replace(secrets.Env[i].Name, "SETTING", "SECRET", 1)
	}
	for _, tt := range []struct {
		name    string
		job     launch.Job
		refuse  bool
		largest string
	}{
		{"it is the run's own", ofRun(bigJob(1)), false, "SETTING_0 (1033), SETTING_1 (1033), SETTING_2 (1033), SETTING_3 (1033), SETTING_4 (1033)"},
		{"the definition is the user's", bigJob(1, set(users, "task_run_request", "taskDefinition")), false, "SETTING_0 (1033), SETTING_1 (1033), SETTING_2 (1033), SETTING_3 (1033), SETTING_4 (1033)"},
		{"it is secret", secrets, true, "SECRET_0 (1032), SECRET_1 (1032), SECRET_2 (1032), SECRET_3 (1032), SECRET_4 (1032)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeAWS(t)
			f.PutDefinition(map[string]any{
				"family": "mine", "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": []any{"FARGATE"},
				"containerDefinitions": []any{map[string]any{"name": "prefect", "image": "i"}},
			})
			l := newLauncher(t, f, func(o *Options) { o.RefusePlaintextCredentials = tt.refuse })
			err := l.Check(tt.job)
			if err == nil {
				t.Fatal("the check finds nothing")
			}
			for _, part := range []string{"Container Overrides length must be at most 8192: this run has ", " characters. ", tt.largest} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q has no %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "SETTING_5") || strings.Contains(err.Error(), "ö") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q says too much", err)
			}
			if calls := f.Calls(); len(calls) != 0 {
				t.Errorf("the check made %d calls", len(calls))
			}
			failure := mustFail(t, l, tt.job, launch.FailurePermanent, tt.largest)
			if failure.Hint != tooLongHint {
				t.Errorf("hint %q", failure.Hint)
			}
			if n := len(f.Calls("RunTask", "RegisterTaskDefinition")); n != 0 {
				t.Errorf("%d calls that change something", n)
			}
		})
	}
}

func TestSecretsMoveOnlyWhereNothingElseHelps(t *testing.T) {
	f := newFakeAWS(t)
	job := bigJob(1)
	for i := range job.Env {
		job.Env[i].Name = strings.Replace(job.Env[i].Name, "SETTING", "SECRET", 1)
	}
	mustLaunch(t, newLauncher(t, f), job)
	kept := f.Tasks()[0].Env("prefect")
	if kept[envAPIKey] != "pnu_secret" {
		t.Error("the worker's own key is not in the overrides")
	}
	if _, stays := kept["SECRET_0"]; stays {
		t.Error("nothing moved")
	}
}

func TestECSCountsOtherwise(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	job := bigJob(1)
	job.Env = job.Env[:len(job.Env)-3]
	if err := l.Check(job); err != nil {
		t.Fatal(err)
	}
	f.Fail("RunTask", fakeaws.Fault{Code: "InvalidParameterException", Message: "Container Overrides length must be at most 8192"})
	mustLaunch(t, l, job)
	runs := f.Bodies("RunTask")
	if before, after := characters(runs[0]["overrides"]), characters(runs[1]["overrides"]); before > maxOverrides || after > before/2 {
		t.Errorf("overrides of %d characters, then of %d", before, after)
	}
	f.Fail("RunTask", fakeaws.Fault{Code: "InvalidParameterException", Message: "Container Overrides length must be at most 8192", Times: -1})
	job.ClaimID = "next"
	mustFail(t, l, job, launch.FailurePermanent, "Container Overrides length must be at most 8192")
}

// What a container gets is the same wherever it is written, and what is sent is
// short enough, whatever the environment.
func TestMovingChangesNoEnvironment(t *testing.T) {
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(0) })
	name := rapid.SampledFrom([]string{"A", "B", "C", "D", "PREFECT__FLOW_ID", "PREFECT_API_KEY", "DB_PASSWORD", "E<>&", envSigterm})
	value := rapid.Custom(func(t *rapid.T) string {
		return strings.Repeat(rapid.SampledFrom([]string{"", "x", "é", "<", `"`, "\n", "11111111-1111-4111-8111-111111111111"}).Draw(t, "of"), rapid.IntRange(0, 3000).Draw(t, "times"))
	})
	variables := rapid.Custom(func(t *rapid.T) []any {
		out := []any{}
		for range rapid.IntRange(0, 5).Draw(t, "variables") {
			out = append(out, map[string]any{"name": name.Draw(t, "name"), "value": value.Draw(t, "value")})
		}
		return out
	})
	rapid.Check(t, func(t *rapid.T) {
		job := testJob(
			set([]any{
				map[string]any{"name": "prefect", "image": "i", "environment": variables.Draw(t, "defined"), "secrets": []any{map[string]any{"name": name.Draw(t, "secret"), "valueFrom": "arn:s"}}},
				map[string]any{"name": "side", "image": "i", "environment": variables.Draw(t, "defined for the sidecar")},
			}, "task_definition", "containerDefinitions"),
			set([]any{
				map[string]any{"name": "prefect", "environment": variables.Draw(t, "templated")},
				map[string]any{"name": "side", "environment": variables.Draw(t, "templated for the sidecar")},
			}, "task_run_request", "overrides", "containerOverrides"),
		)
		job.Attempt = launch.Attempt{Rescheduled: rapid.Bool().Draw(t, "rescheduled")}
		taken := map[string]bool{}
		for range rapid.IntRange(0, 7).Draw(t, "of the job") {
			if v := (launch.EnvVar{Name: name.Draw(t, "name"), Value: value.Draw(t, "value"), OfRun: rapid.Bool().Draw(t, "of the run")}); !taken[v.Name] {
				job.Env, taken[v.Name] = append(job.Env, v), true
			}
		}
		c, err := parseConfiguration(job)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := l.buildDefinition(c, job, "")
		if err != nil {
			t.Fatal(err)
		}
		before, err := c.buildRequest(job, whole.as("d", false))
		if err != nil {
			t.Fatal(err)
		}
		fitted, problem := l.fitOverrides(c, job, whole)
		if problem != nil && !strings.Contains(problem.Error(), "length must be at most") {
			t.Fatal(problem)
		}
		after, err := c.buildRequest(job, fitted.as("d", false))
		if err != nil {
			t.Fatal(err)
		}
		if problem == nil && characters(after["overrides"]) > maxOverrides {
			t.Fatalf("%d characters are said to fit", characters(after["overrides"]))
		}
		for _, container := range []string{"prefect", "side"} {
			if diff := cmp.Diff(given(whole.as("d", false), before, container), given(fitted.as("d", false), after, container)); diff != "" {
				t.Fatalf("container %s (-before +after):\n%s", container, diff)
			}
		}
		checkDefinitionAlone(t, job, whole, fitted)
	})
}

// checkDefinitionAlone looks at what a definition may hold.
func checkDefinitionAlone(t *rapid.T, job launch.Job, before, after *built) {
	had := map[string]bool{}
	for _, variable := range before.environment() {
		had[text(variable["value"])] = true
	}
	for _, variable := range after.environment() {
		name, value := stringField(variable, "name"), text(variable["value"])
		if (isOwnCredential(name) || ofRun(name, value, job)) && !had[value] {
			t.Fatalf("%s was put into the definition", name)
		}
	}
	if slices.Sorted(maps.Keys(after.moved)) == nil && after.hash != before.hash {
		t.Fatal("another definition, and nothing was moved")
	}
}

func TestOverridesAreMeasuredAsTheyAreSent(t *testing.T) {
	f := newFakeAWS(t)
	job := testJob()
	job.Env = append(job.Env, launch.EnvVar{Name: "URL", Value: "https://x/?a=1&b=<2>"})
	sent := ""
	job.Log = func(_ slog.Level, _ string) {}
	f.Hook(func(call fakeaws.Call) {
		if call.Op == "RunTask" {
			sent = call.Header.Get("Content-Length")
		}
	})
	l := newLauncher(t, f)
	mustLaunch(t, l, job)
	encoded, err := encode(f.Bodies("RunTask")[0])
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprint(len(encoded)); sent != want {
		t.Errorf("sent %s bytes, want %s", sent, want)
	}
}
