package ecs

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"faber/internal/launch"
)

func TestCheck(t *testing.T) {
	sized := func(cpu, memory any) []func(map[string]any) {
		return []func(map[string]any){set(cpu, "task_definition", "cpu"), set(memory, "task_definition", "memory")}
	}
	without := func(key string) func(map[string]any) { return func(c map[string]any) { delete(c, key) } }
	tests := []struct {
		name   string
		change []func(map[string]any)
		want   []string // parts of the error; none for a good job
	}{
		{"default", nil, nil},
		{"everything", []func(map[string]any){everything}, nil},
		{"no definition", []func(map[string]any){without("task_definition")}, []string{"A task definition must be provided if a task definition ARN is not present on the task run request."}},
		{"nothing essential", []func(map[string]any){set([]any{map[string]any{"name": "a", "essential": false}}, "task_definition", "containerDefinitions")}, []string{"At least one container in the task definition must be marked as essential."}},
		{"all rules at once", []func(map[string]any){
			set(true, "configure_cloudwatch_logs"), set(map[string]any{"subnets": []any{}}, "network_configuration"),
		}, []string{"An `execution_role_arn` must be provided to use `configure_cloudwatch_logs` or `stream_logs`.", "You must provide a `vpc_id` to enable custom `network_configuration`."}},
		{"log options without logs", []func(map[string]any){set(map[string]any{"a": "b"}, "cloudwatch_logs_options")}, []string{"`configure_cloudwatch_log` must be enabled to use `cloudwatch_logs_options`."}},
		{"types", []func(map[string]any){
			set(5.0, "cluster"), set("perhaps", "configure_cloudwatch_logs"), set([]any{}, "network_configuration"), set(map[string]any{"a": 1.0}, "cloudwatch_logs_options"),
			set("x", "task_definition", "containerDefinitions"), set([]any{"x"}, "task_run_request", "capacityProviderStrategy"), set("x", "aws_credentials"),
			set([]any{map[string]any{"command": "it's"}}, "task_run_request", "overrides", "containerOverrides"),
		}, []string{
			"validation errors for ECSJobConfiguration\n", "cluster\n  Input should be a valid string", "configure_cloudwatch_logs\n  Input should be a valid boolean, unable to interpret input",
			"network_configuration\n  Input should be a valid dictionary",
			"cloudwatch_logs_options.a\n  Input should be a valid string", "task_definition.containerDefinitions\n  Input should be a valid list",
			"task_run_request.capacityProviderStrategy[0]\n  Input should be a valid dictionary", "aws_credentials\n  Input should be a valid dictionary or instance of AwsCredentials",
			"No closing quotation (task_run_request.overrides.containerOverrides[0].command cannot be split into words)",
		}},
		{"texts for booleans and null for the rest", []func(map[string]any){set("false", "configure_cloudwatch_logs"), set(nil, "cluster"), set(nil, "aws_credentials"), set(nil, "network_configuration")}, nil},
		{"unknown field", []func(map[string]any){set("x", "task_run_request", "launchTypo")}, []string{"job_configuration.task_run_request.launchTypo: is no field that ECS knows"}},
		{"field of the wrong type", []func(map[string]any){set("x", "task_run_request", "overrides", "ephemeralStorage")}, []string{"job_configuration.task_run_request.overrides.ephemeralStorage: must be an object"}},
		{"unknown field of the definition", []func(map[string]any){set("x", "task_definition", "volume")}, []string{"job_configuration.task_definition.volume: is no field that ECS knows"}},
		{"size: good", sized(4096.0, json.Number("30720")), nil},
		{"size: too little memory", sized(2048.0, nil), []string{"Fargate has no task with 2048 CPU units and 2048 MiB of memory: with 2048 CPU units, memory goes from 4096 to 16384 MiB in steps of 1024"}},
		{"size: between two steps", sized("256", "1536"), []string{"256 CPU units and 1536 MiB"}},
		{"size: too small", sized(100.0, 512.0), []string{"Fargate has no task with 100 CPU units"}},
		{"size: unknown CPU is left to ECS", sized(32768.0, 1.0), nil},
		{"size: text is left to ECS", sized("1 vCPU", "2 GB"), nil},
		{"size: the override counts", append(sized(1024.0, 2048.0), set("512", "task_run_request", "overrides", "memory")), []string{"1024 CPU units and 512 MiB"}},
		{"size: EC2 takes any", append(sized(100.0, 100.0), set("EC2", "task_run_request", "launchType")), nil},
	}
	l := newLauncher(t, newFakeAWS(t))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := l.Check(testJob(test.change...))
			if len(test.want) == 0 {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("misses %q in:\n%v", part, err)
				}
			}
		})
	}
	job := testJob()
	job.Command = "unclosed '"
	if err := l.Check(job); err == nil || !strings.HasPrefix(err.Error(), "No closing quotation (") {
		t.Errorf("bad command: %v", err)
	}
	job = testJob()
	for i := range 60 {
		job.Labels["label-"+strings.Repeat("x", i+1)] = "v"
	}
	if err := l.Check(job); err == nil || !strings.Contains(err.Error(), "ECS allows 50") {
		t.Errorf("too many tags: %v", err)
	}
}

func TestTagText(t *testing.T) {
	for in, want := range map[string]string{
		"my flow": "my-flow", "it's": "it-s", "1,000": "1000", "1,2,3": "123", "a,b": "a-b", "naïve": "na-ve", "日本": "", "--a--b__c--": "a-b__c", "(x)": "x", "½": "1-2",
		"2026-11-23T05:28:40.343282+00:00": "2026-11-23T05:28:40.343282+00:00", "prefect.io/flow-run-id": "prefect.io/flow-run-id", "R&amp;D &#65; &#x42;": "R-D-A-B", "Case": "Case",
	} {
		if got := tagText(in); got != want {
			t.Errorf("tagText(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestRunTags(t *testing.T) {
	job := launch.Job{ClaimID: "c", Labels: map[string]string{"a b": "1", "a(b": "2", "日本": "dropped", "long": strings.Repeat("x", 300), "over": "label"}}
	got := runTags([]tag{{"over", "request"}, {"own", "x y"}}, job)
	want := []tag{{"own", "x-y"}, {"a-b", "2"}, {"long", strings.Repeat("x", 256)}, {"over", "label"}, {"faber/claim", "c"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(tag{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestShellWords(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"  \t\n", nil},
		{"a b", []string{"a", "b"}},
		{`a "b c" 'd e'`, []string{"a", "b c", "d e"}},
		{`a\ b`, []string{"a b"}},
		{`""`, []string{""}},
		{`"a\"b\\c\n"`, []string{`a"b\c\n`}},
		{`'a\b'`, []string{`a\b`}},
		{`a'b'"c"d`, []string{"abcd"}},
		{"a#b # c", []string{"a#b", "#", "c"}},
	}
	for _, test := range tests {
		got, err := shellWords(test.in)
		if err != nil || !cmp.Equal(got, test.want) {
			t.Errorf("shellWords(%q) = %q, %v, want %q", test.in, got, err, test.want)
		}
	}
	for _, in := range []string{"'", `"`, `"a\`, `a\`} {
		if got, err := shellWords(in); err == nil {
			t.Errorf("shellWords(%q) = %q", in, got)
		}
	}
}

func FuzzShellWords(f *testing.F) {
	for _, seed := range []string{"a 'b c'", `"\"`, "a\\\nb", "é \xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := shellWords(line)
		if err != nil {
			return
		}
		quoted := make([]string, len(words))
		for i, word := range words {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		again, err := shellWords(strings.Join(quoted, " "))
		if err != nil || !cmp.Equal(words, again) {
			t.Errorf("%q came back as %q, %v", words, again, err)
		}
	})
}

// referenceScript answers each JSON line {"tag", "line"} with what Python's
// slugify and shlex make of them.
const referenceScript = `
import json, shlex, sys
from slugify import slugify
for request in sys.stdin:
    request = json.loads(request)
    try:
        words = shlex.split(request["line"], posix=True)
    except ValueError as problem:
        words = str(problem)
    tag = slugify(request["tag"], regex_pattern=r"[^a-zA-Z0-9_./=+:@-]", allow_unicode=True, lowercase=False)
    print(json.dumps({"words": words, "tag": tag}), flush=True)
`

// TestAgainstPython compares with what Prefect's worker uses. FABER_TEST_PYTHON
// names a Python that has Prefect installed.
func TestAgainstPython(t *testing.T) {
	python := part(t, "FABER_TEST_PYTHON")
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), python, "-c", referenceScript)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	piece := rapid.SampledFrom([]string{"a", "B", "1", "2", ",", "'", `"`, `\`, " ", "\t", "-", "--", "_", ".", "/", "é", "½", "日", "&amp;", "&#65;", "&#x42;", "&", ";", "٣", "\n", "ﬁ", "#"})
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "text"), "")
		request, _ := json.Marshal(map[string]string{"tag": s, "line": s})
		if _, err := in.Write(append(request, '\n')); err != nil {
			t.Fatal(err)
		}
		answer, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var want struct {
			Words any    `json:"words"`
			Tag   string `json:"tag"`
		}
		if err := json.Unmarshal(answer, &want); err != nil {
			t.Fatal(err)
		}
		if got := tagText(s); got != want.Tag {
			t.Fatalf("tagText(%q) = %q, Python has %q", s, got, want.Tag)
		}
		words, err := shellWords(s)
		list, ok := want.Words.([]any)
		if ok != (err == nil) {
			t.Fatalf("shellWords(%q) = %q, %v, Python has %v", s, words, err, want.Words)
		}
		if !ok {
			return
		}
		var wanted []string
		for _, word := range list {
			wanted = append(wanted, word.(string))
		}
		if !cmp.Equal(words, wanted) {
			t.Fatalf("shellWords(%q) = %q, Python has %q", s, words, wanted)
		}
	})
	in.Close()
	io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// Every variable of the default template says what it is for, and the template
// has exactly the structure that existing pools have.
func TestDefaultTemplate(t *testing.T) {
	var template struct {
		Configuration map[string]any `json:"job_configuration"`
		Variables     struct {
			Properties map[string]struct{ Title, Description string }
		}
	}
	if err := json.Unmarshal(DefaultBaseJobTemplate(), &template); err != nil {
		t.Fatal(err)
	}
	if len(template.Variables.Properties) != 25 || len(template.Configuration) != 22 {
		t.Errorf("%d variables, %d keys", len(template.Variables.Properties), len(template.Configuration))
	}
	for name, property := range template.Variables.Properties {
		if property.Title == "" || property.Description == "" {
			t.Errorf("%s has no title or description", name)
		}
	}
}
