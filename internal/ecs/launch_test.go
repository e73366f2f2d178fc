package ecs

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
)

var update = flag.Bool("update", false, "write golden files")

// golden compares a value with testdata/<name>.json.
func golden(t *testing.T, name string, got any) {
	t.Helper()
	encoded, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	encoded = append(encoded, '\n')
	file := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(file, encoded, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(encoded)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// testJob is a job with fixed ids, so that requests can be compared.
func testJob(changes ...func(map[string]any)) launch.Job {
	return launch.Job{
		FlowRunID:     "11111111-1111-4111-8111-111111111111",
		FlowRunName:   "tidy-fox",
		ClaimID:       "22222222-2222-4222-8222-222222222222",
		FlowID:        "33333333-3333-4333-8333-333333333333",
		DeploymentID:  "44444444-4444-4444-8444-444444444444",
		Pool:          launch.Pool{ID: "55555555-5555-4555-8555-555555555555", Name: "my pool"},
		WorkerName:    "w1",
		Configuration: resolved(changes...),
		Env: []launch.EnvVar{
			{Name: "PREFECT_API_URL", Value: "http://prefect/api"},
			{Name: "PREFECT__FLOW_RUN_ID", Value: "11111111-1111-4111-8111-111111111111"},
			{Name: "A", Value: ""},
		},
		Labels: map[string]string{"prefect.io/flow-run-id": "11111111-1111-4111-8111-111111111111", "prefect.io/flow-run-name": "it's a fox", "team": "data"},
		Log:    func(slog.Level, string) {},
	}
}

func mustLaunch(t *testing.T, l *Launcher, job launch.Job) launch.Handle {
	t.Helper()
	handle, err := l.Launch(t.Context(), job)
	if err != nil {
		t.Fatalf("launch: %v", err)
	}
	return handle
}

func mustFail(t *testing.T, l *Launcher, job launch.Job, kind launch.FailureKind, part string) *launch.Failure {
	t.Helper()
	_, err := l.Launch(t.Context(), job)
	var failure *launch.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("launch gave %v, want a failure", err)
	}
	if failure.Kind != kind || !strings.Contains(failure.Message, part) {
		t.Fatalf("failure is %s: %s\nwant %s: …%s…", failure.Kind, failure.Message, kind, part)
	}
	return failure
}

func TestDefaultRequests(t *testing.T) {
	f := newFakeAWS(t)
	handle := mustLaunch(t, newLauncher(t, f), testJob())
	golden(t, "default-definition", f.Bodies("RegisterTaskDefinition")[0])
	golden(t, "default-run-task", f.Bodies("RunTask")[0])
	if !strings.HasPrefix(handle.PID, "arn:aws:ecs:eu-central-1:123456789012:cluster/default::arn:aws:ecs:eu-central-1:123456789012:task/default/") {
		t.Errorf("pid %q", handle.PID)
	}
}

// everything sets each job variable there is.
func everything(c map[string]any) {
	withLogs(c)
	set("blue", "cluster")(c)
	set("blue", "task_run_request", "cluster")(c)
	set("main", "container_name")(c)
	set([]any{
		map[string]any{"name": "side", "image": "side:1", "essential": false, "cpu": 0.0},
		map[string]any{"name": "main", "image": "repo/flow:2", "environment": []any{
			map[string]any{"name": "PREFECT_API_KEY", "value": "x"}, map[string]any{"name": "KEEP", "value": ""}, map[string]any{"name": "GONE", "value": nil},
		}, "secrets": []any{map[string]any{"name": "PREFECT_API_KEY", "valueFrom": "old"}, map[string]any{"name": "DB", "valueFrom": "arn:db"}}},
	}, "task_definition", "containerDefinitions")(c)
	set("my.family", "task_definition", "family")(c)
	set(json.Number("512"), "task_definition", "cpu")(c)
	set("1024", "task_definition", "memory")(c)
	set(map[string]any{"cpuArchitecture": "ARM64", "operatingSystemFamily": nil}, "task_definition", "runtimePlatform")(c)
	set("prod", "cloudwatch_logs_prefix")(c)
	set(map[string]any{"awslogs-group": "flows"}, "cloudwatch_logs_options")(c)
	set("vpc-2", "vpc_id")(c)
	set(map[string]any{"subnets": []any{"subnet-c"}, "assignPublicIp": "DISABLED", "securityGroups": []any{"sg-1"}}, "network_configuration")(c)
	set("arn:aws:secretsmanager:eu-central-1:123456789012:secret:prefect-AbCdEf:PREFECT_API_KEY::", "prefect_api_key_secret_arn")(c)
	set(true, "auto_deregister_task_definition")(c)
	set("FARGATE_SPOT", "task_run_request", "launchType")(c)
	set(map[string]any{"team": "request", "cost": 12.0}, "task_run_request", "tags")(c)
	set(true, "task_run_request", "enableExecuteCommand")(c)
	set(map[string]any{
		"cpu": 512.0, "memory": 1024.0, "taskRoleArn": "arn:aws:iam::123456789012:role/task",
		"containerOverrides": []any{
			map[string]any{"name": "side", "command": "sleep '1 0'", "environment": map[string]any{"S": 1.0, "N": nil}},
			map[string]any{"name": "main", "command": "ignored", "cpu": "512", "memory": 1024.0, "environment": map[string]any{"A": "template", "B": "template"}},
		},
	}, "task_run_request", "overrides")(c)
}

func TestFullRequests(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	job := testJob(everything)
	job.Command = `prefect flow-run execute --name "two words"`
	job.Env = append(job.Env, launch.EnvVar{Name: "PREFECT_API_KEY", Value: "pnu_secret"})
	if err := l.Check(job); err != nil {
		t.Fatal(err)
	}
	handle := mustLaunch(t, l, job)
	golden(t, "full-definition", f.Bodies("RegisterTaskDefinition")[0])
	golden(t, "full-run-task", f.Bodies("RunTask")[0])
	if !strings.HasPrefix(handle.PID, "blue::arn:aws:ecs:") {
		t.Errorf("pid %q does not begin with the configured cluster", handle.PID)
	}
	everySent, _ := json.Marshal([]any{f.Bodies("RegisterTaskDefinition"), f.Bodies("RunTask")})
	if strings.Contains(string(everySent), "pnu_secret") {
		t.Error("the API key was sent in clear text")
	}
}

func TestPreviewIsWhatIsSent(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f, func(o *Options) { o.Region = fakeaws.Region })
	job := testJob(everything)
	preview, err := l.Preview(job)
	if err != nil {
		t.Fatal(err)
	}
	mustLaunch(t, l, job)
	if len(f.Bodies("DescribeVpcs")) != 1 {
		t.Error("the preview asked AWS")
	}
	sent := f.Bodies("RunTask")[0]
	sent["taskDefinition"] = "my-family"
	shown := map[string]any{}
	encoded, _ := json.Marshal(preview.RunTask)
	_ = json.Unmarshal(encoded, &shown)
	// Only a definition that was registered just now is marked for removal.
	sent["tags"] = slices.DeleteFunc(sent["tags"].([]any), func(t any) bool { return t.(map[string]any)["key"] == tagDeregister })
	if diff := cmp.Diff(shown, sent); diff != "" {
		t.Errorf("(-shown +sent):\n%s", diff)
	}
}

func TestDefinitionsAreUsedAgain(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	expect := func(when string, registered, described int) {
		t.Helper()
		if got := len(f.Bodies("RegisterTaskDefinition")); got != registered {
			t.Errorf("%s: %d registrations, want %d", when, got, registered)
		}
		if got := len(f.Bodies("DescribeTaskDefinition")); got != described {
			t.Errorf("%s: %d descriptions, want %d", when, got, described)
		}
	}
	next := 0
	run := func(l *Launcher, changes ...func(map[string]any)) {
		t.Helper()
		next++
		job := testJob(changes...)
		job.ClaimID = fmt.Sprint(next)
		mustLaunch(t, l, job)
	}
	run(l)
	run(l)
	expect("same content", 1, 1)
	run(l, set(2048.0, "task_definition", "cpu"), set(4096.0, "task_definition", "memory"))
	expect("other content", 2, 2)
	run(l)
	expect("first content again", 2, 2)

	fresh := newLauncher(t, f)
	run(fresh, set(2048.0, "task_definition", "cpu"), set(4096.0, "task_definition", "memory"))
	expect("after a restart, the latest", 2, 3)

	f.Deregister()
	run(fresh, set(2048.0, "task_definition", "cpu"), set(4096.0, "task_definition", "memory"))
	expect("after somebody deregistered it", 3, 4)
}

func TestManyLaunchesRegisterOnce(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	var wg sync.WaitGroup
	for i := range 15 {
		wg.Go(func() {
			job := testJob()
			job.ClaimID = fmt.Sprint(i)
			if _, err := l.Launch(t.Context(), job); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for op, want := range map[string]int{"RegisterTaskDefinition": 1, "DescribeTaskDefinition": 1, "DescribeVpcs": 1, "DescribeSubnets": 1, "RunTask": 15} {
		if got := len(f.Bodies(op)); got != want {
			t.Errorf("%d calls of %s, want %d", got, op, want)
		}
	}
}

func TestTaggingDefinitionsDenied(t *testing.T) {
	f := newFakeAWS(t)
	f.Fail("RegisterTaskDefinition", fakeaws.Fault{Code: "AccessDeniedException", Message: "User is not authorized to perform: ecs:TagResource"})
	mustLaunch(t, newLauncher(t, f), testJob())
	made := f.Bodies("RegisterTaskDefinition")
	if len(made) != 2 || made[0]["tags"] == nil || made[1]["tags"] != nil {
		t.Errorf("registrations: %v", made)
	}
}

func TestUserDefinition(t *testing.T) {
	f := newFakeAWS(t)
	f.PutDefinition(map[string]any{
		"family": "theirs", "networkMode": "awsvpc", "requiresCompatibilities": []any{"FARGATE"}, "cpu": "256", "memory": "512",
		"containerDefinitions": []any{map[string]any{"name": "flow", "secrets": []any{map[string]any{"name": "PREFECT_API_KEY", "valueFrom": "arn:s"}}}},
	})
	l := newLauncher(t, f, func(o *Options) { o.RefusePlaintextCredentials = true })
	for i, name := range []string{"theirs", "theirs:1", "arn:aws:ecs:eu-central-1:123456789012:task-definition/theirs:1", "theirs:1"} {
		var warned []string
		job := testJob(set(name, "task_run_request", "taskDefinition"))
		job.ClaimID = fmt.Sprint(i)
		job.Env = append(job.Env, launch.EnvVar{Name: "PREFECT_API_KEY", Value: "pnu_x"})
		job.Log = func(level slog.Level, message string) {
			if level == slog.LevelWarn {
				warned = append(warned, message)
			}
		}
		mustLaunch(t, l, job)
		if i == 0 && len(warned) != 1 {
			t.Errorf("warnings: %q", warned)
		}
	}
	last := f.Bodies("RunTask")[3]
	container := last["overrides"].(map[string]any)["containerOverrides"].([]any)[0].(map[string]any)
	if last["taskDefinition"] != "theirs:1" || container["name"] != "flow" {
		t.Errorf("request %v", last)
	}
	if got := len(f.Bodies("RegisterTaskDefinition")); got != 0 {
		t.Errorf("%d registrations", got)
	}
	if got := len(f.Bodies("DescribeTaskDefinition")); got != 3 {
		t.Errorf("%d descriptions, want 3: a revision is read once", got)
	}
	missing := testJob(set("nobodys", "task_run_request", "taskDefinition"))
	mustFail(t, l, missing, launch.FailurePermanent, "Unable to describe task definition. (There is no 'nobodys'.)")
}

func TestCredentialsInClearText(t *testing.T) {
	const arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:k-AbCdEf"
	job := testJob()
	job.Env = append(job.Env, launch.EnvVar{Name: "PREFECT_API_KEY", Value: "pnu_secret"}, launch.EnvVar{Name: "PREFECT_API_AUTH_STRING", Value: "admin:x"})

	t.Run("warned of once", func(t *testing.T) {
		f := newFakeAWS(t)
		l := newLauncher(t, f)
		var warned []string
		job := job
		job.Log = func(level slog.Level, message string) {
			if level == slog.LevelWarn {
				warned = append(warned, message)
			}
		}
		mustLaunch(t, l, job)
		job.ClaimID = "another"
		mustLaunch(t, l, job)
		if len(warned) != 1 || !strings.Contains(warned[0], "PREFECT_API_AUTH_STRING and PREFECT_API_KEY in clear text") || strings.Contains(warned[0], "pnu_secret") {
			t.Errorf("warnings %q", warned)
		}
	})
	t.Run("refused", func(t *testing.T) {
		f := newFakeAWS(t)
		failure := mustFail(t, newLauncher(t, f, func(o *Options) { o.RefusePlaintextCredentials = true }), job, launch.FailurePermanent, "refuses to send ECS PREFECT_API_AUTH_STRING and PREFECT_API_KEY in clear text")
		for _, way := range []string{"prefect_api_key_secret_arn", "--api-key-secret-arn", "FABER_API_KEY_SECRET_ARN", "prefect_api_auth_string_secret_arn", "--api-auth-string-secret-arn", "FABER_API_AUTH_STRING_SECRET_ARN"} {
			if !strings.Contains(failure.Hint, way) {
				t.Errorf("no %s in the hint %q", way, failure.Hint)
			}
		}
		if len(f.Bodies("RunTask")) != 0 {
			t.Errorf("%d RunTask", len(f.Bodies("RunTask")))
		}
	})
	t.Run("the worker's own secrets", func(t *testing.T) {
		f := newFakeAWS(t)
		l := newLauncher(t, f, func(o *Options) {
			o.SecretARN, o.AuthStringSecretARN, o.RefusePlaintextCredentials = arn, arn, true
		})
		job := job
		job.Configuration = resolved(withLogs)
		mustLaunch(t, l, job)
		sent, _ := json.Marshal([]any{f.Bodies("RegisterTaskDefinition"), f.Bodies("RunTask")})
		if strings.Contains(string(sent), "pnu_secret") || strings.Contains(string(sent), "admin:x") {
			t.Error("sent in clear text")
		}
		container := f.Bodies("RegisterTaskDefinition")[0]["containerDefinitions"].([]any)[0].(map[string]any)
		want := []any{map[string]any{"name": "PREFECT_API_KEY", "valueFrom": arn}, map[string]any{"name": "PREFECT_API_AUTH_STRING", "valueFrom": arn}}
		if diff := cmp.Diff(want, container["secrets"]); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("no ARN", func(t *testing.T) {
		if _, err := New(Options{SecretARN: "pnu_pasted_by_mistake"}); err == nil {
			t.Error("accepted")
		}
	})
}

func TestPlacement(t *testing.T) {
	strategy := []any{map[string]any{"capacityProvider": "mine", "weight": "1", "base": 0.0}}
	tests := []struct {
		name           string
		change         func(map[string]any)
		launchType     any
		strategy       any
		compatibility  any
		containerSized bool
	}{
		{"Fargate", set("FARGATE", "task_run_request", "launchType"), "FARGATE", nil, []any{"FARGATE"}, false},
		{"unset is Fargate", set(nil, "task_run_request", "launchType"), "FARGATE", nil, []any{"FARGATE"}, false},
		{"Spot", set("FARGATE_SPOT", "task_run_request", "launchType"), nil, []any{map[string]any{"capacityProvider": "FARGATE_SPOT", "weight": 1.0}}, []any{"FARGATE"}, false},
		{"a strategy of one's own", set(strategy, "task_run_request", "capacityProviderStrategy"), nil, []any{map[string]any{"capacityProvider": "mine", "weight": 1.0, "base": 0.0}}, []any{"FARGATE"}, false},
		{"EC2", set("EC2", "task_run_request", "launchType"), "EC2", nil, nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeAWS(t)
			mustLaunch(t, newLauncher(t, f), testJob(test.change))
			request, d := f.Bodies("RunTask")[0], f.Bodies("RegisterTaskDefinition")[0]
			if diff := cmp.Diff([]any{test.launchType, test.strategy, test.compatibility}, []any{request["launchType"], request["capacityProviderStrategy"], d["requiresCompatibilities"]}); diff != "" {
				t.Error(diff)
			}
			container := d["containerDefinitions"].([]any)[0].(map[string]any)
			if test.containerSized != (container["cpu"] == 1024.0 && container["memory"] == 2048.0) {
				t.Errorf("container %v", container)
			}
			if bridge := d["networkMode"] == nil; bridge != (request["networkConfiguration"] == nil) || bridge && len(f.Bodies("DescribeVpcs")) > 0 {
				t.Errorf("network mode %v with network %v", d["networkMode"], request["networkConfiguration"])
			}
		})
	}
}

func TestNetworks(t *testing.T) {
	subnets := func(names ...any) func(map[string]any) {
		return set(map[string]any{"subnets": names}, "network_configuration")
	}
	tests := []struct {
		name   string
		change []func(map[string]any)
		vpc    string
		want   string
	}{
		{"no default VPC", nil, "", "Failed to find the default VPC. Network configuration cannot be inferred. Pass an explicit `vpc_id` or configure a default VPC."},
		{"unknown VPC", []func(map[string]any){set("vpc-9", "vpc_id")}, "vpc-1", "An error occurred (InvalidVpcID.NotFound) when calling the DescribeVpcs operation: The vpc ID 'vpc-9' does not exist"},
		{"empty VPC", []func(map[string]any){set("vpc-3", "vpc_id")}, "vpc-1", "Failed to find subnets for VPC with ID vpc-3."},
		{"foreign subnet", []func(map[string]any){set("vpc-2", "vpc_id"), subnets("subnet-c", "subnet-a")}, "vpc-1", "Subnets ['subnet-c', 'subnet-a'] not found within VPC with ID vpc-2."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeAWS(t)
			f.DefaultVPC(test.vpc)
			f.AddVPC("vpc-3")
			failure := mustFail(t, newLauncher(t, f), testJob(test.change...), launch.FailurePermanent, test.want)
			if failure.Hint == "" {
				t.Error("no hint")
			}
		})
	}
	t.Run("the template's own", func(t *testing.T) {
		f := newFakeAWS(t)
		own := map[string]any{"awsvpcConfiguration": map[string]any{"subnets": []any{"subnet-x"}}}
		mustLaunch(t, newLauncher(t, f), testJob(set(own, "task_run_request", "networkConfiguration")))
		if diff := cmp.Diff(any(own), f.Bodies("RunTask")[0]["networkConfiguration"]); diff != "" || len(f.Bodies("DescribeVpcs")) != 0 {
			t.Error(diff)
		}
	})
	t.Run("a subnet that is gone is looked up again", func(t *testing.T) {
		f := newFakeAWS(t)
		l := newLauncher(t, f)
		mustLaunch(t, l, testJob())
		f.AddVPC("vpc-1", "subnet-new")
		f.Fail("RunTask", fakeaws.Fault{Code: "InvalidParameterException", Message: "The subnet ID 'subnet-a' does not exist"})
		job := testJob()
		job.ClaimID = "next"
		mustLaunch(t, l, job)
		made := f.Bodies("RunTask")
		network := made[len(made)-1]["networkConfiguration"].(map[string]any)["awsvpcConfiguration"].(map[string]any)
		if diff := cmp.Diff([]any{"subnet-new"}, network["subnets"]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDefinitionChecks(t *testing.T) {
	tests := []struct {
		name   string
		change []func(map[string]any)
		want   string
	}{
		{"container that is not there", []func(map[string]any){set("flow", "container_name")}, "Container 'flow' not found in task definition."},
		{"network mode", []func(map[string]any){set("bridge", "task_definition", "networkMode")}, "Found network mode 'bridge' which is not compatible with launch type 'FARGATE'. Use either the 'EC2' launch type or the 'awsvpc' network mode."},
		{
			"external",
			[]func(map[string]any){set("EXTERNAL", "task_run_request", "launchType"), set([]any{"EC2"}, "task_definition", "requiresCompatibilities")},
			"Task definition does not have 'FARGATE' in 'requiresCompatibilities' and cannot be used with launch type 'EXTERNAL'",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeAWS(t)
			l := newLauncher(t, f)
			job := testJob(test.change...)
			if err := l.Check(job); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("check gave %v", err)
			}
			mustFail(t, l, job, launch.FailurePermanent, test.want)
		})
	}
}

func TestPlace(t *testing.T) {
	here := func(o *Options) { o.Region = fakeaws.Region }
	inIreland := block(map[string]any{"region_name": "eu-west-1"})
	f := newFakeAWS(t)
	for _, test := range []struct {
		name string
		l    *Launcher
		job  launch.Job
		want string
	}{
		{"the default cluster", newLauncher(t, f, here), testJob(), "cluster default in eu-central-1"},
		{"the pool's cluster", newLauncher(t, f, here), testJob(set("blue", "cluster")), "cluster blue in eu-central-1"},
		{"the request's cluster", newLauncher(t, f, here), testJob(set("blue", "cluster"), set("green", "task_run_request", "cluster")), "cluster green in eu-central-1"},
		{"the credentials' region", newLauncher(t, f, here), testJob(set("blue", "cluster"), inIreland), "cluster blue in eu-west-1"},
		{"an ARN", newLauncher(t, f, here), testJob(set("arn:aws:ecs:eu-central-1:123456789012:cluster/blue", "cluster")), "cluster arn:aws:ecs:eu-central-1:123456789012:cluster/blue in eu-central-1"},
		{"no region known", newLauncher(t, f), testJob(), "cluster default"},
		{"a job that cannot be launched", newLauncher(t, f, here), testJob(set(1.0, "cluster")), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.l.Place(test.job); got != test.want {
				t.Errorf("place %q, want %q", got, test.want)
			}
		})
	}
	if calls := len(f.Bodies("RunTask")) + len(f.Bodies("DescribeTaskDefinition")); calls != 0 {
		t.Errorf("%d calls", calls)
	}
	l := newLauncher(t, f)
	mustLaunch(t, l, testJob())
	if got := l.Place(testJob()); got != "cluster default in eu-central-1" {
		t.Errorf("place %q once the machine's region is known", got)
	}
}
