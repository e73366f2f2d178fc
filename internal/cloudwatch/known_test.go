package cloudwatch

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTerraformKnowsTheMetrics holds the list that the Terraform module's alarms,
// policies and graphs are compared with (terraform/tests/metrics.tftest.hcl) to what is
// really published, and AWS's own to having a source.
func TestTerraformKnowsTheMetrics(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../terraform/tests/metrics/known.json")
	if err != nil {
		t.Fatal(err)
	}
	type namespace struct {
		Source     string              `json:"source"`
		Dimensions []string            `json:"dimensions"`
		Metrics    map[string][]string `json:"metrics"`
	}
	var known struct {
		Faber      namespace            `json:"faber"`
		AWS        map[string]namespace `json:"aws"`
		Predefined struct {
			Source string
			Types  []string
		} `json:"predefined"`
	}
	if err := json.Unmarshal(data, &known); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	for _, m := range Metrics() {
		want[m.Name] = m.Statistics
	}
	if diff := cmp.Diff(want, known.Faber.Metrics); diff != "" {
		t.Errorf("known.json names other metrics than are published (-published +known):\n%s", diff)
	}
	if diff := cmp.Diff([]string{DimensionStack, DimensionWorkPool}, known.Faber.Dimensions); diff != "" {
		t.Error(diff)
	}
	for name, of := range known.AWS {
		if !strings.HasPrefix(of.Source, "https://docs.aws.amazon.com/") || len(of.Metrics) == 0 || len(of.Dimensions) == 0 {
			t.Errorf("%s: %+v", name, of)
		}
	}
	if !strings.HasPrefix(known.Predefined.Source, "https://docs.aws.amazon.com/") || len(known.Predefined.Types) == 0 {
		t.Errorf("%+v", known.Predefined)
	}
}
