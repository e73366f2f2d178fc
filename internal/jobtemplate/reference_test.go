package jobtemplate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
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
	resolved, sameWords, used, refused := 0, 0, map[string]int{}, map[string]int{}
	for i, c := range cases {
		want := answers[i]
		got, err := resolveCase(t, c)
		if problem := compareAnswers(want, got, err, c); problem != "" {
			t.Errorf("case %d: %s\n%s", i, problem, inspect(c))
			continue
		}
		if want.OK == nil {
			refused[want.Error]++
			if c.comparesWords() {
				sameWords++
			}
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
	t.Logf("%d of %d cases resolve; the others are refused with %v, %d of them compared word by word", resolved, len(cases), refused, sameWords)
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
		Configuration json.RawMessage   `json:"configuration"`
		Env           [][2]*string      `json:"env"`
		Labels        map[string]string `json:"labels"`
		Command       *string           `json:"command"`
		Name          string            `json:"name"`
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
	var problems *Problems
	switch {
	case err != nil && !errors.As(err, &problems):
		return fmt.Sprintf("trouble: %v", err)
	case want.OK != nil && err != nil:
		return fmt.Sprintf("refused: %v", err)
	case want.OK == nil && err == nil:
		return fmt.Sprintf("resolved, but Prefect has %s: %s", want.Error, want.Text)
	case want.OK == nil && !c.comparesWords():
		return ""
	case want.OK == nil:
		return cmp.Diff(noDetails(want.Error+": "+want.Text), problems.Exception("Recorded"))
	}
	wanted := Resolved{Labels: want.OK.Labels, Name: want.OK.Name}
	if want.OK.Command != nil {
		wanted.Command = *want.OK.Command
	}
	for _, pair := range want.OK.Env {
		if pair[1] == nil {
			wanted.Unset = append(wanted.Unset, *pair[0])
		} else {
			wanted.Env = append(wanted.Env, EnvVar{*pair[0], *pair[1]})
		}
	}
	given := Resolved{Env: got.Env, Unset: got.Unset, Labels: got.Labels, Command: got.Command, Name: got.Name}
	if given.Name == "" { // then it is the flow run's
		var run struct{ Name string }
		_ = json.Unmarshal(c.FlowRun, &run)
		given.Name = run.Name
	}
	configuration, readErr := read(want.OK.Configuration)
	document, gotErr := read(got.Document)
	if readErr != nil || gotErr != nil {
		return fmt.Sprint(readErr, gotErr)
	}
	return cmp.Diff(wanted, given) + cmp.Diff(configuration, tagged(document), cmp.AllowUnexported(object{})) +
		cmp.Diff(plain(document), any(got.Configuration))
}

// comparesWords reports whether it is certain which problem Prefect meets first.
// Of several in one text it meets any; and it looks at the variables before the
// template, which faber has read long before.
func (c genCase) comparesWords() bool {
	if _, err := Parse(c.Template); err == nil {
		return c.mistakes < 2
	}
	empty := &Template{configuration: newObject(), defaults: newObject()}
	_, err := empty.Resolve(context.Background(), Input{Deployment: c.Deployment, Run: c.Run})
	return c.mistakes < 2 && err == nil
}

// noDetails takes from a validation error what repeats the value, which may be
// a secret, and where to read on.
func noDetails(text string) string {
	return details.ReplaceAllString(text, "")
}

var details = regexp.MustCompile(` \[type=[a-z_]+, input_value=.*\]\n    For further information visit .*`)

// tagged writes numbers as the reference does.
func tagged(value any) any {
	switch value := value.(type) {
	case *object:
		out := newObject()
		for key, item := range value.all() {
			out.set(key, tagged(item))
		}
		return out
	case []any:
		out := []any{}
		for _, item := range value {
			out = append(out, tagged(item))
		}
		return out
	case json.Number:
		out := newObject()
		out.set("$n", textOf(value))
		return out
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
