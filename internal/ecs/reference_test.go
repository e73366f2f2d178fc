package ecs

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/google/go-cmp/cmp"

	"faber/internal/launch"
)

const referenceCases = 5000

// ask has Prefect's own code answer all cases of a kind. env names the variable
// that names a Python: FABER_TEST_PYTHON has Prefect, FABER_TEST_PREFECT_AWS has
// prefect-aws, too.
func ask[Q, A any](t *testing.T, env, kind string, cases []Q) []A {
	t.Helper()
	python := os.Getenv(env)
	if python == "" && env == "FABER_TEST_PYTHON" && os.Getenv("CI") == "true" {
		t.Fatal(env + " is not set")
	}
	if python == "" {
		t.Skip("SKIP " + env + " is not set: it names a Python to compare with")
	}
	var input bytes.Buffer
	encoder := json.NewEncoder(&input)
	for _, c := range cases {
		if err := encoder.Encode([]any{kind, c}); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/reference.py")
	cmd.Env = append(os.Environ(), "PYTHONUTF8=1", "PREFECT_HOME="+t.TempDir())
	cmd.Stdin, cmd.Stderr = &input, os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
	if len(lines) != len(cases) {
		t.Fatalf("%d answers to %d cases", len(lines), len(cases))
	}
	answers := make([]A, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal(line, &answers[i]); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return answers
}

// texts draws strings out of pieces, the same ones every time.
func texts(pieces []string) []string {
	random := rand.New(rand.NewPCG(20261123, uint64(len(pieces))))
	out := make([]string, referenceCases)
	for i := range out {
		var b strings.Builder
		for range random.IntN(8) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		out[i] = b.String()
	}
	return out
}

func TestTagsAgainstPrefect(t *testing.T) {
	cases := texts([]string{
		"a", "B", "é", "日本", "½", "ﬁ", "Å", "e\u0301", "１", "٣", "1", "2", ",", ",,", "'", "''", "’", "＇", "-", "--", "_", ".", "/", "=", "+", ":", "@", " ", "\t", "\u00a0",
		"&amp;", "&apos;", "&frac12;", "&sup2;", "&ordf;", "&nbsp;", "&trade;", "&hellip;", "&image;", "&Prime;", "&foo;", "&amp", "&", ";", "#",
		"&#39;", "&#65;", "&#x41;", "&#x27;", "&#128;", "&#0;", "&#1114111;", "&#1114112;", "&#99999999999999999999;", "&#xD800;", "&#x110000;", "&#X41;", "&amp;#65;",
		"(", "[x]", "é'", "1,0", "|", "😀", "Σ", "ς", "ß", "İ", "\u200b", "\u0000", "…", "™", "㎏", "①",
	})
	for i, want := range ask[string, string](t, "FABER_TEST_PYTHON", "tag", cases) {
		if got := tagText(cases[i]); got != want {
			t.Errorf("%q becomes %q, in Prefect %q", cases[i], got, want)
		}
	}
}

func TestCommandsAgainstPrefect(t *testing.T) {
	cases := texts([]string{"a", "prefect", " ", "  ", "\t", "\n", "\r", "'", `"`, `\`, `\\`, `\"`, `\'`, "''", `""`, "'a b'", `"a b"`, `"a\"b"`, "$X", "#", "é", "\v", "\u00a0", ";", "|", "=", "*"})
	type answer struct {
		Words []string
		Error string
	}
	refused := 0
	for i, want := range ask[string, answer](t, "FABER_TEST_PYTHON", "command", cases) {
		got, err := shellWords(cases[i])
		if want.Error != "" {
			refused++
			if err == nil || err.Error() != strings.ToLower(want.Error[:1])+want.Error[1:] {
				t.Errorf("%q: %v, in Prefect %s", cases[i], err, want.Error)
			}
			continue
		}
		if err != nil || strings.Join(got, "\x00") != strings.Join(want.Words, "\x00") || len(got) != len(want.Words) {
			t.Errorf("%q becomes %q, %v, in Prefect %q", cases[i], got, err, want.Words)
		}
	}
	if refused == 0 || refused > referenceCases*9/10 {
		t.Errorf("%d of %d are refused", refused, referenceCases)
	}
}

// TestEqualityAgainstPrefect changes a definition in every way that ours looks
// at: what Prefect takes for the same, is the same here.
func TestEqualityAgainstPrefect(t *testing.T) {
	shape := map[string]any{
		"family": "f", "cpu": "1024", "memory": "2048", "networkMode": "awsvpc", "requiresCompatibilities": []any{"FARGATE"}, "executionRoleArn": "r",
		"containerDefinitions": []any{map[string]any{
			"name": "prefect", "image": "i", "environment": []any{map[string]any{"name": "B", "value": "2"}, map[string]any{"name": "A", "value": "1"}},
			"secrets":          []any{map[string]any{"name": "S", "valueFrom": "arn:s"}, map[string]any{"name": "R", "valueFrom": "arn:r"}},
			"environmentFiles": []any{map[string]any{"value": "b", "type": "s3"}, map[string]any{"value": "a", "type": "s3"}},
			"logConfiguration": map[string]any{"logDriver": "awslogs", "options": map[string]any{"awslogs-group": "prefect"}},
		}},
	}
	noFault := func(d *types.TaskDefinition) { d.EnableFaultInjection = nil } // the default that Prefect forgets
	first := func(change func(*types.ContainerDefinition)) func(*types.TaskDefinition) {
		return func(d *types.TaskDefinition) { change(&d.ContainerDefinitions[0]) }
	}
	changes := []func(*types.TaskDefinition){
		func(*types.TaskDefinition) {},
		func(d *types.TaskDefinition) { d.Revision, d.Status = 9, types.TaskDefinitionStatusInactive },
		func(d *types.TaskDefinition) { d.Cpu = aws.String("512") },
		func(d *types.TaskDefinition) { d.NetworkMode = "host" },
		func(d *types.TaskDefinition) { d.Volumes = []types.Volume{} },
		func(d *types.TaskDefinition) { d.Volumes = []types.Volume{{Name: aws.String("v")}} },
		func(d *types.TaskDefinition) { d.ExecutionRoleArn = nil },
		func(d *types.TaskDefinition) {
			d.ContainerDefinitions = append(d.ContainerDefinitions, types.ContainerDefinition{Name: aws.String("x")})
		},
		first(func(c *types.ContainerDefinition) {
			c.Environment[0], c.Environment[1] = c.Environment[1], c.Environment[0]
		}),
		first(func(c *types.ContainerDefinition) { c.Secrets[0], c.Secrets[1] = c.Secrets[1], c.Secrets[0] }),
		first(func(c *types.ContainerDefinition) {
			c.EnvironmentFiles[0], c.EnvironmentFiles[1] = c.EnvironmentFiles[1], c.EnvironmentFiles[0]
		}),
		first(func(c *types.ContainerDefinition) { c.Environment = c.Environment[:1] }),
		first(func(c *types.ContainerDefinition) { c.Essential = aws.Bool(false) }),
		first(func(c *types.ContainerDefinition) { c.Cpu = 10 }),
		first(func(c *types.ContainerDefinition) { c.LogConfiguration.Options["awslogs-group"] = "other" }),
		first(func(c *types.ContainerDefinition) { c.User = aws.String("root") }),
	}
	var cases [][2]any
	var got []bool
	for _, change := range changes {
		registered := registeredFrom(t, shape, noFault, change)
		shown := wire(reflect.ValueOf(*registered)).(map[string]any)
		cases, got = append(cases, [2]any{shape, shown}), append(got, len(difference(shape, registered)) == 0)
	}
	if diff := cmp.Diff(ask[[2]any, bool](t, "FABER_TEST_PREFECT_AWS", "equal", cases), got); diff != "" {
		t.Errorf("(-Prefect +ours):\n%s", diff)
	}
}

func TestDiagnosesAgainstPrefect(t *testing.T) {
	var cases []map[string]any
	var got []string
	codes := [][]any{{}, {nil}, {0}, {1}, {nil, 1}, {1, 2}, {nil, nil}, {0, 137}, {nil, 0}}
	for _, stopCode := range []string{"", "TaskFailedToStart", "EssentialContainerExited", "UserInitiated", "SpotInterruption"} {
		for _, reason := range []string{"", "Task stopped.", "CannotPullContainerError: it's denied", "RESOURCE:MEMORY"} {
			for _, exits := range codes {
				task := types.Task{StopCode: types.TaskStopCode(stopCode), StoppedReason: aws.String(reason)}
				detail := map[string]any{"lastStatus": "STOPPED", "stopCode": stopCode, "stoppedReason": reason}
				var containers []any
				for i, code := range exits {
					container := map[string]any{"name": []string{"prefect", "side"}[i]}
					of := types.Container{Name: aws.String([]string{"prefect", "side"}[i])}
					if n, ok := code.(int); ok {
						container["exitCode"], of.ExitCode = n, aws.Int32(int32(n))
					}
					containers, task.Containers = append(containers, container), append(task.Containers, of)
				}
				detail["containers"] = containers
				if len(containers) == 0 {
					delete(detail, "containers")
				}
				cases, got = append(cases, detail), append(got, diagnose(task).String())
			}
		}
	}
	compared := 0
	for i, want := range ask[map[string]any, string](t, "FABER_TEST_PREFECT_AWS", "diagnosis", cases) {
		if want == "" { // nothing is wrong; here it is not asked then
			continue
		}
		compared++
		if got[i] != want {
			t.Errorf("%v:\n%s\nin Prefect\n%s", cases[i], got[i], want)
		}
	}
	if compared < len(cases)/2 {
		t.Errorf("only %d of %d are diagnosed", compared, len(cases))
	}
}

// TestRefusalsAgainstPrefect breaks a configuration in one way at a time.
func TestRefusalsAgainstPrefect(t *testing.T) {
	whole := map[string]any{
		"task_definition":  map[string]any{"containerDefinitions": []any{map[string]any{"name": "prefect", "image": "i"}}},
		"task_run_request": map[string]any{"launchType": "FARGATE"},
	}
	var cases []map[string]any
	with := func(key string, values ...any) {
		for _, value := range values {
			c := maps.Clone(whole)
			c[key] = value
			cases = append(cases, c)
		}
	}
	cases = append(cases, whole)
	with("task_definition", map[string]any{}, "text", []any{},
		map[string]any{"containerDefinitions": []any{map[string]any{"name": "a", "essential": false}, map[string]any{"name": "b", "essential": false}}})
	with("task_run_request", "text", []any{})
	with("configure_cloudwatch_logs", true, "yes", 1, "perhaps", 2, []any{}, map[string]any{}, false, "0")
	with("auto_deregister_task_definition", "perhaps", true)
	with("match_latest_revision_in_family", []any{}, "on")
	with("cloudwatch_logs_options", map[string]any{"a": "b"}, map[string]any{"a": 1}, "text", map[string]any{})
	with("network_configuration", map[string]any{"subnets": []any{"s"}}, []any{"s"}, map[string]any{})
	for _, key := range []string{"cluster", "vpc_id", "container_name", "execution_role_arn", "cloudwatch_logs_prefix", "prefect_api_key_secret_arn", "prefect_api_auth_string_secret_arn"} {
		with(key, 5, []any{}, map[string]any{}, "text", nil)
	}
	with("aws_credentials", "text", []any{}, nil, map[string]any{}, map[string]any{"region_name": 5},
		map[string]any{"assume_role_arn": "arn:r", "assume_role_kwargs": "text"}, map[string]any{"aws_client_parameters": map[string]any{"config": "text"}},
		map[string]any{"aws_client_parameters": map[string]any{"endpoint_url": 5}})
	refused := 0
	for i, want := range ask[map[string]any, string](t, "FABER_TEST_PREFECT_AWS", "refusal", cases) {
		got := ""
		_, err := parseConfiguration(launch.Job{Configuration: cases[i]})
		var why refusal
		if errors.As(err, &why) {
			got = why.Class() + ": " + why.Error()
			refused++
		}
		// Prefect looks at the configuration as a whole only when all its fields
		// are well; here all is told at once, its own words first.
		_, fields, _ := strings.Cut(want, "\n")
		_, told, _ := strings.Cut(got, "\n")
		class, _, _ := strings.Cut(want, ": ")
		if !strings.HasPrefix(got, class) || !strings.HasPrefix(told, fields) || (got == "") != (want == "") {
			t.Errorf("%v:\n%s\nin Prefect\n%s", cases[i], got, want)
		}
	}
	if refused < len(cases)/2 || refused == len(cases) {
		t.Errorf("%d of %d are refused", refused, len(cases))
	}
}
