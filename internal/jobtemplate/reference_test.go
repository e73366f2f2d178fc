package jobtemplate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestAgainstPrefect compares generated cases with Prefect's own resolution.
// FABER_TEST_PYTHON names a Python that has Prefect installed.
func TestAgainstPrefect(t *testing.T) {
	python := os.Getenv("FABER_TEST_PYTHON")
	if python == "" && os.Getenv("CI") == "true" {
		t.Fatal("FABER_TEST_PYTHON is not set")
	}
	if python == "" {
		t.Skip("SKIP FABER_TEST_PYTHON is not set")
	}
	reference := startReference(t, python)
	source := testSource()
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		base := map[string]any{
			"job_configuration": drawConfiguration(t),
			"variables":         map[string]any{"properties": drawProperties(t)},
		}
		deployment, run := drawVariables(t, "deployment"), drawVariables(t, "run")
		want := reference(t, map[string]any{
			"template": base, "deployment": deployment, "run": run, "blocks": source.blocks, "variables": source.variables,
		})
		template, err := Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		got, err := template.Resolve(t.Context(), Input{Deployment: deployment, Run: run, Source: source})
		if (err == nil) != (want.Error == "") {
			t.Fatalf("got error %v, Prefect has %q", err, want.Error)
		}
		if err != nil {
			return
		}
		accepted++
		if diff := cmp.Diff(want.OK, asPrefect(got), cmp.Comparer(sameNumber)); diff != "" {
			t.Fatalf("(-Prefect +ours):\n%s", diff)
		}
	})
	if accepted == 0 {
		t.Error("no case was accepted by both: the comparison shows nothing")
	}
}

type referenceAnswer struct {
	OK    map[string]any `json:"ok"`
	Error string         `json:"error"`
}

func startReference(t *testing.T, python string) func(*rapid.T, any) referenceAnswer {
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), python, "testdata/reference.py")
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
	t.Cleanup(func() {
		in.Close()
		io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("reference: %v", err)
		}
	})
	lines := bufio.NewReader(out)
	return func(t *rapid.T, request any) referenceAnswer {
		encoded, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write(append(encoded, '\n')); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var answer referenceAnswer
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.UseNumber()
		if err := decoder.Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
}

// asPrefect puts our result in the shape of Prefect's: the typed fields in
// place of the raw ones.
func asPrefect(got *Resolved) map[string]any {
	out := copyObject(got.Configuration)
	env := map[string]any{}
	for _, variable := range got.Env {
		env[variable.Name] = variable.Value
	}
	for _, name := range got.Unset {
		env[name] = nil
	}
	labels := map[string]any{}
	for name, value := range got.Labels {
		labels[name] = value
	}
	out["env"], out["labels"] = env, labels
	out["command"] = orNil(got.Command)
	if _, ok := out["name"]; !ok {
		out["name"] = nil
	}
	return out
}

// sameNumber takes 2e10 and 20000000000.0 for the same: decoding and encoding
// again has changed how Prefect's numbers are written, not what they are.
func sameNumber(a, b json.Number) bool { return numberText(a) == numberText(b) }

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func drawConfiguration(t *rapid.T) map[string]any {
	configuration := jsonObject(templateTexts, 3).Draw(t, "configuration")
	configuration["command"] = templateTexts.Draw(t, "command")
	if rapid.Bool().Draw(t, "env is a placeholder") {
		configuration["env"] = "{{ env }}"
	} else {
		configuration["env"] = anyMap(rapid.MapOfN(envNames, templateTexts, 0, 3).Draw(t, "template env"))
	}
	configuration["labels"] = anyMap(rapid.MapOfN(envNames, templateTexts, 0, 2).Draw(t, "labels"))
	return configuration
}

var envNames = rapid.SampledFrom([]string{"A", "B", "C"})

func anyMap(m map[string]string) map[string]any {
	out := map[string]any{}
	for key, value := range m {
		out[key] = value
	}
	return out
}

func drawProperties(t *rapid.T) map[string]any {
	properties := map[string]any{}
	for name, value := range rapid.MapOfN(rapid.SampledFrom([]string{"a", "x", "cpu"}), jsonValue(valueTexts, 0), 0, 2).Draw(t, "defaults") {
		properties[name] = map[string]any{"default": value}
	}
	if rapid.Bool().Draw(t, "default env") {
		properties["env"] = map[string]any{"default": anyMap(rapid.MapOfN(envNames, templateTexts, 0, 3).Draw(t, "env"))}
	}
	return properties
}

// valueTexts refer to nothing that is filled in the first pass: where several
// placeholders meet in one text, Prefect may look through what it has just
// filled in, in an order that changes from run to run.
var valueTexts = rapid.SampledFrom([]string{"", "plain", "é 'q'", "{{ prefect.variables.text }}", "{{ prefect.blocks.secret.s }}", "<{{ prefect.variables.object }}>"})

// drawVariables draws objects of one key only, as ours have lost their order,
// which shows in text.
func drawVariables(t *rapid.T, label string) map[string]any {
	small := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b"}), jsonValue(valueTexts, 0), 0, 1)
	value := rapid.OneOf(
		jsonValue(valueTexts, 0),
		rapid.Map(small, func(o map[string]any) any { return o }),
		rapid.Map(rapid.SliceOfN(jsonValue(valueTexts, 0), 0, 2), func(l []any) any { return l }),
		rapid.Map(small, func(o map[string]any) any { return map[string]any{"b": []any{o}} }),
	)
	variables := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "x", "cpu"}), value, 0, 4).Draw(t, label)
	if rapid.Bool().Draw(t, label+" has env") {
		variables["env"] = rapid.MapOfN(envNames, jsonValue(valueTexts, 0), 0, 3).Draw(t, label+" env")
	}
	if rapid.Bool().Draw(t, label+" is dotted") {
		variables[rapid.SampledFrom([]string{"env.B", "z.a", "z.b[0]"}).Draw(t, "dotted")] = jsonValue(plainTexts, 0).Draw(t, "dotted value")
	}
	return variables
}
