//go:build integration

package infra

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// endpointVar names an AWS emulator to run the module against. A bare one leaves
// a field of the service out, which shows as a change: the local stack puts a
// front before it that fills it in.
const endpointVar = "FABER_TEST_AWS_ENDPOINT"

// TestModuleOnEmulator applies the example for the local stack, finds nothing to
// change, destroys it, and applies it again at once under the same name; then
// with every other way to lay out the network.
func TestModuleOnEmulator(t *testing.T) {
	endpoint := os.Getenv(endpointVar)
	if endpoint == "" && os.Getenv("CI") == "true" {
		t.Fatalf("%s is not set", endpointVar)
	}
	if endpoint == "" {
		t.Skipf("SKIP module on emulator: %s is not set", endpointVar)
	}
	root := t.TempDir()
	if err := Unpack(root); err != nil {
		t.Fatal(err)
	}
	environ := append(os.Environ(), "AWS_ENDPOINT_URL="+endpoint)
	found, err := Find(t.Context(), FindOptions{Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: filepath.Join(root, "examples", "local"), Terraform: found.Path, Environ: environ, Progress: func(p Progress) {
		if p.Stage == StageComplete && p.Total > 0 {
			t.Logf("%d/%d %s %s", p.Done, p.Total, p.Action, p.Address)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	in := PlanOptions{
		Vars: Vars{"name": "faber-test", "image": "faber:test", "prefect_cloud_api_url": "http://host.docker.internal:4300/api", "worker_environment": map[string]string{"FABER_LOG": "debug"}},
		Secrets: Vars{"prefect_credentials": map[string]string{
			"prefect_api_key": canary, "prefect_account_id": "00000000-0000-0000-0000-000000000001", "prefect_workspace_id": "00000000-0000-0000-0000-000000000002",
		}},
	}
	for _, network := range []Vars{
		{"nat_mode": "single"},
		{"nat_mode": "single"}, // again at once, under the same names
		{"nat_mode": "per_az", "az_count": 3},
		{"nat_mode": "none", "az_count": 1},
	} {
		maps.Copy(in.Vars, network)
		roundTrip(t, s, in)
	}
}

func roundTrip(t *testing.T, s *Stack, in PlanOptions) {
	t.Helper()
	began := time.Now()
	plan, err := s.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	noCanaryInArchive(t, plan.File)
	result, err := s.Apply(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if result.Add != plan.Add || result.Add == 0 {
		t.Errorf("applied %+v of %+v", result, plan)
	}
	t.Logf("applied %d in %s", result.Add, time.Since(began))
	noCanary(t, s.o.Dir)

	again, err := s.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range again.Changes {
		t.Errorf("a second plan would %s %s", change.Action, change.Address)
	}
	checkTemplate(t, s)

	began = time.Now()
	destroyed, err := s.Destroy(t.Context(), in.Vars)
	if err != nil || destroyed.Destroy != result.Add {
		t.Fatalf("destroyed %+v of %d: %v", destroyed, result.Add, err)
	}
	if left, err := s.Resources(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left are %v: %v", left, err)
	}
	t.Logf("destroyed %d in %s", destroyed.Destroy, time.Since(began))
}

// checkTemplate reads the base job template the way the CLI does.
func checkTemplate(t *testing.T, s *Stack) {
	t.Helper()
	outputs, err := s.Outputs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var template struct {
		Variables struct {
			Properties map[string]struct{ Default any }
		}
	}
	if err := json.Unmarshal([]byte(outputs.String("base_job_template")), &template); err != nil {
		t.Fatal(err)
	}
	if got := template.Variables.Properties["cluster"].Default; got != outputs.String("cluster_arn") || got == "" {
		t.Errorf("cluster is %v, want %s", got, outputs.String("cluster_arn"))
	}
}
