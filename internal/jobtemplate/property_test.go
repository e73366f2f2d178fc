package jobtemplate

import (
	"encoding/json"
	"maps"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// jsonValue draws any JSON value with strings from texts.
func jsonValue(texts *rapid.Generator[string], depth int) *rapid.Generator[any] {
	scalar := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.SampledFrom([]string{"0", "1", "512", "-3", "1.5", "1.0", "2e10"}), func(n string) any { return json.Number(n) }),
		rapid.Map(texts, func(s string) any { return s }),
		rapid.Map(texts, func(s string) any { return s }),
	)
	if depth == 0 {
		return scalar
	}
	return rapid.OneOf(scalar,
		rapid.Map(rapid.SliceOfN(jsonValue(texts, depth-1), 0, 3), func(l []any) any { return l }),
		rapid.Map(jsonObject(texts, depth-1), func(o map[string]any) any { return o }),
	)
}

func jsonObject(texts *rapid.Generator[string], depth int) *rapid.Generator[map[string]any] {
	keys := rapid.SampledFrom([]string{"a", "b", "c", "x", "cpu"})
	return rapid.MapOfN(keys, jsonValue(texts, depth), 0, 3)
}

var plainTexts = rapid.SampledFrom([]string{"", "x", "it's", "two words", "é", "{ }", "{{", "}}"})

var templateTexts = rapid.SampledFrom([]string{
	"", "plain", "{{ a }}", "{{ b }}", "{{ c }}", "{{ a }}-{{ b }}", "<{{ x.a }}>", "{{ x.b[0] }}", "{{ x.-1 }}", "{{ z.a }}:{{ z.b }}", "{{a}}{{ no }}", "{{ cpu }}",
	"{{ prefect.variables.text }}", "v={{ prefect.variables.object }}", "{{ prefect.variables.no }}",
	"{{ prefect.blocks.secret.s }}", "{{ prefect.blocks.json.j.a[0].b }}!", "{{ $NOT_SET_ANYWHERE }}", "{{ $NOT_SET_ANYWHERE }} {{ a }}",
})

// A template without placeholders resolves to itself.
func TestPropertyNoPlaceholdersNoChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		configuration := jsonObject(plainTexts, 3).Draw(t, "configuration")
		template, err := Parse(map[string]any{"job_configuration": configuration, "variables": map[string]any{}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := template.Resolve(t.Context(), Input{Deployment: jsonObject(plainTexts, 2).Draw(t, "variables")})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(configuration, got.Configuration) {
			t.Fatalf("got %v", got.Configuration)
		}
	})
}

// Resolving changes neither template nor inputs, and gives the same each time.
func TestPropertyPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := map[string]any{"job_configuration": jsonObject(templateTexts, 3).Draw(t, "configuration"), "variables": map[string]any{}}
		in := Input{Deployment: jsonObject(templateTexts, 2).Draw(t, "deployment"), Run: jsonObject(templateTexts, 2).Draw(t, "run"), Source: testSource()}
		before := inGo(t, []any{base, in.Deployment, in.Run})
		template, err := Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		first, firstErr := template.Resolve(t.Context(), in)
		if first != nil {
			scribble(first.Configuration)
		}
		second, secondErr := template.Resolve(t.Context(), in)
		third, _ := template.Resolve(t.Context(), in)
		if (firstErr == nil) != (secondErr == nil) || !reflect.DeepEqual(second, third) {
			t.Fatalf("different results: %v, %v", firstErr, secondErr)
		}
		if !reflect.DeepEqual(before, inGo(t, []any{base, in.Deployment, in.Run})) {
			t.Fatal("an input was changed")
		}
	})
}

// inGo is a copy of a document in Go's form.
func inGo(t *rapid.T, document any) any {
	value, err := read(document)
	if err != nil {
		t.Fatal(err)
	}
	return plain(value)
}

// scribble writes over everything inside a value, to find what is shared.
func scribble(value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, item := range value {
			scribble(item)
			value[key] = "scribbled"
		}
	case []any:
		for i, item := range value {
			scribble(item)
			value[i] = "scribbled"
		}
	}
}

// Whatever the layers hold, the highest that names a variable wins.
func TestPropertyEnvPrecedence(t *testing.T) {
	layer := rapid.MapOfN(rapid.SampledFrom([]string{"A", "B", "C", "D"}), rapid.Map(rapid.SampledFrom([]string{"1", "2", "3"}), func(s string) any { return s }), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		layers := []map[string]any{layer.Draw(t, "template"), layer.Draw(t, "default"), layer.Draw(t, "deployment"), layer.Draw(t, "run")}
		template, err := Parse(map[string]any{
			"job_configuration": map[string]any{"env": layers[0]},
			"variables":         map[string]any{"properties": map[string]any{"env": map[string]any{"default": layers[1]}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := template.Resolve(t.Context(), Input{Deployment: map[string]any{"env": layers[2]}, Run: map[string]any{"env": layers[3]}})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{}
		for _, l := range layers {
			maps.Copy(want, l)
		}
		if !reflect.DeepEqual(want, got.Configuration["env"]) {
			t.Fatalf("got %v, want %v", got.Configuration["env"], want)
		}
	})
}
