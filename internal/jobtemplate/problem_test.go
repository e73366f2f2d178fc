package jobtemplate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every problem is told, with its place and with who gave the value.
func TestAllProblemsAtOnce(t *testing.T) {
	template := parse(t, `{"env":{"A":"1"},"labels":"{{ labels }}","command":"{{ command }}","name":"{{ name }}",
		"x":["{{ unset }}","{{ prefect.blocks.secret.gone }}"],"y":"{{ prefect.blocks.json.j.nope }}","z":"{{ prefect.blocks.alone }}","w":"in {{ prefect.blocks.json.j }}",
		"d":["{{ unset }}",{"k":"{{ deep.list }}"}],"r":{"$ref":"#/x"},"i":{"$ref":{"block_document_id":5}}}`,
		`{"name":{"default":["n"]}}`)
	_, err := template.Resolve(t.Context(), Input{
		Deployment: json.RawMessage(`{"labels":{"ok":"x","a.b":1},"command":5,"env":{"B":"{{ prefect.blocks.secret.lost }}"},"p.q":1,"p.q.r":2,"deep.list":["x","{{ prefect.blocks.a.b }}"]}`),
		Run:        json.RawMessage(`{"env":"text","labels":{"a.b":1.5},"deep.list":["a {{ prefect.blocks.a.b }}"]}`),
		Source:     testSource(),
	})
	var problems *Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	const inTemplate = " (written in the base job template)"
	want := []string{
		`job_variables.env: must be an object, not a string (job variable "env" of the flow run)`,
		`job_variables["p.q.r"]: a part of this name already has a value that is not an object (job variable "p.q.r" of the deployment)`,
		`job_configuration.env.B: there is no block 'lost' of type 'secret': ` + fixBlock + ` (job variable "env" of the deployment)`,
		`job_configuration.x[0]: there is no block 'gone' of type 'secret': ` + fixBlock + inTemplate,
		`job_configuration.y: {{ prefect.blocks.json.j.nope }} names a field that block 'j' of type 'json' does not have` + inTemplate,
		`job_configuration.z: {{ prefect.blocks.alone }} is no reference to a block: it must be prefect.blocks.<block-type-slug>.<block-document-name>` + inTemplate,
		`job_configuration.w: {{ prefect.blocks.json.j }} is an object, which cannot stand inside text: name one of its fields` + inTemplate,
		`job_configuration.d[0].k[0]: there is no block 'b' of type 'a': ` + fixBlock + ` (job variable "deep.list" of the flow run)`,
		`job_configuration.r.$ref: must be an object, not a string` + inTemplate,
		`job_configuration.i: $ref.block_document_id must be a string, not a number` + inTemplate,
		`job_configuration.command: must be a string, not a number (job variable "command" of the deployment)`,
		`job_configuration.labels["a.b"]: must be a string, not a number (job variable "labels" of the flow run)`,
		`job_configuration.name: must be a string, not a list (default of variable "name" in the work pool)`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, want := problems.Exception("ECSJobConfiguration"), "ValueError: dictionary update sequence element #0 has length 1; 2 is required"; got != want {
		t.Errorf("exception %s", got)
	}
	if problems.Class() != "ValueError" {
		t.Errorf("class %s", problems.Class())
	}
}

// What Prefect's worker crashes over is refused, with the same exception.
func TestRefusals(t *testing.T) {
	tests := []struct{ configuration, properties, deployment, run, exception, want string }{
		{
			`{"env":"{{ env }}"}`, ``, `{"env":{"A":"1"}}`, `{"env":null}`, `TypeError: 'NoneType' object is not iterable`,
			`job_variables.env: must be an object, not null (job variable "env" of the flow run)`,
		},
		{
			`{"env":"{{ env }}"}`, ``, `{"env":{"A":"1"}}`, `{"env":["abc"]}`, `ValueError: dictionary update sequence element #0 has length 3; 2 is required`,
			`job_variables.env: must be an object, not a list (job variable "env" of the flow run)`,
		},
		{
			`{"env":"{{ env }}"}`, ``, `{"env":{"A":"1"}}`, `{"env":[[["k"],1]]}`, `TypeError: unhashable type: 'list'`,
			`job_variables.env: must be an object, not a list (job variable "env" of the flow run)`,
		},
		{
			`{"env":"{{ env }}"}`, ``, ``, `{"env":null}`, `AttributeError: 'NoneType' object has no attribute 'items'`,
			`job_configuration.env: must be an object, not null (job variable "env" of the flow run)`,
		},
		{
			`{"env":{}}`, `{"env":{"default":[1]}}`, ``, ``, `TypeError: unsupported operand type(s) for |: 'dict' and 'list'`,
			`variables.properties.env.default: must be an object, not a list`,
		},
		{
			`{"env":{}}`, ``, `{"env":["A"]}`, ``, `TypeError: unsupported operand type(s) for |: 'dict' and 'list'`,
			`job_variables.env: must be an object, not a list (job variable "env" of the deployment)`,
		},
		{
			`{"env":null}`, ``, ``, ``, `AttributeError: 'NoneType' object has no attribute 'items'`,
			`job_configuration.env: must be an object, not null (written in the base job template)`,
		},
		{
			`{"labels":"{{ labels }}"}`, ``, `{"labels":null}`, ``, "ValidationError: 1 validation error for M\nlabels\n  Input should be a valid dictionary",
			`job_configuration.labels: must be an object, not null (job variable "labels" of the deployment)`,
		},
		{
			`{"labels":"{{ labels }}"}`, ``, `{"labels.team":5}`, ``, "ValidationError: 1 validation error for M\nlabels.team\n  Input should be a valid string",
			`job_configuration.labels.team: must be a string, not a number (job variable "labels.team" of the deployment)`,
		},
		{
			`{"labels":{"a":"{{ prefect.variables.number }}"}}`, ``, ``, ``, "ValidationError: 1 validation error for M\nlabels.a\n  Input should be a valid string",
			`job_configuration.labels.a: must be a string, not a number (written in the base job template)`,
		},
		{
			`{"a":1}`, ``, `[]`, ``, "ValidationError: 1 validation error for M\njob_variables\n  Input should be a valid dictionary",
			`deployment.job_variables: must be an object, not a list`,
		},
		{
			`{"a":1}`, ``, ``, `{`, "ValueError: is not valid JSON: unexpected end of JSON input",
			`flow_run.job_variables: is not valid JSON: unexpected end of JSON input`,
		},
		{
			`{"command":"{{ c }}","labels":{"a.b":1,"c":null},"name":[]}`, ``, `{"c":5}`, ``,
			"ValidationError: 4 validation errors for M\ncommand\n  Input should be a valid string\nlabels.`a.b`\n  Input should be a valid string\n" +
				"labels.c\n  Input should be a valid string\nname\n  Input should be a valid string",
			"job_configuration.command: must be a string, not a number (job variable \"c\" of the deployment)\n" +
				"job_configuration.labels[\"a.b\"]: must be a string, not a number (written in the base job template)\n" +
				"job_configuration.labels.c: must be a string, not null (written in the base job template)\n" +
				"job_configuration.name: must be a string, not a list (written in the base job template)",
		},
		{
			`{"$ref":{"block_document_id":"none"}}`, ``, ``, ``, `ObjectNotFound: Block not found: ID 'none'. ` + blockIsGone,
			`job_configuration: there is no block with the ID none: ` + fixBlock + ` (written in the base job template)`,
		},
	}
	for _, test := range tests {
		template := parse(t, test.configuration, test.properties)
		_, err := template.Resolve(t.Context(), Input{Deployment: json.RawMessage(test.deployment), Run: json.RawMessage(test.run), Source: testSource()})
		var problems *Problems
		if !errors.As(err, &problems) {
			t.Fatalf("%+v: got %v", test, err)
		}
		if diff := cmp.Diff([]string{test.want, test.exception}, []string{err.Error(), problems.Exception("M")}); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test, diff)
		}
	}
}

func TestParseReportsMalformedTemplates(t *testing.T) {
	tests := []struct{ base, want string }{
		{`{}`, "job_configuration: is missing from the base job template\nvariables: is missing from the base job template"},
		{`null`, "job_configuration: is missing from the base job template\nvariables: is missing from the base job template"},
		{`[]`, "base_job_template: must be an object, not a list"},
		{`{"job_configuration":[],"variables":"x"}`, "variables: must be an object, not a string\njob_configuration: must be an object, not a list"},
		{`{"job_configuration":{},"variables":{"properties":[]}}`, "variables.properties: must be an object, not a list"},
		{`{"job_configuration":{},"variables":{"properties":null}}`, "variables.properties: must be an object, not null"},
		{
			`{"job_configuration":{},"variables":{"properties":{"a":1,"b":"a default","c":["default"],"d":[],"e":"none"}}}`,
			"variables.properties.a: must be an object, not a number\nvariables.properties.b: must be an object, not a string\n" +
				"variables.properties.c: must be an object, not a list",
		},
	}
	for _, test := range tests {
		if _, err := Parse(json.RawMessage(test.base)); err == nil || err.Error() != test.want {
			t.Errorf("%s:\ngot  %v\nwant %s", test.base, err, test.want)
		}
	}
	if _, err := Parse(map[string]any{"job_configuration": map[string]any{}, "variables": map[string]any{}}); err != nil {
		t.Errorf("smallest template: %v", err)
	}
}

// A state's message must not hold thousands of lines.
func TestManyProblemsAreCounted(t *testing.T) {
	labels := map[string]any{}
	for i := range maxShown + 7 {
		labels[fmt.Sprintf("l%03d", i)] = i
	}
	template, err := Parse(map[string]any{"job_configuration": map[string]any{"labels": labels}, "variables": map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = template.Resolve(t.Context(), Input{})
	lines := strings.Split(fmt.Sprint(err), "\n")
	if len(lines) != maxShown+1 || lines[maxShown] != "and 7 more" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

func TestDocumentsThatCannotBeRead(t *testing.T) {
	for document, want := range map[any]string{
		math.Inf(1):        "cannot be read: +Inf is no JSON",
		math.NaN():         "cannot be read: NaN is no JSON",
		any(complex(1, 1)): "cannot be read: json: unsupported type: complex128",
	} {
		_, err := Parse(map[string]any{"job_configuration": map[string]any{"a": document}, "variables": map[string]any{}})
		if err == nil || err.Error() != "base_job_template: "+want {
			t.Errorf("%v: %v", document, err)
		}
	}
}
