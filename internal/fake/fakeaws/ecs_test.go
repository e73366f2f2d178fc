package fakeaws_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"

	"faber/internal/fake/fakeaws"
)

// definition is one that Fargate takes, with changes to it.
func definition(changes ...func(*ecs.RegisterTaskDefinitionInput)) *ecs.RegisterTaskDefinitionInput {
	in := &ecs.RegisterTaskDefinitionInput{
		Family: aws.String("flows"), NetworkMode: types.NetworkModeAwsvpc, Cpu: aws.String("256"), Memory: aws.String("512"),
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate},
		ContainerDefinitions: []types.ContainerDefinition{
			{Name: aws.String("prefect"), Image: aws.String("flow:1"), PortMappings: []types.PortMapping{{ContainerPort: aws.Int32(80)}}},
			{Name: aws.String("side"), Image: aws.String("side:1"), Essential: aws.Bool(false)},
		},
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("data")}},
	}
	for _, change := range changes {
		change(in)
	}
	return in
}

// request runs the family "flows".
func request(changes ...func(*ecs.RunTaskInput)) *ecs.RunTaskInput {
	in := &ecs.RunTaskInput{
		TaskDefinition: aws.String("flows"), LaunchType: types.LaunchTypeFargate, ClientToken: aws.String("token"),
		NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{"subnet-b"}}},
		Overrides: &types.TaskOverride{ContainerOverrides: []types.ContainerOverride{
			{Name: aws.String("prefect"), Environment: []types.KeyValuePair{{Name: aws.String("PREFECT__FLOW_RUN_ID"), Value: aws.String("run-1")}}},
		}},
		Tags:      []types.Tag{{Key: aws.String("prefect.io/flow-run-id"), Value: aws.String("run-1")}},
		StartedBy: aws.String("faber/pool"),
	}
	for _, change := range changes {
		change(in)
	}
	return in
}

func token(value string) func(*ecs.RunTaskInput) {
	return func(in *ecs.RunTaskInput) { in.ClientToken = aws.String(value) }
}

// run starts a task by the SDK.
func run(t *testing.T, s *fakeaws.Server, on sdk, changes ...func(*ecs.RunTaskInput)) *fakeaws.Task {
	t.Helper()
	if len(s.Definitions("flows")) == 0 {
		must(on.ecs.RegisterTaskDefinition(t.Context(), definition()))(t)
	}
	before := len(s.Tasks())
	out := must(on.ecs.RunTask(t.Context(), request(changes...)))(t)
	tasks := s.Tasks()
	if len(tasks) != before+1 || len(out.Tasks) != 1 || *out.Tasks[0].TaskArn != tasks[before].ARN {
		t.Fatalf("answer %+v, tasks %d", out, len(tasks))
	}
	return tasks[before]
}

func describe(t *testing.T, on sdk, task *fakeaws.Task) types.Task {
	t.Helper()
	out := must(on.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Tasks: []string{task.ARN}, Include: []types.TaskField{types.TaskFieldTags}}))(t)
	if len(out.Tasks) != 1 || len(out.Failures) != 0 {
		t.Fatalf("described %+v, %+v", out.Tasks, out.Failures)
	}
	return out.Tasks[0]
}

func TestDefinitions(t *testing.T) {
	s, on := start(t)
	first := must(on.ecs.RegisterTaskDefinition(t.Context(), definition()))(t)
	d := first.TaskDefinition
	if *d.TaskDefinitionArn != "arn:aws:ecs:eu-central-1:123456789012:task-definition/flows:1" || d.Revision != 1 || d.Status != types.TaskDefinitionStatusActive {
		t.Errorf("registered %+v", d)
	}
	if !slices.Contains(d.Compatibilities, types.CompatibilityFargate) || d.RegisteredAt == nil || len(first.Tags) != 1 {
		t.Errorf("registered %+v with tags %v", d, first.Tags)
	}
	main, side := d.ContainerDefinitions[0], d.ContainerDefinitions[1]
	if !*main.Essential || *side.Essential || *main.PortMappings[0].HostPort != 80 || main.PortMappings[0].Protocol != types.TransportProtocolTcp {
		t.Errorf("containers %+v", d.ContainerDefinitions)
	}
	must(on.ecs.RegisterTaskDefinition(t.Context(), definition()))(t)
	for name, revision := range map[string]int32{"flows": 2, "flows:1": 1, *d.TaskDefinitionArn: 1} {
		out := must(on.ecs.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: &name, Include: []types.TaskDefinitionField{types.TaskDefinitionFieldTags}}))(t)
		if out.TaskDefinition.Revision != revision || len(out.Tags) != 1 || *out.Tags[0].Value != "data" {
			t.Errorf("%s is %+v with tags %v", name, out.TaskDefinition, out.Tags)
		}
	}
	out := must(on.ecs.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("flows")}))(t)
	if len(out.Tags) != 0 {
		t.Errorf("tags %v that nobody asked for", out.Tags)
	}
	_, err := on.ecs.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("flow")})
	refused(t, err, "ClientException")

	gone := must(on.ecs.DeregisterTaskDefinition(t.Context(), &ecs.DeregisterTaskDefinitionInput{TaskDefinition: aws.String("flows:2")}))(t)
	if gone.TaskDefinition.Status != types.TaskDefinitionStatusInactive || gone.TaskDefinition.DeregisteredAt == nil {
		t.Errorf("deregistered %+v", gone.TaskDefinition)
	}
	latest := must(on.ecs.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String("flows")}))(t)
	if latest.TaskDefinition.Revision != 1 {
		t.Errorf("latest active is %d", latest.TaskDefinition.Revision)
	}
	if known := s.Definitions("flows"); len(known) != 2 || known[1].Status != "INACTIVE" {
		t.Errorf("definitions %+v", known)
	}
}

func TestAddedToDefinitions(t *testing.T) {
	s, on := start(t)
	s.AddToDefinitions(map[string]any{"enableFaultInjection": false})
	out := must(on.ecs.RegisterTaskDefinition(t.Context(), definition()))(t)
	if out.TaskDefinition.EnableFaultInjection == nil || *out.TaskDefinition.EnableFaultInjection {
		t.Errorf("registered %+v", out.TaskDefinition)
	}
}

func TestListTaskDefinitions(t *testing.T) {
	s, on := start(t)
	for _, family := range []string{"b", "a", "a", "a", "a-longer"} {
		s.PutDefinition(map[string]any{"family": family})
	}
	must(on.ecs.DeregisterTaskDefinition(t.Context(), &ecs.DeregisterTaskDefinitionInput{TaskDefinition: aws.String("a:2")}))(t)
	for _, test := range []struct {
		name string
		in   ecs.ListTaskDefinitionsInput
		want string
	}{
		{"all active", ecs.ListTaskDefinitionsInput{}, "a:1 a:3 a-longer:1 b:1"},
		{"a family's, newest first", ecs.ListTaskDefinitionsInput{FamilyPrefix: aws.String("a"), Sort: types.SortOrderDesc}, "a:3 a:1"},
		{"inactive", ecs.ListTaskDefinitionsInput{Status: types.TaskDefinitionStatusInactive}, "a:2"},
		{"one a page", ecs.ListTaskDefinitionsInput{MaxResults: aws.Int32(1)}, "a:1 a:3 a-longer:1 b:1"},
		{"none", ecs.ListTaskDefinitionsInput{FamilyPrefix: aws.String("c")}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for pages := ecs.NewListTaskDefinitionsPaginator(on.ecs, &test.in); pages.HasMorePages(); {
				for _, arn := range must(pages.NextPage(t.Context()))(t).TaskDefinitionArns {
					got = append(got, arn[strings.LastIndex(arn, "/")+1:])
				}
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("listed %v, want %s", got, test.want)
			}
		})
	}
}

func TestRefusedDefinitions(t *testing.T) {
	_, on := start(t)
	container := func(change func(*types.ContainerDefinition)) func(*ecs.RegisterTaskDefinitionInput) {
		return func(in *ecs.RegisterTaskDefinitionInput) { change(&in.ContainerDefinitions[0]) }
	}
	for want, change := range map[string]func(*ecs.RegisterTaskDefinitionInput){
		"Family contains invalid characters": func(in *ecs.RegisterTaskDefinitionInput) { in.Family = aws.String("my family") },
		"Container list cannot be empty":     func(in *ecs.RegisterTaskDefinitionInput) { in.ContainerDefinitions = []types.ContainerDefinition{} },
		"'cpu' be defined":                   func(in *ecs.RegisterTaskDefinitionInput) { in.Cpu = nil },
		"'memory' be defined":                func(in *ecs.RegisterTaskDefinitionInput) { in.Memory = nil },
		"network mode":                       func(in *ecs.RegisterTaskDefinitionInput) { in.NetworkMode = types.NetworkModeBridge },
		"Container.image should not be null": container(func(c *types.ContainerDefinition) { c.Image = nil }),
		"Container.name should not be null":  container(func(c *types.ContainerDefinition) { c.Name = nil }),
		"at least one essential container":   container(func(c *types.ContainerDefinition) { c.Essential = aws.Bool(false) }),
		"When you are specifying container secrets": container(func(c *types.ContainerDefinition) {
			c.Secrets = []types.Secret{{Name: aws.String("K"), ValueFrom: aws.String("arn:s")}}
		}),
		"to support log driver awslogs": container(func(c *types.ContainerDefinition) {
			c.LogConfiguration = &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{"awslogs-group": "g"}}
		}),
		"Invalid tag key":          func(in *ecs.RegisterTaskDefinitionInput) { in.Tags[0].Key = aws.String("a;b") },
		"At least one of 'memory'": func(in *ecs.RegisterTaskDefinitionInput) { in.Memory, in.RequiresCompatibilities = nil, nil },
	} {
		t.Run(want, func(t *testing.T) {
			_, err := on.ecs.RegisterTaskDefinition(t.Context(), definition(change))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRunTask(t *testing.T) {
	s, on := start(t)
	task := run(t, s, on)
	if task.FlowRunID() != "run-1" || task.Env("")["PREFECT__FLOW_RUN_ID"] != "run-1" || task.Tags()["prefect.io/flow-run-id"] != "run-1" || len(task.Env("side")) != 0 {
		t.Errorf("task of %q with %v and %v", task.FlowRunID(), task.Env(""), task.Tags())
	}
	if s.TaskOf("run-1") != task || s.TaskOf("run-2") != nil {
		t.Error("the run's task is another")
	}
	got := describe(t, on, task)
	if *got.LastStatus != "PROVISIONING" || *got.DesiredStatus != "RUNNING" || *got.StartedBy != "faber/pool" || *got.AvailabilityZone != "eu-central-1b" || *got.Group != "family:flows" || *got.Memory != "512" {
		t.Errorf("described %+v", got)
	}
	if got.CreatedAt == nil || got.StartedAt != nil || len(got.Tags) != 1 || got.LaunchType != types.LaunchTypeFargate || got.Version != 1 {
		t.Errorf("described %+v", got)
	}
	if len(got.Containers) != 2 || *got.Containers[1].Name != "side" || *got.Containers[0].LastStatus != "PENDING" || len(got.Overrides.ContainerOverrides) != 2 {
		t.Errorf("containers %+v, overrides %+v", got.Containers, got.Overrides)
	}
	without := must(on.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Tasks: []string{task.ID()}}))(t)
	if len(without.Tasks) != 1 || len(without.Tasks[0].Tags) != 0 {
		t.Errorf("tags that nobody asked for: %+v", without.Tasks)
	}
}

func TestClientTokens(t *testing.T) {
	s, on := start(t)
	task := run(t, s, on)
	again := must(on.ecs.RunTask(t.Context(), request()))(t)
	if len(s.Tasks()) != 1 || *again.Tasks[0].TaskArn != task.ARN {
		t.Errorf("%d tasks for one token", len(s.Tasks()))
	}
	_, err := on.ecs.RunTask(t.Context(), request(func(in *ecs.RunTaskInput) { in.StartedBy = aws.String("other") }))
	var conflict *types.ConflictException
	if !errors.As(err, &conflict) || !slices.Equal(conflict.ResourceIds, []string{task.ARN}) {
		t.Errorf("got %v", err)
	}
	run(t, s, on, token("other"))
	s.ForgetTokens()
	run(t, s, on)

	s.Failures(fakeaws.Failure{Reason: "RESOURCE:MEMORY", Detail: "more"})
	failed := must(on.ecs.RunTask(t.Context(), request(token("failed"))))(t)
	s.Failures()
	same := must(on.ecs.RunTask(t.Context(), request(token("failed"))))(t)
	for _, out := range []*ecs.RunTaskOutput{failed, same} {
		if len(out.Tasks) != 0 || len(out.Failures) != 1 || *out.Failures[0].Reason != "RESOURCE:MEMORY" {
			t.Errorf("answer %+v", out)
		}
	}
	run(t, s, on, token("new"))
}

func TestRefusedRuns(t *testing.T) {
	s, on := start(t)
	must(on.ecs.RegisterTaskDefinition(t.Context(), definition()))(t)
	must(on.ecs.RegisterTaskDefinition(t.Context(), definition()))(t)
	must(on.ecs.DeregisterTaskDefinition(t.Context(), &ecs.DeregisterTaskDefinitionInput{TaskDefinition: aws.String("flows:1")}))(t)
	s.PutDefinition(map[string]any{"family": "bridge", "containerDefinitions": []any{map[string]any{"name": "prefect"}}})
	for _, test := range []struct {
		code, want string
		change     func(*ecs.RunTaskInput)
	}{
		{"ClusterNotFoundException", "Cluster not found.", func(in *ecs.RunTaskInput) { in.Cluster = aws.String("nowhere") }},
		{"ClientException", "TaskDefinition not found.", func(in *ecs.RunTaskInput) { in.TaskDefinition = aws.String("none") }},
		{"ClientException", "TaskDefinition is inactive", func(in *ecs.RunTaskInput) { in.TaskDefinition = aws.String("flows:1") }},
		{"InvalidParameterException", "Tags can not have more than 50", func(in *ecs.RunTaskInput) {
			for i := range 50 {
				in.Tags = append(in.Tags, types.Tag{Key: aws.String(fmt.Sprint("k", i)), Value: aws.String("v")})
			}
		}},
		{"InvalidParameterException", "Duplicate tag", func(in *ecs.RunTaskInput) { in.Tags = append(in.Tags, in.Tags[0]) }},
		{"InvalidParameterException", "Invalid tag value", func(in *ecs.RunTaskInput) { in.Tags[0].Value = aws.String(strings.Repeat("x", 257)) }},
		{"InvalidParameterException", "clientToken", token(strings.Repeat("x", 65))},
		{"InvalidParameterException", "startedBy", func(in *ecs.RunTaskInput) { in.StartedBy = aws.String("a b") }},
		{"InvalidParameterException", "capacity provider strategy is not supported", func(in *ecs.RunTaskInput) {
			in.CapacityProviderStrategy = []types.CapacityProviderStrategyItem{{CapacityProvider: aws.String("FARGATE_SPOT")}}
		}},
		{"InvalidParameterException", "Network Configuration must be provided", func(in *ecs.RunTaskInput) { in.NetworkConfiguration = nil }},
		{"InvalidParameterException", "subnets can not be empty", func(in *ecs.RunTaskInput) { in.NetworkConfiguration.AwsvpcConfiguration.Subnets = []string{} }},
		{"InvalidParameterException", "does not support launch_type FARGATE", func(in *ecs.RunTaskInput) { in.TaskDefinition = aws.String("bridge") }},
		{"InvalidParameterException", "Network Configuration is not valid", func(in *ecs.RunTaskInput) {
			in.TaskDefinition, in.LaunchType = aws.String("bridge"), types.LaunchTypeEc2
		}},
		{"InvalidParameterException", "Override for container named main", func(in *ecs.RunTaskInput) { in.Overrides.ContainerOverrides[0].Name = aws.String("main") }},
		{"InvalidParameterException", "Container Overrides length must be at most 8192", func(in *ecs.RunTaskInput) {
			in.Overrides.ContainerOverrides[0].Command = []string{strings.Repeat("x", 8192)}
		}},
	} {
		t.Run(test.want, func(t *testing.T) {
			_, err := on.ecs.RunTask(t.Context(), request(test.change))
			refused(t, err, test.code)
			if err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	if n := len(s.Tasks()); n != 0 {
		t.Errorf("%d tasks", n)
	}
}

func TestPlacement(t *testing.T) {
	s, on := start(t)
	task := run(t, s, on, func(in *ecs.RunTaskInput) {
		in.LaunchType = ""
		in.CapacityProviderStrategy = []types.CapacityProviderStrategyItem{{CapacityProvider: aws.String("FARGATE_SPOT"), Weight: 1}}
		in.PropagateTags, in.Cluster = types.PropagateTagsTaskDefinition, aws.String("blue")
		in.Overrides.Memory = aws.String("1024")
	})
	if task.Cluster != "arn:aws:ecs:eu-central-1:123456789012:cluster/blue" {
		t.Errorf("cluster %s", task.Cluster)
	}
	want := map[string]any{"capacityProviderName": "FARGATE_SPOT", "launchType": "FARGATE", "memory": "1024", "cpu": "256", "startedBy": "faber/pool"}
	got := task.Detail()
	for key := range want {
		if diff := cmp.Diff(want[key], got[key]); diff != "" {
			t.Errorf("%s: %s", key, diff)
		}
	}
	if diff := cmp.Diff(map[string]string{"prefect.io/flow-run-id": "run-1", "team": "data"}, task.Tags()); diff != "" {
		t.Error(diff)
	}
	s.RemoveCluster("blue")
	_, err := on.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String("blue"), Tasks: []string{task.ARN}})
	refused(t, err, "ClusterNotFoundException")
}

func TestTasksByHand(t *testing.T) {
	s, on := start(t)
	task := run(t, s, on)
	for range 5 {
		describe(t, on, task)
	}
	for _, status := range []string{"PENDING", "RUNNING", "DEPROVISIONING"} {
		task.Set(status)
		if got := describe(t, on, task); *got.LastStatus != status {
			t.Errorf("described %s, want %s", *got.LastStatus, status)
		}
	}
	task.Set("STOPPED", fakeaws.Exit(1), fakeaws.ExitOf("side", 0), fakeaws.ContainerReason("prefect", "OutOfMemoryError: killed"))
	got := describe(t, on, task)
	if got.StopCode != types.TaskStopCodeEssentialContainerExited || *got.StoppedReason != "Essential container in task exited" || got.StoppedAt == nil || got.StartedAt == nil || *got.DesiredStatus != "STOPPED" {
		t.Errorf("described %+v", got)
	}
	if *got.Containers[0].ExitCode != 1 || *got.Containers[1].ExitCode != 0 || *got.Containers[0].Reason != "OutOfMemoryError: killed" || *got.Containers[0].LastStatus != "STOPPED" || got.Version != 5 {
		t.Errorf("version %d, containers %+v", got.Version, got.Containers)
	}

	failed := run(t, s, on, token("2"))
	failed.Set("STOPPED", fakeaws.Reason("CannotPullContainerError: no"), fakeaws.NoContainers())
	got = describe(t, on, failed)
	if got.StopCode != types.TaskStopCodeTaskFailedToStart || *got.StoppedReason != "CannotPullContainerError: no" || got.StartedAt != nil || len(got.Containers) != 0 {
		t.Errorf("described %+v", got)
	}

	spot := run(t, s, on, token("3"))
	spot.Set("RUNNING")
	spot.Set("STOPPED", fakeaws.StopCode("SpotInterruption"), fakeaws.NoExitCode(), fakeaws.With("healthStatus", "UNHEALTHY"), fakeaws.With("connectivity", nil))
	got = describe(t, on, spot)
	if got.StopCode != types.TaskStopCodeSpotInterruption || got.Containers[0].ExitCode != nil || got.HealthStatus != types.HealthStatusUnhealthy || got.Connectivity != "" || spot.Status() != "STOPPED" {
		t.Errorf("described %+v", got)
	}
}

func TestScripts(t *testing.T) {
	s, on := start(t)
	s.Script("run-1", fakeaws.Script{Code: 3})
	task := run(t, s, on)
	for _, want := range []string{"PROVISIONING", "RUNNING", "STOPPED", "STOPPED"} {
		if got := describe(t, on, task); *got.LastStatus != want {
			t.Errorf("%s, want %s", *got.LastStatus, want)
		}
	}
	if got := describe(t, on, task); *got.Containers[0].ExitCode != 3 {
		t.Errorf("ended with %d", *got.Containers[0].ExitCode)
	}
	s.Script("", fakeaws.Script{Hold: true})
	s.Script("run-1", fakeaws.Script{})
	held := run(t, s, on, token("2"), func(in *ecs.RunTaskInput) {
		in.Overrides.ContainerOverrides[0].Environment[0].Value = aws.String("run-2")
	})
	for range 5 {
		describe(t, on, held)
	}
	if held.Status() != "RUNNING" {
		t.Errorf("it is %s", held.Status())
	}
	held.Set("PENDING")
	describe(t, on, held)
	if held.Status() != "PENDING" {
		t.Errorf("a script goes on after a hand was laid on: %s", held.Status())
	}
}

func TestDescribeTasksRefuses(t *testing.T) {
	s, on := start(t)
	task := run(t, s, on)
	missing := strings.Repeat("0", 32)
	out := must(on.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Tasks: []string{task.ARN, missing}}))(t)
	if len(out.Tasks) != 1 || len(out.Failures) != 1 || *out.Failures[0].Reason != "MISSING" || !strings.HasSuffix(*out.Failures[0].Arn, "task/default/"+missing) {
		t.Errorf("described %+v", out)
	}
	for want, names := range map[string][]string{
		"taskId length":          {"short"},
		"more than 100":          slices.Repeat([]string{missing}, 101),
		"cannot be empty":        {},
		"Identifier is for blue": {strings.Replace(task.ARN, "/default/", "/blue/", 1)},
	} {
		_, err := on.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Tasks: names})
		if refused(t, err, "InvalidParameterException"); err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v", err)
		}
	}
	task.Hide()
	out = must(on.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Tasks: []string{task.ARN}}))(t)
	if len(out.Failures) != 1 || len(must(on.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{}))(t).TaskArns) != 0 {
		t.Errorf("a hidden task is shown: %+v", out)
	}
	task.Show()
	describe(t, on, task)
}

func TestListTasks(t *testing.T) {
	s, on := start(t)
	for i := range 5 {
		run(t, s, on, token(fmt.Sprint(i)))
	}
	run(t, s, on, token("other"), func(in *ecs.RunTaskInput) { in.StartedBy = aws.String("other") })
	s.Tasks()[1].Set("STOPPED")
	for _, test := range []struct {
		name string
		in   ecs.ListTasksInput
		want int
	}{
		{"running", ecs.ListTasksInput{}, 5},
		{"started by", ecs.ListTasksInput{StartedBy: aws.String("faber/pool")}, 4},
		{"stopped", ecs.ListTasksInput{Family: aws.String("flows"), DesiredStatus: types.DesiredStatusStopped}, 1},
		{"another family", ecs.ListTasksInput{Family: aws.String("flow")}, 0},
		{"another cluster", ecs.ListTasksInput{Cluster: aws.String("blue")}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			seen := map[string]bool{}
			for pages := ecs.NewListTasksPaginator(on.ecs, &test.in); pages.HasMorePages(); {
				page := must(pages.NextPage(t.Context()))(t)
				for _, arn := range page.TaskArns {
					seen[arn] = true
				}
				if len(page.TaskArns) > 2 {
					t.Errorf("%d tasks on a page", len(page.TaskArns))
				}
			}
			if len(seen) != test.want {
				t.Errorf("%d tasks, want %d", len(seen), test.want)
			}
		})
	}
	_, err := on.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{StartedBy: aws.String("faber/pool"), Family: aws.String("flows")})
	refused(t, err, "InvalidParameterException")
}

func TestStopTask(t *testing.T) {
	s, on := start(t)
	stop := func(task *fakeaws.Task) types.Task {
		t.Helper()
		return *must(on.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Task: aws.String(task.ARN), Reason: aws.String("enough")}))(t).Task
	}
	running := run(t, s, on)
	running.Set("RUNNING")
	got := stop(running)
	if *got.LastStatus != "STOPPED" || got.StopCode != types.TaskStopCodeUserInitiated || *got.StoppedReason != "enough" || *got.Containers[0].ExitCode != 143 {
		t.Errorf("stopped %+v", got)
	}
	if got = stop(run(t, s, on, token("2"))); *got.LastStatus != "STOPPED" || got.Containers[0].ExitCode != nil {
		t.Errorf("stopped before it ran: %+v", got)
	}
	s.StopByHand()
	slow := run(t, s, on, token("3"))
	slow.Set("RUNNING")
	if got = stop(slow); *got.LastStatus != "RUNNING" || *got.DesiredStatus != "STOPPED" || got.StopCode != types.TaskStopCodeUserInitiated {
		t.Errorf("is to stop: %+v", got)
	}
	slow.Set("STOPPED", fakeaws.Exit(137))
	if got = describe(t, on, slow); got.StopCode != types.TaskStopCodeUserInitiated || *got.StoppedReason != "enough" || *got.Containers[0].ExitCode != 137 {
		t.Errorf("stopped %+v", got)
	}
	_, err := on.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Task: aws.String(strings.Repeat("0", 32))})
	refused(t, err, "InvalidParameterException")
	if err == nil || !strings.Contains(err.Error(), "The referenced task was not found.") {
		t.Errorf("got %v", err)
	}
}
