package jobtemplate

import (
	"encoding/json"
	"errors"
	"fmt"
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
		`job_configuration.env.B: Block not found: 'lost' of type 'secret'. ` + blockIsGone + ` (job variable "env" of the deployment)`,
		`job_configuration.x[0]: Block not found: 'gone' of type 'secret'. ` + blockIsGone + inTemplate,
		`job_configuration.y: Invalid template: '{{ prefect.blocks.json.j.nope }}'. Could not resolve the keypath in the block document data.` + inTemplate,
		`job_configuration.z: Invalid block placeholder format: 'prefect.blocks.alone'. Expected format: prefect.blocks.<block-type-slug>.<block-document-name>` + inTemplate,
		`job_configuration.w: Invalid template: 'in {{ prefect.blocks.json.j }}'. {{ prefect.blocks.json.j }} is an object, which cannot stand inside text: name one of its fields.` + inTemplate,
		`job_configuration.d[0].k[0]: Block not found: 'b' of type 'a'. ` + blockIsGone + ` (job variable "deep.list" of the flow run)`,
		`job_configuration.r.$ref: must be an object, not a string` + inTemplate,
		`job_configuration.i: $ref.block_document_id must be a string, not a number` + inTemplate,
		`job_configuration.command: must be a string, not a number (job variable "command" of the deployment)`,
		`job_configuration.labels["a.b"]: must be a string, not a number (job variable "labels" of the flow run)`,
		`job_configuration.name: must be a string, not a list (default of variable "name" in the work pool)`,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if problems.Class() != valueError {
		t.Errorf("class %s", problems.Class())
	}
}

// What Prefect's worker crashes over is refused, under the same exception.
func TestRefusals(t *testing.T) {
	tests := []struct{ configuration, properties, deployment, run, class, want string }{
		{
			`{"env":"{{ env }}"}`, ``, `{"env":{"A":"1"}}`, `{"env":null}`, typeError,
			`job_variables.env: must be an object, not null (job variable "env" of the flow run)`,
		},
		{
			`{"env":"{{ env }}"}`, ``, `{"env":{"A":"1"}}`, `{"env":["abc"]}`, valueError,
			`job_variables.env: must be an object, not a list (job variable "env" of the flow run)`,
		},
		{
			`{"env":"{{ env }}"}`, ``, `{"env":{"A":"1"}}`, `{"env":[[["k"],1]]}`, typeError,
			`job_variables.env: must be an object, not a list (job variable "env" of the flow run)`,
		},
		{
			`{"env":"{{ env }}"}`, ``, ``, `{"env":null}`, attributeError,
			`job_configuration.env: must be an object, not null (job variable "env" of the flow run)`,
		},
		{
			`{"env":{}}`, `{"env":{"default":[1]}}`, ``, ``, typeError,
			`variables.properties.env.default: must be an object, not a list`,
		},
		{
			`{"env":{}}`, ``, `{"env":["A"]}`, ``, typeError,
			`job_variables.env: must be an object, not a list (job variable "env" of the deployment)`,
		},
		{
			`{"env":null}`, ``, ``, ``, attributeError,
			`job_configuration.env: must be an object, not null (written in the base job template)`,
		},
		{
			`{"labels":"{{ labels }}"}`, ``, `{"labels":null}`, ``, validationError,
			`job_configuration.labels: must be an object, not null (job variable "labels" of the deployment)`,
		},
		{
			`{"labels":"{{ labels }}"}`, ``, `{"labels.team":5}`, ``, validationError,
			`job_configuration.labels.team: must be a string, not a number (job variable "labels.team" of the deployment)`,
		},
		{
			`{"labels":{"a":"{{ prefect.variables.number }}"}}`, ``, ``, ``, validationError,
			`job_configuration.labels.a: must be a string, not a number (written in the base job template)`,
		},
		{`{"a":1}`, ``, `[]`, ``, validationError, `deployment.job_variables: must be an object, not a list`},
		{`{"a":1}`, ``, ``, `{`, valueError, `flow_run.job_variables: is not valid JSON: unexpected end of JSON input`},
		{
			`{"$ref":{"block_document_id":"none"}}`, ``, ``, ``, notFoundError,
			`job_configuration: Block not found: ID 'none'. ` + blockIsGone + ` (written in the base job template)`,
		},
	}
	for _, test := range tests {
		template := parse(t, test.configuration, test.properties)
		_, err := template.Resolve(t.Context(), Input{Deployment: json.RawMessage(test.deployment), Run: json.RawMessage(test.run), Source: testSource()})
		var problems *Problems
		if !errors.As(err, &problems) || err.Error() != test.want || problems.Class() != test.class {
			t.Errorf("%+v:\ngot  %v", test, err)
		}
	}
}

func TestParseReportsMalformedTemplates(t *testing.T) {
	tests := []struct{ base, want string }{
		{`{}`, "job_configuration: is missing from the base job template\nvariables: is missing from the base job template"},
		{`null`, "job_configuration: is missing from the base job template\nvariables: is missing from the base job template"},
		{`[]`, "base_job_template: must be an object, not a list"},
		{`{"job_configuration":[],"variables":"x"}`, "job_configuration: must be an object, not a list\nvariables: must be an object, not a string"},
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
