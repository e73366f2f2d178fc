package ecs

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"
)

// registeredFrom is what ECS shows of a definition after it was registered, with
// everything that it fills in.
func registeredFrom(t *testing.T, shape map[string]any, changes ...func(*types.TaskDefinition)) *types.TaskDefinition {
	t.Helper()
	in := &awsecs.RegisterTaskDefinitionInput{}
	if err := decodeInto(copyObject(shape), in, "d"); err != nil {
		t.Fatal(err)
	}
	d := &types.TaskDefinition{
		ContainerDefinitions: in.ContainerDefinitions, Cpu: in.Cpu, Memory: in.Memory, Family: in.Family, ExecutionRoleArn: in.ExecutionRoleArn,
		NetworkMode: in.NetworkMode, RequiresCompatibilities: in.RequiresCompatibilities, Volumes: in.Volumes, TaskRoleArn: in.TaskRoleArn,
		Compatibilities: []types.Compatibility{"EC2", "FARGATE"}, Revision: 7, Status: types.TaskDefinitionStatusActive,
		TaskDefinitionArn: aws.String("arn:aws:ecs:eu-central-1:1:task-definition/f:7"), RegisteredBy: aws.String("arn:aws:iam::1:root"), RegisteredAt: aws.Time(time0),
		RequiresAttributes: []types.Attribute{{Name: aws.String("ecs.capability.task-eni")}}, PlacementConstraints: []types.TaskDefinitionPlacementConstraint{},
		EnableFaultInjection: aws.Bool(false),
	}
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		if c.Essential == nil {
			c.Essential = aws.Bool(true)
		}
		c.MountPoints, c.VolumesFrom, c.SystemControls = []types.MountPoint{}, []types.VolumeFrom{}, []types.SystemControl{}
		for j := range c.PortMappings {
			c.PortMappings[j].Protocol = types.TransportProtocolTcp
			c.PortMappings[j].HostPort = c.PortMappings[j].ContainerPort
		}
		if c.HealthCheck != nil {
			c.HealthCheck.Interval, c.HealthCheck.Timeout, c.HealthCheck.Retries = aws.Int32(30), aws.Int32(5), aws.Int32(3)
		}
	}
	for _, change := range changes {
		change(d)
	}
	return d
}

func richDefinition() map[string]any {
	return map[string]any{
		"family": "f", "cpu": "1 vCPU", "memory": 2048.0, "networkMode": "awsvpc", "requiresCompatibilities": []any{"FARGATE"},
		"volumes": []any{map[string]any{"name": "v", "efsVolumeConfiguration": map[string]any{"fileSystemId": "fs-1", "rootDirectory": "/"}}},
		"containerDefinitions": []any{
			map[string]any{
				"name": "prefect", "image": "i", "portMappings": []any{map[string]any{"containerPort": 80.0}}, "healthCheck": map[string]any{"command": []any{"CMD", "x"}},
				"environment": []any{map[string]any{"name": "B", "value": "2"}, map[string]any{"name": "A", "value": ""}},
				"secrets":     []any{map[string]any{"name": "S", "valueFrom": "arn:s"}, map[string]any{"name": "R", "valueFrom": "arn:r"}},
			},
			map[string]any{"name": "side", "image": "j", "essential": false, "readonlyRootFilesystem": false},
		},
	}
}

func TestARegisteredDefinitionIsEqual(t *testing.T) {
	sorted := func(d *types.TaskDefinition) { // ECS keeps no order of these
		c := &d.ContainerDefinitions[0]
		c.Environment[0], c.Environment[1] = c.Environment[1], c.Environment[0]
		c.Secrets[0], c.Secrets[1] = c.Secrets[1], c.Secrets[0]
		d.Cpu, d.Memory = aws.String("1024"), aws.String("2048")
	}
	if fields := difference(richDefinition(), registeredFrom(t, richDefinition(), sorted)); len(fields) > 0 {
		t.Errorf("differs in %v", fields)
	}
	plain := map[string]any{"family": "f", "containerDefinitions": []any{map[string]any{"name": "prefect", "image": "i"}}}
	if fields := difference(plain, registeredFrom(t, plain, func(d *types.TaskDefinition) { d.NetworkMode = "bridge" })); len(fields) > 0 {
		t.Errorf("the default network mode makes a difference: %v", fields)
	}
}

func TestADifferentDefinitionIsNotEqual(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*types.TaskDefinition)
		want   []string
	}{
		"cpu":               {func(d *types.TaskDefinition) { d.Cpu = aws.String("512") }, []string{"cpu"}},
		"network mode":      {func(d *types.TaskDefinition) { d.NetworkMode = "bridge" }, []string{"containerDefinitions", "networkMode"}},
		"image":             {func(d *types.TaskDefinition) { d.ContainerDefinitions[0].Image = aws.String("k") }, []string{"containerDefinitions"}},
		"essential":         {func(d *types.TaskDefinition) { d.ContainerDefinitions[1].Essential = aws.Bool(true) }, []string{"containerDefinitions"}},
		"switch":            {func(d *types.TaskDefinition) { d.EnableFaultInjection = aws.Bool(true) }, []string{"enableFaultInjection"}},
		"variable":          {func(d *types.TaskDefinition) { d.ContainerDefinitions[0].Environment[0].Value = aws.String("3") }, []string{"containerDefinitions"}},
		"order that counts": {func(d *types.TaskDefinition) { d.ContainerDefinitions[0].HealthCheck.Command = []string{"x", "CMD"} }, []string{"containerDefinitions"}},
		"one more":          {func(d *types.TaskDefinition) { d.TaskRoleArn = aws.String("arn:role") }, []string{"taskRoleArn"}},
	} {
		got := difference(richDefinition(), registeredFrom(t, richDefinition(), test.change))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestLatestRevisionOfAnyOrigin(t *testing.T) {
	f := newFakeAWS(t)
	job := testJob()
	mustLaunch(t, newLauncher(t, f), job)
	shape := f.Bodies("RegisterTaskDefinition")[0]
	delete(shape, "tags") // as Prefect's worker registers it
	f.PutDefinition(shape)

	other := testJob()
	other.ClaimID = "without"
	mustLaunch(t, newLauncher(t, f), other)
	if got := len(f.Calls("RegisterTaskDefinition")); got != 2 {
		t.Errorf("%d registrations: without match_latest_revision_in_family only its own revisions count", got)
	}

	theirs := f.PutDefinition(shape)
	matching := testJob(set(true, "match_latest_revision_in_family"))
	matching.ClaimID = "with"
	lines := logTo(&matching)
	l := newLauncher(t, f)
	mustLaunch(t, l, matching)
	if got := len(f.Calls("RegisterTaskDefinition")); got != 2 {
		t.Errorf("%d registrations, though the latest is equal", got)
	}
	if got := f.Bodies("RunTask")[2]["taskDefinition"]; got != theirs.ARN {
		t.Errorf("ran %v, want %s", got, theirs.ARN)
	}
	if !strings.Contains(lines(), "Retrieving most recent active revision from ECS task family '"+stringField(shape, "family")+"'...") {
		t.Errorf("log:\n%s", lines())
	}

	changed := testJob(set(true, "match_latest_revision_in_family"), set(512.0, "task_definition", "cpu"), set(1024.0, "task_definition", "memory"))
	changed.ClaimID = "changed"
	lines = logTo(&changed)
	mustLaunch(t, l, changed)
	if got := len(f.Calls("RegisterTaskDefinition")); got != 3 || !strings.Contains(lines(), "they differ in cpu, memory.") {
		t.Errorf("%d registrations, log:\n%s", got, lines())
	}
}
