package ecs

import (
	"encoding/json"
	"testing"

	"faber/internal/launch"

	"github.com/google/go-cmp/cmp"
)

// TestRequestKeepsTheWrittenOrder holds that what was given as an object becomes a
// list in the order in which it was written, and labels tags in theirs.
func TestRequestKeepsTheWrittenOrder(t *testing.T) {
	document := json.RawMessage(`{
		"task_definition": {"family": "f"},
		"task_run_request": {
			"tags": {"z": "1", "b": "2", "own": "3"},
			"overrides": {"containerOverrides": [{"name": "prefect"}, {"name": "side", "environment": {"Z": "1", "A": "2", "M": "3"}}]}}}`)
	job := launch.Job{
		ClaimID: "c", Document: document, Labels: map[string]string{"y": "4", "x": "5", "b": "6"}, LabelNames: []string{"y", "b"},
	}
	if err := json.Unmarshal(document, &job.Configuration); err != nil {
		t.Fatal(err)
	}
	c, err := parseConfiguration(job)
	if err != nil {
		t.Fatal(err)
	}
	request, err := c.buildRequest(job, &definition{arn: "f:1"})
	if err != nil {
		t.Fatal(err)
	}
	var tags, variables []string
	for _, item := range objects(request["tags"]) {
		tags = append(tags, stringField(item, "key"))
	}
	overrides, _ := request["overrides"].(map[string]any)
	for _, variable := range objects(objects(overrides["containerOverrides"])[1]["environment"]) {
		variables = append(variables, stringField(variable, "name"))
	}
	if diff := cmp.Diff([]string{"z", "own", "y", "b", "x", "faber/claim"}, tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Z", "A", "M"}, variables); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestKeysOf(t *testing.T) {
	object := map[string]any{"b": 1, "a": 2, "c": 3}
	for _, test := range []struct {
		document string
		path     []string
		want     []string
	}{
		{`{"x": [0, {"c": 1, "a": 2, "b": 3}]}`, []string{"x", "1"}, []string{"c", "a", "b"}},
		{`{"x": {"a": [], "c": {}}}`, []string{"x"}, []string{"b", "a", "c"}},
		{`{"x": [0]}`, []string{"x", "1"}, []string{"a", "b", "c"}},
		{`{"x": "text"}`, []string{"x", "y"}, []string{"a", "b", "c"}},
		{``, nil, []string{"a", "b", "c"}},
	} {
		c := &configuration{document: json.RawMessage(test.document)}
		if diff := cmp.Diff(test.want, c.keysOf(object, test.path...)); diff != "" {
			t.Errorf("%s at %q (-want +got):\n%s", test.document, test.path, diff)
		}
	}
}
