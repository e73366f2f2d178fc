package jobtemplate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	referenceCases = 2000
	referenceSeed  = 20261123
	// leastResolved: cases that both sides refuse prove little.
	leastResolved = referenceCases * 70 / 100
	// leastUsed: in so many resolved cases everything that the generator can do
	// is to be found.
	leastUsed = 10
)

// TestAgainstPrefect compares 2,000 generated cases with Prefect's own
// resolution: the whole configuration, environment in its order, names it
// removes, labels, command, name; and of what is refused, the exception.
// FABER_TEST_PYTHON names a Python that has Prefect installed.
func TestAgainstPrefect(t *testing.T) {
	cases := make([]genCase, referenceCases)
	for i := range cases {
		cases[i] = newGenerator(referenceSeed, i).draw()
	}
	answers := askPrefect(t, cases)
	resolved, used, refused := 0, map[string]int{}, map[string]int{}
	for i, c := range cases {
		want := answers[i]
		got, err := resolveCase(t, c)
		if problem := compareAnswers(want, got, err, c); problem != "" {
			t.Errorf("case %d: %s\n%s", i, problem, inspect(c))
			continue
		}
		if want.OK == nil {
			refused[want.Error]++
		} else {
			resolved++
			seen := map[string]bool{}
			look(seen, got.Configuration)
			c.uses = append(c.uses, slices.Sorted(maps.Keys(seen))...)
		}
		for _, what := range c.uses {
			if want.OK != nil || strings.HasPrefix(what, "mistake") {
				used[what]++
			}
		}
	}
	t.Logf("%d of %d cases resolve; the others are refused with %v", resolved, len(cases), refused)
	for _, what := range slices.Sorted(maps.Keys(used)) {
		t.Logf("%5d  %s", used[what], what)
		if !strings.HasPrefix(what, "mistake") && used[what] < leastUsed {
			t.Errorf("only %d resolved cases use %s", used[what], what)
		}
	}
	if resolved < leastResolved {
		t.Errorf("%d of %d cases resolve, fewer than %d", resolved, len(cases), leastResolved)
	}
}

// answer is what testdata/reference.py says to a case.
type answer struct {
	OK *struct {
		Configuration any       `json:"configuration"`
		Env           [][2]*any `json:"env"`
		Labels        any       `json:"labels"`
		Command       *string   `json:"command"`
		Name          string    `json:"name"`
	} `json:"ok"`
	Error string `json:"error"`
	Text  string `json:"text"`
}

func python(t *testing.T) string {
	t.Helper()
	python := os.Getenv("FABER_TEST_PYTHON")
	if python == "" && os.Getenv("CI") == "true" {
		t.Fatal("FABER_TEST_PYTHON is not set")
	}
	if python == "" {
		t.Skip("SKIP FABER_TEST_PYTHON is not set: it names a Python that has Prefect installed")
	}
	return python
}

// runPython runs a script over lines of JSON and returns the lines it prints.
func runPython(t *testing.T, input []byte, arguments ...string) [][]byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python(t), arguments...)
	cmd.Env = append(os.Environ(), "PYTHONUTF8=1", "PYTHONIOENCODING=utf-8")
	for name, value := range hostEnv {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", arguments[0], err)
	}
	return bytes.Split(bytes.TrimSpace(output), []byte("\n"))
}

func askPrefect(t *testing.T, cases []genCase) []answer {
	t.Helper()
	var input bytes.Buffer
	encoder := json.NewEncoder(&input)
	for _, c := range cases {
		if err := encoder.Encode(c); err != nil {
			t.Fatal(err)
		}
	}
	lines := runPython(t, input.Bytes(), "testdata/reference.py")
	if len(lines) != len(cases) {
		t.Fatalf("%d answers to %d cases", len(lines), len(cases))
	}
	answers := make([]answer, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal(line, &answers[i]); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return answers
}

func resolveCase(t *testing.T, c genCase) (*Resolved, error) {
	t.Helper()
	source := &fakeSource{blocks: map[string]map[string]any{}, variables: map[string]any{}}
	for id, data := range c.Blocks {
		fields := map[string]json.RawMessage{}
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Fatal(err)
		}
		source.blocks[id] = map[string]any{}
		for name, value := range fields {
			source.blocks[id][name] = value
		}
	}
	for name, value := range c.Variables {
		source.variables[name] = value
	}
	template, err := Parse(c.Template)
	if err != nil {
		return nil, err
	}
	return template.Resolve(t.Context(), Input{
		Deployment: c.Deployment, Run: c.Run, Source: source,
		Env:     func(name string) (string, bool) { value, ok := hostEnv[name]; return value, ok },
		Context: map[string]any{"flow": c.Flow, "flow_run": c.FlowRun},
	})
}

// compareAnswers tells the first difference, or nothing.
func compareAnswers(want answer, got *Resolved, err error, c genCase) string {
	_, parseErr := Parse(c.Template)
	malformed := parseErr != nil // we say so before we look at any variable; and of several mistakes in a text Prefect meets any first
	var problems *Problems
	switch {
	case err != nil && !errors.As(err, &problems):
		return fmt.Sprintf("trouble: %v", err)
	case want.OK != nil && err != nil:
		return fmt.Sprintf("refused: %v", err)
	case want.OK == nil && err == nil:
		return fmt.Sprintf("resolved, but Prefect has %s: %s", want.Error, want.Text)
	case want.OK == nil && !malformed && c.mistakes < 2 && problems.Class() != want.Error:
		return fmt.Sprintf("refused as %s, by Prefect as %s: %s\n%v", problems.Class(), want.Error, want.Text, err)
	case want.OK == nil:
		return ""
	}
	env, unset := splitEnv(want.OK.Env)
	expected := map[string]any{
		"configuration": want.OK.Configuration, "env": env, "unset": unset, "labels": want.OK.Labels,
		"command": orEmpty(want.OK.Command), "name": want.OK.Name,
	}
	labels := map[string]any{}
	for name, value := range got.Labels {
		labels[name] = value
	}
	name := got.Name
	if name == "" {
		var run struct{ Name string }
		_ = json.Unmarshal(c.FlowRun, &run)
		name = run.Name
	}
	actual := map[string]any{
		"configuration": tagged(got.Configuration), "env": got.Env, "unset": got.Unset, "labels": labels,
		"command": got.Command, "name": name,
	}
	if diff := cmp.Diff(expected, actual); diff != "" {
		return "(-Prefect +ours):\n" + diff
	}
	return ""
}

func splitEnv(pairs [][2]*any) (env []EnvVar, unset []string) {
	for _, pair := range pairs {
		name, _ := (*pair[0]).(string)
		if pair[1] == nil {
			unset = append(unset, name)
			continue
		}
		value, _ := (*pair[1]).(string)
		env = append(env, EnvVar{name, value})
	}
	return env, unset
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// tagged writes numbers as the reference does.
func tagged(value any) any {
	switch value := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, item := range value {
			out[key] = tagged(item)
		}
		return out
	case []any:
		out := []any{}
		for _, item := range value {
			out = append(out, tagged(item))
		}
		return out
	case json.Number:
		return map[string]any{"$n": textOf(value)}
	default:
		return value
	}
}

// look finds texts that were made of other values, in what a case resolved to.
func look(seen map[string]bool, value any) {
	switch value := value.(type) {
	case map[string]any:
		for _, item := range value {
			look(seen, item)
		}
	case []any:
		for _, item := range value {
			look(seen, item)
		}
	case string:
		for what, sign := range map[string]string{
			"an object": "{'", "a list": "['", "true or false": "True", "null": "None", "a quoted text with a quote": `"it's`, "a number": ".0",
			"a number with an exponent": "e+", "infinity": "inf", "an escaped character": `\x00`,
		} {
			if strings.Contains(value, sign) {
				seen["text in the result made of "+what] = true
			}
		}
	}
}

// inspect shows a case without what all cases have.
func inspect(c genCase) string {
	return fmt.Sprintf("template   %s\ndeployment %s\nrun        %s", c.Template, c.Deployment, c.Run)
}
