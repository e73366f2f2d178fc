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

func document(t testing.TB, text string) map[string]any {
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
	template, err := Parse(json.RawMessage(`{"job_configuration":` + configuration + `,"variables":{"type":"object","properties":` + properties + `}}`))
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
		{name: "env: pairs of a run count", configuration: `{"env":"{{ env }}"}`, deployment: `{"env":{"A":"1"}}`, run: `{"env":[["B","2"],"CD",{"E":1,"F":2}]}`, want: `{"env":{"A":"1","B":"2","C":"D","E":"F"}}`},
		{name: "env: an empty list or text of a run adds nothing", configuration: `{"env":"{{ env }}"}`, deployment: `{"env":{"A":"1"}}`, run: `{"env":[]}`, want: `{"env":{"A":"1"}}`},
		{name: "env: a default that is itself a placeholder", configuration: `{"env":"{{ env }}"}`, properties: `{"env":{"default":"{{ e }}"}}`, deployment: `{"e":{"A":"1"}}`, want: `{"env":{"A":"1"}}`},
		{name: "env: an empty default of any kind is none", configuration: `{"env":"{{ env }}"}`, properties: `{"env":{"default":[]}}`, deployment: `{"env":{"A":"1"}}`, want: `{"env":{"A":"1"}}`},
		{name: "dotted under nested", configuration: `{"a":"{{ v }}"}`, deployment: `{"v.x.y":1,"v.z":2,"v":{"x":{"y":3},"w":4}}`, want: `{"a":{"x":{"y":3},"z":2,"w":4}}`},
		{name: "dotted with brackets", configuration: `{"a":"{{ v }}"}`, deployment: `{"v.l[0]":1}`, want: `{"a":{"l":{"0":1}}}`},
		{name: "dotted names in their order", configuration: `{"a":"{{ v }}"}`, deployment: `{"v.x":1,"v.y.z":2}`, run: `{"v.x":{"y":3}}`, want: `{"a":{"x":{"y":3},"y":{"z":2}}}`},
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
		{name: "a $ref to nothing is left alone", configuration: `{"b":{"$ref":{"block_document_id":null}},"c":{"$ref":{}}}`, want: `{"b":{"$ref":{"block_document_id":null}},"c":{"$ref":{}}}`},
		{name: "digits of any script are an index", configuration: `{"a":"{{ v[١] }}"}`, deployment: `{"v":[0,"one"]}`, want: `{"a":"one"}`},
		{name: "prefixes count as often as they stand there", configuration: `{"a":"{{ prefect.blocks.prefect.blocks.secret.s }}","b":"{{ prefect.variables.prefect.variables.text }}"}`, want: `{"a":"hush","b":"hello"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			template := parse(t, test.configuration, test.properties)
			got, err := template.Resolve(t.Context(), Input{
				Deployment: document(t, test.deployment), Run: document(t, test.run), Env: workerEnv, Source: testSource(),
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(document(t, test.want), got.Configuration); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTypedFields(t *testing.T) {
	template := parse(t, `{"env":"{{ env }}","labels":"{{ labels }}","command":"{{ command }}","name":"{{ name }}"}`, "")
	got, err := template.Resolve(t.Context(), Input{
		Deployment: json.RawMessage(`{"env":{"B":true,"N":null,"A":1,"L":[1]},"labels":{"team":"data"},"command":"","name":"{{ ctx.flow.name }}-{{ ctx.flow_run.tags[0] }}-{{ ctx.no }}"}`),
		Context:    document(t, `{"flow":{"name":"etl"},"flow_run":{"tags":["t1"]}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &Resolved{
		Configuration: got.Configuration,
		Document:      json.RawMessage(`{"env":{"B":true,"N":null,"A":1,"L":[1]},"labels":{"team":"data"},"command":"","name":"{{ ctx.flow.name }}-{{ ctx.flow_run.tags[0] }}-{{ ctx.no }}"}`),
		Env:           []EnvVar{{"B", "True"}, {"A", "1"}, {"L", "[1]"}},
		Unset:         []string{"N"},
		Labels:        map[string]string{"team": "data"},
		LabelNames:    []string{"team"},
		Name:          "etl-t1-",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// JSON text keeps the order of its keys wherever Prefect shows it.
func TestOrder(t *testing.T) {
	template, err := Parse(json.RawMessage(`{"job_configuration":{"env":{"Z":"{{ o }}","T":1}},
		"variables":{"properties":{"env":{"default":{"D":1,"Z":"over {{ o }}"}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	source := testSource()
	source.variables["text"] = json.RawMessage(`{"z":1,"a":[{"y":1,"b":2}]}`)
	got, err := template.Resolve(t.Context(), Input{
		Deployment: json.RawMessage(`{"env.Y":1,"env.X":2,"o":{"k2":1,"k1":2,"k2":3},"env":{"B":"{{ prefect.variables.text }}"}}`),
		Run:        json.RawMessage(`{"env":{"C":1,"A":2}}`), Source: source,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []EnvVar{
		{"Z", "over {'k2': 3, 'k1': 2}"},
		{"T", "1"},
		{"D", "1"},
		{"Y", "1"},
		{"X", "2"},
		{"B", "{'z': 1, 'a': [{'y': 1, 'b': 2}]}"},
		{"C", "1"},
		{"A", "2"},
	}
	if diff := cmp.Diff(want, got.Env); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The same documents in Go's form are the same, but for the order they have lost.
func TestFormsOfDocuments(t *testing.T) {
	for _, deployment := range []any{
		json.RawMessage(`{"v":{"a":[1,{"b":null}]},"n":1.0}`),
		[]byte(` {"v":{"a":[1,{"b":null}]},"n":1.0} `),
		document(t, `{"v":{"a":[1,{"b":null}]},"n":1.0}`),
		map[string]any{"v": json.RawMessage(`{"a":[1,{"b":null}]}`), "n": json.Number("1.0")},
		map[string]any{"v": map[string][]any{"a": {1, map[string]*int{"b": nil}}}, "n": json.RawMessage("1.0")},
	} {
		template := parse(t, `{"x":"{{ v }}","y":"{{ n }}","z":"<{{ n }}>"}`, "")
		got, err := template.Resolve(t.Context(), Input{Deployment: deployment, Run: json.RawMessage("null"), Context: map[string]any(nil)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(document(t, `{"x":{"a":[1,{"b":null}]},"y":1.0,"z":"<1.0>"}`), got.Configuration); diff != "" {
			t.Errorf("%T (-want +got):\n%s", deployment, diff)
		}
	}
}

func TestNameWrittenInTheTemplateIsBlank(t *testing.T) {
	template := parse(t, `{"name":"run {{ ctx.flow.name }}"}`, "")
	got, err := template.Resolve(t.Context(), Input{Context: document(t, `{"flow":{"name":"etl"}}`)})
	if err != nil || got.Name != "run " {
		t.Errorf("got %q, %v", got.Name, err)
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
