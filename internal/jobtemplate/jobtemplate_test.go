package jobtemplate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeSource holds blocks under "id" or "slug/name" and counts what is read.
type fakeSource struct {
	blocks    map[string]map[string]any
	variables map[string]any
	broken    error
	reads     map[string]int
}

func (s *fakeSource) BlockDocument(_ context.Context, id string) (map[string]any, error) {
	if s.reads != nil {
		s.reads[id]++
	}
	data, ok := s.blocks[id]
	if s.broken != nil {
		return nil, s.broken
	}
	if !ok {
		return nil, fmt.Errorf("block %s: %w", id, ErrNotFound)
	}
	return data, nil
}

func (s *fakeSource) BlockDocumentByName(ctx context.Context, slug, name string) (map[string]any, error) {
	return s.BlockDocument(ctx, slug+"/"+name)
}

func (s *fakeSource) Variable(_ context.Context, name string) (any, error) {
	if s.reads != nil {
		s.reads["var "+name]++
	}
	value, ok := s.variables[name]
	if !ok {
		return nil, ErrNotFound
	}
	return value, nil
}

func object(t testing.TB, text string) map[string]any {
	t.Helper()
	if text == "" {
		return nil
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var out map[string]any
	if err := decoder.Decode(&out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

func parse(t testing.TB, configuration, properties string) *Template {
	t.Helper()
	if properties == "" {
		properties = "{}"
	}
	template, err := Parse(object(t, `{"job_configuration":`+configuration+`,"variables":{"type":"object","properties":`+properties+`}}`))
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func workerEnv(name string) (string, bool) {
	if name == "HOME" {
		return "/root", true
	}
	return "", false
}

func testSource() *fakeSource {
	return &fakeSource{
		blocks: map[string]map[string]any{
			"id-1":              {"region_name": "eu-west-1", "aws_secret_access_key": "s3cret"},
			"secret/s":          {"value": "hush"},
			"json/j":            {"value": map[string]any{"a": []any{map[string]any{"b": "deep"}}}},
			"secret/valuesish":  {"value": map[string]any{"values": "inner"}},
			"docker/d":          {"image": "img", "tag": "v1", "nested": map[string]any{"x": json.Number("1")}},
			"secret/two.dotted": {"value": "x"},
		},
		variables: map[string]any{
			"text":   "hello",
			"number": json.Number("5"),
			"object": map[string]any{"k": []any{true, nil}},
		},
		reads: map[string]int{},
	}
}

func TestResolve(t *testing.T) {
	tests := []struct {
		name          string
		configuration string
		properties    string
		deployment    string
		run           string
		want          string // resolved configuration
	}{
		{name: "plain values stay", configuration: `{"a":1,"b":true,"c":null,"d":"x","e":1.50}`, want: `{"a":1,"b":true,"c":null,"d":"x","e":1.50}`},
		{name: "alone keeps the type", configuration: `{"a":"{{ v }}"}`, deployment: `{"v":{"x":[1,"2",null]}}`, want: `{"a":{"x":[1,"2",null]}}`},
		{name: "blanks do not matter", configuration: `{"a":"{{v}}","b":"{{\n v\t}}"}`, deployment: `{"v":1}`, want: `{"a":1,"b":1}`},
		{name: "unset removes key and item", configuration: `{"a":"{{ no }}","l":["{{ no }}",1],"o":{"k":"{{ no }}"}}`, want: `{"l":[1],"o":{}}`},
		{name: "unset in text is nothing", configuration: `{"a":"x{{ no }}y"}`, want: `{"a":"xy"}`},
		{name: "null is a value", configuration: `{"a":"{{ v }}","b":"<{{ v }}>"}`, deployment: `{"v":null}`, want: `{"a":null,"b":"<None>"}`},
		{name: "default null is none", configuration: `{"a":"{{ v }}"}`, properties: `{"v":{"default":null}}`, want: `{}`},
		{name: "default false and zero count", configuration: `{"a":"{{ v }}","b":"{{ w }}"}`, properties: `{"v":{"default":false},"w":{"default":0}}`, want: `{"a":false,"b":0}`},
		{name: "null over a default", configuration: `{"a":"{{ v }}"}`, properties: `{"v":{"default":1}}`, deployment: `{"v":null}`, want: `{"a":null}`},
		{
			name: "run over deployment over default, whole key", configuration: `{"a":"{{ v }}","b":"{{ w }}"}`, properties: `{"v":{"default":{"d":1}},"w":{"default":1}}`,
			deployment: `{"v":{"x":1},"w":2}`, run: `{"v":{"y":1}}`, want: `{"a":{"y":1},"b":2}`,
		},
		{
			name: "text forms", configuration: `{"a":"{{ t }} {{ f }} {{ n }} {{ i }} {{ x }} {{ l }}"}`,
			deployment: `{"t":true,"f":false,"n":null,"i":3,"x":1.5e20,"l":["a",{"b":"it's"},null,1.0]}`, want: `{"a":"True False None 3 1.5e+20 ['a', {'b': \"it's\"}, None, 1.0]"}`,
		},
		{
			name: "paths", configuration: `{"a":"{{ o.l[1].k }}","b":"{{ o.l.-1.k }}","c":"{{ o.s[0] }}","d":"{{ o.l[9] }}","e":"{{ o.1 }}"}`,
			deployment: `{"o":{"l":[0,{"k":"v"}],"s":"str","1":"unreachable"}}`, want: `{"a":"v","b":"v","c":"s"}`,
		},
		{name: "worker environment is text", configuration: `{"a":"{{ $HOME }}","b":"{{ $NOPE }}","c":"{{ $HOME }}/x"}`, want: `{"a":"/root","b":"","c":"/root/x"}`},
		{name: "one pass only", configuration: `{"a":"{{ v }}"}`, deployment: `{"v":"{{ w }} {{ $HOME }}","w":1}`, want: `{"a":"{{ w }} {{ $HOME }}"}`},
		{
			name: "env: all four layers", configuration: `{"env":{"T":"t","D":"t","V":"t","R":"t"}}`, properties: `{"env":{"default":{"D":"d","V":"d","R":"d"}}}`,
			deployment: `{"env":{"V":"v","R":"v"}}`, run: `{"env":{"R":"r"}}`, want: `{"env":{"T":"t","D":"d","V":"v","R":"r"}}`,
		},
		{
			name: "env: placeholder and default", configuration: `{"env":"{{ env }}"}`, properties: `{"env":{"default":{"A":"d","B":"d"}}}`,
			deployment: `{"env":{"A":"v"},"env.C":1}`, want: `{"env":{"A":"v","B":"d","C":1}}`,
		},
		{
			name: "env: placeholder without default", configuration: `{"env":"{{ env }}","again":{"environment":"{{ env }}"}}`, deployment: `{"env":{"A":"v"}}`, run: `{"env":{"B":null}}`,
			want: `{"env":{"A":"v","B":null},"again":{"environment":{"A":"v","B":null}}}`,
		},
		{
			name: "env: elsewhere it is replaced whole", configuration: `{"env":"{{ env }}","again":"{{ env }}"}`, properties: `{"env":{"default":{"A":"d"}}}`, deployment: `{"env":{"B":"v"}}`,
			want: `{"env":{"A":"d","B":"v"},"again":{"B":"v"}}`,
		},
		{name: "env: null of a run hides nothing", configuration: `{"env":"{{ env }}"}`, deployment: `{"env":{"A":"1"}}`, run: `{"env":null}`, want: `{"env":{"A":"1"}}`},
		{name: "dotted under nested", configuration: `{"a":"{{ v }}"}`, deployment: `{"v.x.y":1,"v.z":2,"v":{"x":{"y":3},"w":4}}`, want: `{"a":{"x":{"y":3},"z":2,"w":4}}`},
		{name: "dotted with brackets", configuration: `{"a":"{{ v }}"}`, deployment: `{"v.l[0]":1}`, want: `{"a":{"l":{"0":1}}}`},
		{name: "plain value over dotted", configuration: `{"a":"{{ v }}"}`, deployment: `{"v.x":1,"v":2}`, want: `{"a":2}`},
		{name: "block by id", configuration: `{"c":"{{ c }}"}`, deployment: `{"c":{"$ref":{"block_document_id":"id-1"}}}`, want: `{"c":{"region_name":"eu-west-1","aws_secret_access_key":"s3cret"}}`},
		{
			name: "block by name", configuration: `{"a":"{{ prefect.blocks.secret.s }}","b":"x-{{ prefect.blocks.secret.s.value }}-y","c":"{{ prefect.blocks.json.j.a[0].b }}","d":"{{ prefect.blocks.docker.d }}"}`,
			want: `{"a":"hush","b":"x-hush-y","c":"deep","d":{"image":"img","tag":"v1","nested":{"x":1}}}`,
		},
		{name: "block path that only begins like value", configuration: `{"a":"{{ prefect.blocks.secret.valuesish.values }}"}`, want: `{"a":"inner"}`},
		{name: "block through a variable's value", configuration: `{"a":"{{ v }}"}`, deployment: `{"v":"{{ prefect.blocks.secret.s }}"}`, want: `{"a":"hush"}`},
		{
			name: "variables", configuration: `{"a":"{{ prefect.variables.object }}","b":"<{{ prefect.variables.number }}{{ prefect.variables.no }}>","c":"{{ prefect.variables.no }}"}`,
			want: `{"a":{"k":[true,null]},"b":"<5>","c":""}`,
		},
		{name: "not placeholders", configuration: `{"a":"{{ a b }} {{}} {{ }} {x} {{{ v }}}"}`, deployment: `{"v":"V"}`, want: `{"a":"{{ a b }} {{}} {{ }} {x} {V}"}`},
		{name: "an odd $ref is left alone", configuration: `{"a":{"$ref":"#/x"},"b":{"$ref":{"block_document_id":null}}}`, want: `{"a":{"$ref":"#/x"},"b":{"$ref":{"block_document_id":null}}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			template := parse(t, test.configuration, test.properties)
			got, err := template.Resolve(t.Context(), Input{
				Deployment: object(t, test.deployment), Run: object(t, test.run), Env: workerEnv, Source: testSource(),
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(object(t, test.want), got.Configuration); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTypedFields(t *testing.T) {
	template := parse(t, `{"env":"{{ env }}","labels":"{{ labels }}","command":"{{ command }}","name":"{{ name }}"}`, "")
	got, err := template.Resolve(t.Context(), Input{
		Deployment: object(t, `{"env":{"B":true,"A":1,"L":[1],"N":null},"labels":{"team":"data"},"command":"","name":"{{ ctx.flow.name }}-{{ ctx.flow_run.tags[0] }}-{{ ctx.no }}"}`),
		Context:    object(t, `{"flow":{"name":"etl"},"flow_run":{"tags":["t1"]}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &Resolved{
		Configuration: got.Configuration,
		Env:           []EnvVar{{"A", "1"}, {"B", "True"}, {"L", "[1]"}},
		Unset:         []string{"N"},
		Labels:        map[string]string{"team": "data"},
		Name:          "etl-t1-",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNameWrittenInTheTemplateIsBlank(t *testing.T) {
	template := parse(t, `{"name":"run {{ ctx.flow.name }}"}`, "")
	got, err := template.Resolve(t.Context(), Input{Context: object(t, `{"flow":{"name":"etl"}}`)})
	if err != nil || got.Name != "run " {
		t.Errorf("got %q, %v", got.Name, err)
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	template := parse(t, `{"env":{"A":"1"},"labels":"{{ labels }}","command":"{{ command }}",
		"x":["{{ prefect.blocks.secret.gone }}"],"y":"{{ prefect.blocks.json.j.nope }}","z":"{{ prefect.blocks.alone }}","w":"in {{ prefect.blocks.json.j }}"}`, "")
	_, err := template.Resolve(t.Context(), Input{
		Deployment: object(t, `{"labels":{"ok":"x","a.b":1},"command":5,"env":{"B":"2"},"p.q":1,"p.q.r":2}`),
		Run:        object(t, `{"env":"text"}`),
		Source:     testSource(),
	})
	var problems *Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	want := []string{
		`job_variables.env: must be an object, not a string`,
		`job_variables["p.q.r"]: a part of this name already has a value that is not an object`,
		`job_configuration.w: Invalid template: 'in {{ prefect.blocks.json.j }}'. {{ prefect.blocks.json.j }} is an object, which cannot stand inside text: name one of its fields.`,
		`job_configuration.x[0]: Block not found: 'gone' of type 'secret'. ` + blockIsGone,
		`job_configuration.y: Invalid template: '{{ prefect.blocks.json.j.nope }}'. Could not resolve the keypath in the block document data.`,
		`job_configuration.z: Invalid block placeholder format: 'prefect.blocks.alone'. Expected format: prefect.blocks.<block-type-slug>.<block-document-name>`,
		`job_configuration.command: must be a string, not a number`,
		`job_configuration.labels["a.b"]: must be a string, not a number`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseReportsMalformedTemplates(t *testing.T) {
	tests := []struct{ base, want string }{
		{`{}`, "job_configuration: is missing from the base job template\nvariables: is missing from the base job template"},
		{`{"job_configuration":[],"variables":"x"}`, "job_configuration: must be an object, not a list\nvariables: must be an object, not a string"},
		{`{"job_configuration":{},"variables":{"properties":[]}}`, "variables.properties: must be an object, not a list"},
		{
			`{"job_configuration":{},"variables":{"properties":{"a":1,"env":{"default":"x"}}}}`,
			"variables.properties.a: must be an object, not a number\nvariables.properties.env.default: must be an object, not a string",
		},
	}
	for _, test := range tests {
		if _, err := Parse(object(t, test.base)); err == nil || err.Error() != test.want {
			t.Errorf("%s:\ngot  %v\nwant %s", test.base, err, test.want)
		}
	}
	if _, err := Parse(object(t, `{"job_configuration":{},"variables":{}}`)); err != nil {
		t.Errorf("smallest template: %v", err)
	}
}

func TestSourceTroubleIsNotAProblem(t *testing.T) {
	down := errors.New("connection refused")
	template := parse(t, `{"a":"{{ prefect.blocks.secret.s }}"}`, "")
	_, err := template.Resolve(t.Context(), Input{Source: &fakeSource{broken: down}})
	var problems *Problems
	if !errors.Is(err, down) || errors.As(err, &problems) {
		t.Errorf("got %v", err)
	}
}

func TestEachDocumentIsReadOnce(t *testing.T) {
	source := testSource()
	template := parse(t, `{"a":"{{ prefect.blocks.secret.s }}","b":"{{ prefect.blocks.secret.s }}","c":{"$ref":{"block_document_id":"id-1"}},"d":{"$ref":{"block_document_id":"id-1"}},
		"e":"{{ prefect.variables.text }} {{ prefect.variables.text }}","f":"{{ prefect.variables.gone }}{{ prefect.variables.gone }}"}`, "")
	if _, err := template.Resolve(t.Context(), Input{Source: source}); err != nil {
		t.Fatal(err)
	}
	for what, n := range source.reads {
		if n != 1 {
			t.Errorf("%s was read %d times", what, n)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	got := Placeholders(object(t, `{"a":"{{ x }} {{ $Y }}","b":["{{ x }}",{"c":"{{ prefect.blocks.a.b }}"}],"d":1}`))
	if diff := cmp.Diff([]string{"$Y", "prefect.blocks.a.b", "x"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestText(t *testing.T) {
	tests := []struct {
		value any
		want  string
	}{
		{"as it is", "as it is"},
		{nil, "None"},
		{true, "True"},
		{false, "False"},
		{json.Number("1024"), "1024"},
		{json.Number("-0"), "0"},
		{json.Number("1.0"), "1.0"},
		{json.Number("1e3"), "1000.0"},
		{json.Number("1e16"), "1e+16"},
		{json.Number("0.0001"), "0.0001"},
		{json.Number("0.00001"), "1e-05"},
		{json.Number("1e999"), "inf"},
		{json.Number("-1e999"), "-inf"},
		{json.Number("123456789012345678901234567890"), "123456789012345678901234567890"},
		{1024.0, "1024"},
		{0.5, "0.5"},
		{1e20, "1e+20"},
		{[]any{"a'b", `a"b`, `'"`, "\n\t\r\\\x00\u200b\u00e9\U000e0001"}, `["a'b", 'a"b', '\'"', '\n\t\r\\\x00\u200b` + "\u00e9" + `\U000e0001']`},
		{map[string]any{"b": nil, "a": map[string]any{}}, `{'a': {}, 'b': None}`},
	}
	for _, test := range tests {
		if got := Text(test.value); got != test.want {
			t.Errorf("Text(%#v) = %s, want %s", test.value, got, test.want)
		}
	}
}
