package jobtemplate

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// longest is what no input of a fuzzer's size may take, on a busy machine and
// under the race detector.
const longest = 30 * time.Second

// Cutting a string into segments loses nothing.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{"", "{{ a }}", "x{{a.b[0]}}{{{ $B }}}", "{{ {{ a }} }}", "{{\u00a0é\x1c}}", "{{a", "\xff{{\xffa}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var whole strings.Builder
		for _, segment := range scan(s) {
			whole.WriteString(segment.text)
			if segment.name == "" {
				continue
			}
			if again := scan(segment.text); len(again) != 1 || again[0] != segment {
				t.Errorf("placeholder %q reads differently alone: %v", segment.text, again)
			}
		}
		if whole.String() != s {
			t.Errorf("segments make %q", whole.String())
		}
	})
}

// Any template and variables, JSON or not, either resolve or are refused with
// Problems that name a place. Nothing panics or takes long, the same documents
// give the same, and they stay as they are.
func FuzzResolve(f *testing.F) {
	for _, seed := range [][3]string{
		{`{"job_configuration":{"env":"{{ env }}","a":["{{ v.x[0] }}"]},"variables":{"properties":{"env":{"default":{"A":"1"}}}}}`, `{"env.B":1,"v":{"x":[null]}}`, `{"env":{"C":null}}`},
		{`{"job_configuration":{"a":{"$ref":{"block_document_id":"id-1"}},"b":"{{ prefect.blocks.secret.s }}"},"variables":{}}`, `{"a.b.c":1,"a.b":2}`, `null`},
		{`{"job_configuration":{"name":"{{ n }}","labels":{"x":1}},"variables":{}}`, `{"n":"{{ ctx.flow.name }}"}`, `{"env":[]}`},
		{`{"job_configuration":{"$ref":{"block_document_id":5}},"variables":{"properties":null}}`, `{}`, `{".":1,"..":{"":2}}`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	for i := range 40 {
		c := newGenerator(referenceSeed, i).draw()
		f.Add(string(c.Template), string(c.Deployment), string(c.Run))
	}
	f.Fuzz(func(t *testing.T, base, deployment, run string) {
		documents := []json.RawMessage{json.RawMessage(base), json.RawMessage(deployment), json.RawMessage(run)}
		start := time.Now()
		got, err := resolveText(t, documents)
		if took := time.Since(start); took > longest {
			t.Fatalf("took %s", took)
		}
		if string(documents[0]) != base || string(documents[1]) != deployment || string(documents[2]) != run {
			t.Error("a document was changed")
		}
		again, errAgain := resolveText(t, documents)
		if !reflect.DeepEqual(got, again) || fmt.Sprint(err) != fmt.Sprint(errAgain) {
			t.Errorf("the second time it is %v, %v", again, errAgain)
		}
		if err != nil {
			checkProblems(t, err)
		} else {
			checkResolved(t, got)
		}
	})
}

func resolveText(t *testing.T, documents []json.RawMessage) (*Resolved, error) {
	t.Helper()
	template, err := Parse(documents[0])
	if err != nil {
		return nil, err
	}
	return template.Resolve(t.Context(), Input{
		Deployment: documents[1], Run: documents[2], Env: workerEnv, Source: testSource(),
		Context: map[string]any{"flow": genFlow, "flow_run": genFlowRun},
	})
}

// checkProblems: each has a place of its own and a class, and the text stays short.
func checkProblems(t *testing.T, err error) {
	t.Helper()
	var problems *Problems
	if !errors.As(err, &problems) || len(problems.List) == 0 {
		t.Fatalf("%T: %v", err, err)
	}
	for _, problem := range problems.List {
		if problem.Path == "" || problem.Message == "" || problem.Class == "" {
			t.Errorf("incomplete: %+v", problem)
		}
	}
	for _, text := range []string{err.Error(), problems.Exception("M")} {
		if text == "" || len(text) > maxShown*(3*maxPart+100) {
			t.Errorf("a message of %d bytes", len(text))
		}
	}
}

// checkResolved: the typed fields are those of the configuration, which is JSON.
func checkResolved(t *testing.T, got *Resolved) {
	t.Helper()
	if _, err := json.Marshal(got.Configuration); err != nil || !json.Valid(got.Document) {
		t.Errorf("no JSON: %v", err)
	}
	env, _ := got.Configuration["env"].(map[string]any)
	names := slices.Clone(got.Unset)
	for _, v := range got.Env {
		names = append(names, v.Name)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(env) || len(names) != len(env) {
		t.Errorf("env has %d names, %v are told", len(env), names)
	}
	for _, name := range names {
		if value, ok := env[name]; !ok || (value == nil) != slices.Contains(got.Unset, name) {
			t.Errorf("env %s is %v", name, value)
		}
	}
	labels, _ := got.Configuration["labels"].(map[string]any)
	if len(labels) != len(got.Labels) {
		t.Errorf("%d labels of %d", len(got.Labels), len(labels))
	}
}

// What is made to take all time and memory is refused, or done, in little.
func TestHostileInput(t *testing.T) {
	const many = 30_000
	template := func(configuration string) string {
		return `{"job_configuration":` + configuration + `,"variables":{}}`
	}
	list := func(item string, n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	object := func(key, value string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%s%d":%s`, key, i, value)
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	large := `"` + strings.Repeat("é", many) + `"`
	tooLarge, tooDeep := "is too large", "is nested deeper than 1000 levels"
	tests := []struct{ name, template, deployment, refusal string }{
		{"template nested a bit too deep", template(strings.Repeat(`{"a":`, 1001) + "1" + strings.Repeat("}", 1001)), "", tooDeep},
		{"variables nested endlessly", template("{}"), `{"a":` + strings.Repeat("[", 5_000_000), "is not valid JSON"},
		{"variables nested very deep", template("{}"), `{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}", tooDeep},
		{"deep under deep", template(`{"x":` + strings.Repeat("[", 900) + `"{{ v }}"` + strings.Repeat("]", 900) + `,"y":"<{{ v }}>"}`), `{"v":` + strings.Repeat(`{"k":`, 900) + "1" + strings.Repeat("}", 900) + "}", ""},
		{"a name of a million parts", template("{}"), `{"` + strings.Repeat("a.", 1_000_000) + `":1}`, "is a name of more than 1000 parts"},
		{"an index beyond all lists", template(`{"x":["{{ v[999999999] }}","{{ v.b[` + strings.Repeat("9", many) + `] }}","{{ v[-999999999] }}"]}`), `{"v":[1]}`, ""},
		{"a large object many times", template(`{"x":` + list(`"{{ v }}"`, many) + `}`), `{"v":` + object("k", "1", 1000) + `}`, tooLarge},
		{"a large text many times", template(`{"x":` + list(`"{{ v }}"`, many) + `}`), `{"v":` + large + `}`, tooLarge},
		{"a large text many times in text", template(`{"x":"` + strings.Repeat("{{ v }} ", many) + `"}`), `{"v":` + large + `}`, tooLarge},
		{"a large object many times in text", template(`{"x":"` + strings.Repeat("{{ v }} ", many) + `"}`), `{"v":` + object("k", "1", many) + `}`, tooLarge},
		{"characters of a large text", template(`{"x":` + list(`"{{ v[-5] }}"`, many) + `}`), `{"v":` + large + `}`, tooLarge},
		{"many dotted names", template(`{"env":"{{ env }}"}`), object("env.N", "true", many), ""},
		{"many names in each other's way", template(`{}`), `{"a":1,` + object("a.x.", "true", many)[1:], ""},
		{"many labels of a wrong type", template(`{"labels":"{{ l }}"}`), `{"l":` + object("k", "1", many) + `}`, "and 29900 more"},
		{"many blocks that are missing", template(`{"x":` + list(`"{{ prefect.blocks.a.b }}"`, many) + `}`), "", "and 29900 more"},
		{"braces that never close", template(`{"x":"` + strings.Repeat("{{ ", many) + strings.Repeat("{", many) + strings.Repeat("a", many) + `"}`), "", ""},
		{"long names of what is wrong", template(`{"labels":{"` + strings.Repeat("k", many) + `":"{{ prefect.blocks.` + strings.Repeat("n", many) + ` }}"}}`), "", "is no reference to a block"},
		{"a number of many digits", template(`{"x":"<{{ v }}>","y":"{{ v }}"}`), `{"v":` + strings.Repeat("1", many) + `.5e7}`, ""},
		{"all keys the same", template(`{"x":{` + strings.TrimSuffix(strings.Repeat(`"k":1,`, many), ",") + `}}`), "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			got, err := resolveText(t, []json.RawMessage{json.RawMessage(test.template), json.RawMessage(test.deployment), nil})
			if took := time.Since(start); took > longest {
				t.Errorf("took %s", took)
			}
			switch {
			case err != nil:
				checkProblems(t, err)
				if test.refusal == "" || !strings.Contains(err.Error(), test.refusal) {
					t.Errorf("refused: %.300s", err)
				}
			case test.refusal != "":
				t.Errorf("resolved")
			default:
				checkResolved(t, got)
			}
		})
	}
}
