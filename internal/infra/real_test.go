package infra

import (
	"archive/zip"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// scratch is a module without any provider: the built-in resource keeps what it
// is told, and the secret goes nowhere.
const scratch = `
variable "name" {
  type = string
}
variable "secret" {
  type      = string
  ephemeral = true
  default   = null
}
resource "terraform_data" "this" {
  input = var.name
  lifecycle {
    precondition {
      condition     = var.secret != null
      error_message = "the secret is missing"
    }
  }
}
output "name" {
  value = terraform_data.this.output
}
`

// openReal opens a directory with the real terraform, and skips the test where
// there is none, except where the machine is expected to have one.
func openReal(t *testing.T) *Stack {
	t.Helper()
	found, err := Find(t.Context(), FindOptions{Environ: os.Environ()})
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIP real terraform: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(scratch), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: dir, Terraform: found.Path, Environ: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRealTerraform(t *testing.T) {
	s := openReal(t)
	in := PlanOptions{Vars: Vars{"name": "data"}, Secrets: Vars{"secret": canary}}
	plan, err := s.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Add != 1 || plan.Total() != 1 || !plan.Changed || len(plan.Changes) != 1 {
		t.Errorf("plan is %+v", plan)
	}
	noCanaryInArchive(t, plan.File)
	result, err := s.Apply(t.Context(), plan)
	if err != nil || result.Add != 1 {
		t.Fatalf("result is %+v: %v", result, err)
	}
	noCanary(t, s.o.Dir)

	outputs, err := s.Outputs(t.Context())
	if err != nil || outputs.String("name") != "data" {
		t.Errorf("outputs are %s: %v", outputs, err)
	}
	if changed, err := s.HasChanges(t.Context(), in); err != nil || changed {
		t.Errorf("a second plan has changes (%t): %v", changed, err)
	}
	if resources, err := s.Resources(t.Context()); err != nil || len(resources) != 1 {
		t.Errorf("resources are %v: %v", resources, err)
	}
}

func TestRealTerraformRefusal(t *testing.T) {
	s := openReal(t)
	_, err := s.Plan(t.Context(), PlanOptions{Vars: Vars{"name": "data"}})
	if err == nil || !strings.Contains(err.Error(), "the secret is missing") {
		t.Errorf("error is %v", err)
	}
}

func TestRealTerraformDestroy(t *testing.T) {
	s := openReal(t)
	plan, err := s.Plan(t.Context(), PlanOptions{Vars: Vars{"name": "data"}, Secrets: Vars{"secret": canary}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	// Taking away needs no credentials.
	result, err := s.Destroy(t.Context(), Vars{"name": "data"})
	if err != nil || result.Destroy != 1 {
		t.Errorf("result is %+v: %v", result, err)
	}
	if resources, err := s.Resources(t.Context()); err != nil || len(resources) != 0 {
		t.Errorf("resources are %v: %v", resources, err)
	}
	if result, err := s.Destroy(t.Context(), Vars{"name": "data"}); err != nil || result.Total() != 0 {
		t.Errorf("destroying nothing: %+v, %v", result, err)
	}
}

// noCanaryInArchive looks through a saved plan, which is a zip archive.
func noCanaryInArchive(t *testing.T, path string) {
	t.Helper()
	archive, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, member := range archive.File {
		data, err := fs.ReadFile(archive, member.Name)
		if err != nil || strings.Contains(string(data), canary) {
			t.Errorf("%s in the plan holds the secret, or cannot be read: %v", member.Name, err)
		}
	}
}

// noCanary looks through every file that terraform left in a directory.
func noCanary(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() { // a linked provider is none of ours
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), canary) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRealTerraformByHand(t *testing.T) {
	s := openReal(t)
	var out strings.Builder
	run := func(args ...string) int {
		out.Reset()
		code, err := s.Exec(t.Context(), ExecOptions{Args: args, Vars: Vars{"name": "data", "secret": canary}, Out: &out, Err: &out})
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	if code := run("plan", "-no-color", "-detailed-exitcode", "-out=by-hand.tfplan"); code != 2 {
		t.Fatalf("plan ended with %d:\n%s", code, &out)
	}
	// A saved plan knows the ordinary variables and wants the ephemeral one again.
	if code := run("apply", "-no-color", "by-hand.tfplan"); code != 0 {
		t.Fatalf("apply ended with %d:\n%s", code, &out)
	}
	if code := run("output", "-raw", "name"); code != 0 || out.String() != "data" {
		t.Errorf("output ended with %d:\n%s", code, &out)
	}
	if code := run("state", "show", "nothing.here"); code != 1 {
		t.Errorf("a mistake ended with %d:\n%s", code, &out)
	}
}
