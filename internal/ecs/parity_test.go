package ecs

import (
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
)

func TestUsersDefinitionNamesWhatIsIgnored(t *testing.T) {
	f := newFakeAWS(t)
	arn := f.PutDefinition(map[string]any{
		"family": "mine", "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": []any{"FARGATE"},
		"containerDefinitions": []any{map[string]any{"name": "flow", "image": "i"}},
	}).ARN
	l := newLauncher(t, f)
	var template map[string]any
	if err := json.Unmarshal(DefaultBaseJobTemplate(), &template); err != nil {
		t.Fatal(err)
	}
	job := testJob(set(arn, "task_run_request", "taskDefinition"))
	lines := logTo(&job)
	mustLaunch(t, l, job)
	if strings.Contains(lines(), "will be ignored") {
		t.Errorf("named without a template:\n%s", lines())
	}
	l.SetTemplate(template["job_configuration"].(map[string]any))
	job.ClaimID = "next"
	lines = logTo(&job)
	mustLaunch(t, l, job)
	want := `WARN Skipping task definition construction since a task definition ARN is provided.
WARN The following job variable references in the task definition template will be ignored: container_name, cpu, execution_role_arn, family, image, memory
INFO Using ECS task definition '` + arn + `'...
INFO Creating ECS task run...
INFO Created ECS task '` + f.Tasks()[1].ARN + `'
`
	var shown []string
	for line := range strings.Lines(lines()) {
		if level, _, _ := strings.Cut(line, " "); level == "WARN" || level == "INFO" {
			shown = append(shown, line)
		}
	}
	if diff := cmp.Diff(want, strings.Join(shown, "")); diff != "" {
		t.Error(diff)
	}
	if got := placeholders(map[string]any{"a": []any{"x {{ b }}-{{c.d[0]}}", "{{ $HOME }}", "{{ prefect.blocks.x.y }}", "{{not one", 5.0}}); !slices.Equal(got, []string{"$HOME", "b", "c.d[0]", "prefect.blocks.x.y"}) {
		t.Errorf("placeholders %q", got)
	}
}

func TestRequestsInTheLogHideCredentials(t *testing.T) {
	f := newFakeAWS(t)
	job := testJob(set([]any{map[string]any{"image": "i", "environment": []any{map[string]any{"name": envAuthString, "value": "admin:password"}}}}, "task_definition", "containerDefinitions"))
	job.Env = append(job.Env, launch.EnvVar{Name: envAPIKey, Value: "pnu_supersecret"}, launch.EnvVar{Name: "OTHER", Value: "shown-in-full"})
	lines := logTo(&job)
	mustLaunch(t, newLauncher(t, f), job)
	for _, part := range []string{"DEBUG Task definition request{", "DEBUG Task run request{", `"pnu_su***"`, `"admin:***"`, "shown-in-full"} {
		if !strings.Contains(lines(), part) {
			t.Errorf("misses %q in:\n%s", part, lines())
		}
	}
	for _, secret := range []string{"supersecret", "password"} {
		if strings.Contains(lines(), secret) {
			t.Errorf("shows %s", secret)
		}
	}
	if got := f.Tasks()[0].Env("prefect")[envAPIKey]; got != "pnu_supersecret" {
		t.Errorf("the task was given %q", got)
	}
}

func TestTheFirstContainerThatIsNotEmpty(t *testing.T) {
	f := newFakeAWS(t)
	job := testJob(set([]any{map[string]any{}, map[string]any{"name": "app", "image": "i"}, map[string]any{"name": "side", "image": "j"}}, "task_definition", "containerDefinitions"),
		set([]any{map[string]any{"environment": map[string]any{"X": 1.0, "GONE": nil}}}, "task_run_request", "overrides", "containerOverrides"))
	mustLaunch(t, newLauncher(t, f), job)
	override := objects(f.Bodies("RunTask")[0]["overrides"].(map[string]any)["containerOverrides"])
	if len(override) != 1 || override[0]["name"] != "app" {
		t.Fatalf("overrides %v", override)
	}
	if env := f.Tasks()[0].Env("app"); env["X"] != "1" || env["PREFECT__FLOW_RUN_ID"] == "" {
		t.Errorf("environment %v", env)
	}
	if _, ok := f.Tasks()[0].Env("app")["GONE"]; ok {
		t.Error("a null was sent")
	}
}

// TestTheJobsVariablesWin holds, too, that a name which the template has twice is
// sent twice, as Prefect's worker sends it: the container takes the last.
func TestTheJobsVariablesWin(t *testing.T) {
	variable := func(name, value string) map[string]any { return map[string]any{"name": name, "value": value} }
	job := testJob()
	job.Env = []launch.EnvVar{{Name: "Z", Value: "job"}, {Name: "A", Value: "job"}}
	got := jobEnvironment([]any{variable("X", "1"), variable("A", "template"), variable("Y", "1"), variable("X", "2")}, job, map[string]bool{})
	want := []any{variable("X", "1"), variable("Y", "1"), variable("X", "2"), variable("Z", "job"), variable("A", "job")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestExternal(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	for _, compatibilities := range []any{nil, []any{"EXTERNAL"}} {
		job := testJob(set("EXTERNAL", "task_run_request", "launchType"), set(compatibilities, "task_definition", "requiresCompatibilities"),
			set("512", "task_definition", "cpu"), set(nil, "task_definition", "memory"))
		if err := l.Check(job); err != nil {
			t.Fatal(err)
		}
		preview, err := l.Preview(job)
		if err != nil {
			t.Fatal(err)
		}
		container := objects(preview.TaskDefinition["containerDefinitions"])[0]
		if container["cpu"] != int64(512) || container["memory"] != int64(2048) || preview.TaskDefinition["cpu"] != "512" || preview.TaskDefinition["networkMode"] != nil {
			t.Errorf("definition %v", preview.TaskDefinition)
		}
		if preview.RunTask["launchType"] != "EXTERNAL" {
			t.Errorf("request %v", preview.RunTask)
		}
	}
}

func TestNetworkRefusals(t *testing.T) {
	own := set(map[string]any{"subnets": []any{"subnet-c", "subnet-x"}}, "network_configuration")
	for _, test := range []struct {
		name    string
		prepare func(*fakeaws.Server)
		change  []func(map[string]any)
		want    string
	}{
		{
			"no default VPC", func(f *fakeaws.Server) { f.DefaultVPC("") }, nil,
			"Failed to find the default VPC. Network configuration cannot be inferred. Pass an explicit `vpc_id` or configure a default VPC.",
		},
		{
			"no such VPC", nil,
			[]func(map[string]any){set("vpc-9", "vpc_id")},
			"An error occurred (InvalidVpcID.NotFound) when calling the DescribeVpcs operation: The vpc ID 'vpc-9' does not exist",
		},
		{
			"no such VPC for a network of one's own", nil,
			[]func(map[string]any){set("vpc-9", "vpc_id"), own},
			"An error occurred (InvalidVpcID.NotFound) when calling the DescribeVpcs operation: The vpc ID 'vpc-9' does not exist",
		},
		{"no subnets", func(f *fakeaws.Server) { f.AddVPC("vpc-1") }, nil, "Failed to find subnets for the default VPC. Network configuration cannot be inferred."},
		{
			"subnets of another VPC", nil,
			[]func(map[string]any){set("vpc-2", "vpc_id"), own},
			"Subnets ['subnet-c', 'subnet-x'] not found within VPC with ID vpc-2.Please check that VPC is associated with supplied subnets.",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeAWS(t)
			if test.prepare != nil {
				test.prepare(f)
			}
			failure := mustFail(t, newLauncher(t, f), testJob(test.change...), launch.FailurePermanent, test.want)
			if failure.Message != test.want || failure.Hint == "" {
				t.Errorf("message %q, hint %q", failure.Message, failure.Hint)
			}
		})
	}
}

func TestAYoungSubnetIsFound(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	in := func(subnet, claim string) launch.Job {
		job := testJob(set("vpc-2", "vpc_id"), set(map[string]any{"subnets": []any{subnet}}, "network_configuration"))
		job.ClaimID = claim
		return job
	}
	mustLaunch(t, l, in("subnet-c", "1"))
	f.AddVPC("vpc-2", "subnet-c", "subnet-new")
	mustLaunch(t, l, in("subnet-new", "2"))
	mustLaunch(t, l, in("subnet-c", "3"))
	if got := len(f.Calls("DescribeSubnets")); got != 2 {
		t.Errorf("%d looks at the subnets", got)
	}
}

func TestInferredNetworkIsToldOnce(t *testing.T) {
	f := newFakeAWS(t)
	var log syncBuffer
	l := newLauncher(t, f, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for _, claim := range []string{"1", "2"} {
		job := testJob()
		job.ClaimID = claim
		mustLaunch(t, l, job)
	}
	if got := log.count("tasks get public addresses"); got != 1 {
		t.Errorf("told %d times", got)
	}
	if got := len(f.Calls("DescribeVpcs", "DescribeSubnets", "DescribeTaskDefinition")); got != 3 {
		t.Errorf("%d look-ups for two equal runs", got)
	}
}

func TestUnknownNetworkFieldIsNamed(t *testing.T) {
	err := newLauncher(t, newFakeAWS(t)).Check(testJob(set("vpc-1", "vpc_id"), set(map[string]any{"subnet": "s"}, "network_configuration")))
	if err == nil || err.Error() != "Parameter validation failed:\nUnknown parameter in networkConfiguration.awsvpcConfiguration: \"subnet\" (job_configuration.network_configuration.subnet: is no field that ECS knows)" {
		t.Errorf("said %v", err)
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	err := newLauncher(t, newFakeAWS(t)).Check(testJob(set("flow", "container_name"), set("x", "task_run_request", "launchTypo"),
		set("vpc-1", "vpc_id"), set(map[string]any{"subnet": "s"}, "network_configuration")))
	for _, part := range []string{"Container 'flow' not found in task definition.", "task_run_request.launchTypo", "network_configuration.subnet"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("misses %q in %v", part, err)
		}
	}
	err = newLauncher(t, newFakeAWS(t)).Check(testJob(set(5.0, "cluster"), set(map[string]any{"a": "b"}, "cloudwatch_logs_options")))
	for _, part := range []string{"cluster\n  Input should be a valid string", "`configure_cloudwatch_log` must be enabled"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("misses %q in %v", part, err)
		}
	}
}

func TestThrottlingInDisguise(t *testing.T) {
	static := block(map[string]any{"aws_access_key_id": "AKIA", "aws_secret_access_key": "s", "aws_session_token": "t"})
	for _, test := range []struct {
		op    string
		fault fakeaws.Fault
		job   launch.Job
		kind  launch.FailureKind
		want  string
	}{
		{"RunTask", fakeaws.Fault{Code: "InvalidParameterException", Message: "Error retrieving subnet information for [subnet-a]: Rate exceeded (ErrorCode: RequestLimitExceeded)"}, testJob(), launch.FailureRetry, "Rate exceeded"},
		{"RegisterTaskDefinition", fakeaws.Fault{Code: "ClientException", Message: "Too many concurrent attempts to create a new revision of the specified family."}, testJob(), launch.FailureRetry, "Too many concurrent attempts"},
		{"RunTask", fakeaws.Fault{Code: "InvalidParameterException", Message: "The security group 'sg-1' does not exist"}, testJob(), launch.FailurePermanent, "Failed to run ECS task due to a network configuration error. Verify the subnets and security groups in your work pool's network configuration are valid and belong to the expected VPC. (The security group"},
		{"RunTask", fakeaws.Fault{Code: "ExpiredTokenException", Message: "The security token included in the request is expired"}, testJob(), launch.FailureRetry, "expired"},
		{"RunTask", fakeaws.Fault{Code: "ExpiredTokenException", Message: "The security token included in the request is expired"}, testJob(static), launch.FailurePermanent, "AWS does not accept the work pool's credentials any more"},
	} {
		f := newFakeAWS(t)
		test.fault.Times = -1
		f.Fail(test.op, test.fault)
		failure := mustFail(t, newLauncher(t, f, func(o *Options) { o.patience = 100 * time.Millisecond }), test.job, test.kind, "")
		if said := failure.Message + " " + failure.Hint; !strings.Contains(said, test.want) {
			t.Errorf("said %q, want …%s…", said, test.want)
		}
	}
}

func TestEverythingIsSaidToAssumeRole(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	job := testJob(block(map[string]any{
		"assume_role_arn": "arn:aws:iam::1:role/r",
		"assume_role_kwargs": map[string]any{
			"RoleSessionName": "mine", "DurationSeconds": "900", "ProvidedContexts": []any{map[string]any{"ProviderArn": "arn:p", "ContextAssertion": "a"}},
			"PolicyArns": []any{map[string]any{"arn": "arn:policy"}}, "TransitiveTagKeys": []any{"k"}, "SourceIdentity": "me", "Policy": "{}", "Made": "up",
		},
	}))
	lines := logTo(&job)
	mustLaunch(t, l, job)
	asked := f.Bodies("AssumeRole")[0]
	for name, want := range map[string]string{
		"RoleSessionName": "mine", "DurationSeconds": "900", "ProvidedContexts.member.1.ProviderArn": "arn:p", "ProvidedContexts.member.1.ContextAssertion": "a",
		"PolicyArns.member.1.arn": "arn:policy", "TransitiveTagKeys.member.1": "k", "SourceIdentity": "me", "Policy": "{}",
	} {
		if asked[name] != want {
			t.Errorf("%s is %v, want %s", name, asked[name], want)
		}
	}
	if !strings.Contains(lines(), "WARN job_configuration.aws_credentials.assume_role_kwargs.Made: has no effect: AssumeRole has no such argument") {
		t.Errorf("log:\n%s", lines())
	}
}

func TestCredentialsThatCannotBeHonoured(t *testing.T) {
	client := func(fields map[string]any) map[string]any { return map[string]any{"aws_client_parameters": fields} }
	config := func(fields map[string]any) map[string]any { return client(map[string]any{"config": fields}) }
	for _, test := range []struct {
		block    map[string]any
		problems []string
		warnings []string
	}{
		{client(map[string]any{"use_ssl": false}), []string{"use_ssl: AWS is only spoken to over TLS"}, nil},
		{client(map[string]any{"use_ssl": false, "endpoint_url": "http://localhost:1"}), nil, nil},
		{client(map[string]any{"api_version": "2014-11-13", "more": 1.0}), nil, []string{"api_version: has no effect", "more: has no effect"}},
		{client(map[string]any{"verify": 5.0}), []string{"verify: Input should be a valid boolean"}, nil},
		{config(map[string]any{"retries": map[string]any{"max_attempts": -1.0, "mode": "adaptive", "x": 1.0}}), []string{"retries.max_attempts: must be", "retries.x: is no option"}, nil},
		{
			config(map[string]any{"nonsense": 1.0, "connect_timeout": "soon", "client_cert": 1.0, "signature_version": "v2"}),
			[]string{"nonsense: is no option of botocore's Config", "connect_timeout: must be a number of seconds", "client_cert: must be", "signature_version: is not supported"},
			nil,
		},
		{config(map[string]any{"ignore_configured_endpoint_urls": true, "proxies_config": map[string]any{"a": "b"}}), []string{"ignore_configured_endpoint_urls: is not supported", "proxies_config: is not supported"}, nil},
		{config(map[string]any{"max_pool_connections": 50.0, "tcp_keepalive": true, "ignore_configured_endpoint_urls": false, "read_timeout": nil}), nil, []string{"max_pool_connections: has no effect", "tcp_keepalive: has no effect"}},
		{
			map[string]any{"assume_role_arn": "arn:r", "assume_role_kwargs": map[string]any{"DurationSeconds": "long", "Tags": "t", "TokenCode": "123456"}},
			[]string{"DurationSeconds: must be a whole number", "Tags: must be a list"},
			[]string{"TokenCode: serves once"},
		},
	} {
		r := &reader{}
		parseCredentials(r, test.block)
		var problems []string
		for _, problem := range r.problems {
			problems = append(problems, problem.field+": "+problem.text)
		}
		if !eachIn(test.problems, problems) || !eachIn(test.warnings, r.warnings) {
			t.Errorf("%v: problems %q, warnings %q", test.block, problems, r.warnings)
		}
	}
}

// eachIn reports whether the texts are parts of the lines, one of each.
func eachIn(parts, lines []string) bool {
	if len(parts) != len(lines) {
		return false
	}
	for _, part := range parts {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, part) }) {
			return false
		}
	}
	return true
}

func TestCredentialsThatAreHonoured(t *testing.T) {
	r := &reader{}
	got := parseCredentials(r, map[string]any{"aws_client_parameters": map[string]any{
		"verify": "/ca.pem", "config": map[string]any{
			"region_name": "eu-west-3", "connect_timeout": 1.5, "read_timeout": "7", "retries": map[string]any{"max_attempts": 4.0},
			"proxies": map[string]any{"https": "proxy:3128"}, "client_cert": []any{"/c.pem", "/k.pem"}, "use_fips_endpoint": true, "use_dualstack_endpoint": "false",
			"user_agent_appid": "app", "user_agent_extra": "team/data", "signature_version": "unsigned",
		},
	}})
	no, yes := false, true
	want := credentials{Region: "eu-west-3", CAFile: "/ca.pem", Client: clientConfig{
		ConnectTimeout: 1500 * time.Millisecond, ReadTimeout: 7 * time.Second, Attempts: 5, Proxies: map[string]string{"https": "http://proxy:3128"},
		CertFile: "/c.pem", KeyFile: "/k.pem", FIPS: &yes, DualStack: &no, AppID: "app", UserAgent: "team/data", Unsigned: true,
	}}
	if diff := cmp.Diff(want, got); diff != "" || len(r.problems)+len(r.warnings) > 0 {
		t.Errorf("%s %v %v", diff, r.problems, r.warnings)
	}
	for verify, want := range map[any]credentials{false: {SkipVerify: true}, "off": {SkipVerify: true}, true: {CAFile: "/own.pem"}, "/other.pem": {CAFile: "/own.pem"}} {
		got := parseCredentials(&reader{}, map[string]any{"aws_client_parameters": map[string]any{"verify": verify, "verify_cert_path": "/own.pem"}})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("verify %v: %s", verify, diff)
		}
	}
}

func TestClientConfigReachesTheCalls(t *testing.T) {
	f := newFakeAWS(t)
	f.Fail("RunTask", fakeaws.Fault{Status: 500, Code: "ServerException", Message: "x", Times: 4})
	with := func(config map[string]any) func(map[string]any) {
		return block(map[string]any{
			"aws_access_key_id": "AKIA", "aws_secret_access_key": "s",
			"aws_client_parameters": map[string]any{"endpoint_url": f.URL, "config": config},
		})
	}
	mustLaunch(t, newLauncher(t, f), testJob(with(map[string]any{"retries": map[string]any{"total_max_attempts": 5.0}, "user_agent_appid": "my-app", "user_agent_extra": "team-data", "connect_timeout": 3.0, "read_timeout": 9.0})))
	if got := len(f.Calls("RunTask")); got != 5 {
		t.Errorf("%d attempts", got)
	}
	if agent := last(t, f, "RunTask").Header.Get("User-Agent"); !strings.Contains(agent, "app/my-app") || !strings.Contains(agent, "team-data") {
		t.Errorf("user agent %q", agent)
	}
	unsigned := testJob(with(map[string]any{"signature_version": "unsigned"}))
	unsigned.ClaimID = "unsigned"
	mustLaunch(t, newLauncher(t, f), unsigned)
	if got := last(t, f, "RunTask").Header.Get("Authorization"); got != "" {
		t.Errorf("signed: %q", got)
	}
	proxied := testJob(with(map[string]any{"proxies": map[string]any{"http": strings.TrimPrefix(f.URL, "http://")}}))
	proxied.Configuration["aws_credentials"].(map[string]any)["aws_client_parameters"].(map[string]any)["endpoint_url"] = "http://ecs.invalid"
	proxied.ClaimID = "proxied"
	mustLaunch(t, newLauncher(t, f), proxied)
	if got := last(t, f, "RunTask").Host; got != "ecs.invalid" {
		t.Errorf("called %q", got)
	}
}

func TestCredentialsOfNoUseEndTheRun(t *testing.T) {
	f := newFakeAWS(t)
	client := func(fields map[string]any) func(map[string]any) {
		return block(map[string]any{"aws_client_parameters": fields})
	}
	for want, change := range map[string]func(map[string]any){
		"The config profile (nobody) could not be found": block(map[string]any{"profile_name": "nobody"}),
		"read CA certificates":                           client(map[string]any{"verify_cert_path": "/none.pem"}),
		"read client certificate":                        client(map[string]any{"config": map[string]any{"client_cert": "/none.pem"}}),
	} {
		if failure := mustFail(t, newLauncher(t, f), testJob(change), launch.FailurePermanent, want); failure.Hint == "" {
			t.Errorf("no hint for %s", failure.Message)
		}
	}
}

func TestStopInPrefectsWords(t *testing.T) {
	f := newFakeAWS(t)
	f.Script("", fakeaws.Script{Hold: true})
	var log syncBuffer
	l := newLauncher(t, f, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	handle := mustLaunch(t, l, testJob())
	cluster, arn, _ := strings.Cut(handle.PID, "::")
	unknown := handle
	unknown.PID = cluster + "::" + arn[:len(arn)-4] + "0000"
	for _, h := range []launch.Handle{handle, unknown} {
		if err := l.Stop(t.Context(), h, "cancelled", 0); err != nil {
			t.Fatal(err)
		}
	}
	if log.count("Stopped ECS task '"+arn+"' in cluster '"+cluster+"'") != 1 || log.count("not found in cluster '"+cluster+"'") != 1 {
		t.Errorf("log:\n%s", log.b.String())
	}
}

func TestCapacityProviderCouldNotPlaceTheTask(t *testing.T) {
	f := newFakeAWS(t)
	f.Script("", fakeaws.Script{Hold: true})
	l := newLauncher(t, f)
	handle := mustLaunch(t, l, testJob())
	for reason, want := range map[string]string{
		"Capacity is unavailable at this time": "ECS task failed to start: Capacity is unavailable at this time. The capacity provider could not place the task.",
		"CannotPullContainerError: no":         "ECS task failed to start: CannotPullContainerError: no",
	} {
		f.Tasks()[0].Set("STOPPED", fakeaws.StopCode("TaskFailedToStart"), fakeaws.Reason(reason), fakeaws.NoContainers())
		seen, err := l.Describe(t.Context(), []launch.Handle{handle})
		if err != nil || len(seen) != 1 || seen[0].Exit == nil {
			t.Fatalf("%v, %v", seen, err)
		}
		exit := seen[0].Exit
		if exit.Kind != launch.ExitStartFailure || exit.Message != want || !strings.Contains(exit.Hint, ": "+reason+" Resolution: ") {
			t.Errorf("%s: %q, hint %q", exit.Kind, exit.Message, exit.Hint)
		}
	}
}

func TestTheFormsOfSizes(t *testing.T) {
	l := newLauncher(t, newFakeAWS(t))
	for _, size := range []map[string]any{
		{"cpu": 1024.0, "memory": 2048.0}, {"cpu": "1024", "memory": "2048"}, {"cpu": json.Number("1024"), "memory": json.Number("2048.0")},
	} {
		job := testJob(set(size["cpu"], "task_definition", "cpu"), set(size["memory"], "task_definition", "memory"), set(map[string]any{
			"cpu": size["cpu"], "memory": size["memory"], "taskRoleArn": "", "containerOverrides": []any{maps.Clone(size)},
		}, "task_run_request", "overrides"))
		preview, err := l.Preview(job)
		if err != nil {
			t.Fatal(err)
		}
		overrides := preview.RunTask["overrides"].(map[string]any)
		container := objects(overrides["containerOverrides"])[0]
		_, hasRole := overrides["taskRoleArn"]
		if preview.TaskDefinition["cpu"] != "1024" || overrides["cpu"] != "1024" || overrides["memory"] != "2048" || container["cpu"] != int64(1024) || container["memory"] != int64(2048) || hasRole {
			t.Errorf("%v becomes %v and %v", size, preview.TaskDefinition, overrides)
		}
	}
}

// TestOlderTemplates has the shapes of templates that earlier versions wrote, or
// that users cut down.
func TestOlderTemplates(t *testing.T) {
	for name, request := range map[string]any{
		"empty":                  map[string]any{},
		"no overrides":           map[string]any{"launchType": "FARGATE"},
		"overrides of null":      map[string]any{"launchType": "FARGATE", "overrides": nil},
		"no container overrides": map[string]any{"launchType": "FARGATE", "overrides": map[string]any{"taskRoleArn": nil}},
		"no sizes":               map[string]any{"launchType": "FARGATE", "overrides": map[string]any{"containerOverrides": []any{map[string]any{"environment": map[string]any{"A": "1"}}}}},
		"only a sidecar":         map[string]any{"launchType": "FARGATE", "overrides": map[string]any{"containerOverrides": []any{map[string]any{"name": "side", "command": []any{"x"}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAWS(t)
			l := newLauncher(t, f)
			job := testJob(
				set(request, "task_run_request"), set("true", "stream_output"), set("soon", "task_start_timeout_seconds"), set(nil, "task_watch_poll_interval"),
				set([]any{map[string]any{"image": "i"}, map[string]any{"name": "side", "image": "j", "essential": false}}, "task_definition", "containerDefinitions"))
			if err := l.Check(job); err != nil {
				t.Fatal(err)
			}
			mustLaunch(t, l, job)
			override := containerNamed(objects(f.Bodies("RunTask")[0]["overrides"].(map[string]any)["containerOverrides"]), "prefect")
			if diff := cmp.Diff([]any{"prefect", "flow-run", "execute"}, override["command"]); diff != "" {
				t.Error(diff)
			}
			if env := f.Tasks()[0].Env("prefect"); env["PREFECT__FLOW_RUN_ID"] != job.FlowRunID {
				t.Errorf("environment %v", env)
			}
		})
	}
}
