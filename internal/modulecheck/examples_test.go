package modulecheck

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/hcl/v2"

	"faber/internal/infra"
)

// notInitialised are the examples that no test initialises, with the reason.
var notInitialised = map[string]string{
	"prefect-provider": "Prefect's provider is to be had from Terraform's registry alone, which these tests do not ask; TestPrefectProvider reads the files",
}

// quickExamples are those that every run of the tests validates; with the build tag
// integration it is all of them.
var quickExamples = []string{"complete"}

// TestExamples initialises and validates examples: what they hand to the module
// exists there, and has the right type.
func TestExamples(t *testing.T) {
	found, err := infra.Find(t.Context(), infra.FindOptions{Environ: os.Environ()})
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIP the examples: %v", err)
	}
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(moduleDir)); err != nil {
		t.Fatal(err)
	}
	names := quickExamples
	if everyExample {
		names = examples(t)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			if reason, ok := notInitialised[name]; ok {
				t.Skipf("SKIP examples/%s: %s", name, reason)
			}
			s, err := infra.Open(infra.Options{Dir: filepath.Join(root, "examples", name), Terraform: found.Path, Environ: os.Environ()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Init(t.Context()); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			code, err := s.Exec(t.Context(), infra.ExecOptions{Args: []string{"validate", "-no-color"}, Out: &out, Err: &out})
			if err != nil || code != 0 {
				t.Errorf("terraform validate: exit code %d, %v\n%s", code, err, &out)
			}
		})
	}
}

// TestPrefectProvider reads the example that is not initialised: it is whole, it
// hands the module's template to the pool, and it gives the module only inputs that
// there are.
func TestPrefectProvider(t *testing.T) {
	m := readModule(t, filepath.Join(moduleDir, "examples", "prefect-provider"))
	pools := m.ofType("resource", "prefect_work_pool")
	if len(pools) != 1 {
		t.Fatalf("%d work pools, want one", len(pools))
	}
	for name, want := range map[string]string{"base_job_template": "module.faber.base_job_template", "type": `"ecs"`, "name": "var.work_pool_name"} {
		attribute, ok := pools[0].Body.Attributes[name]
		if !ok || m.at(attribute.Expr.Range()) != want {
			t.Errorf("the pool's %s is not %s", name, want)
		}
	}
	declared := map[string]bool{"source": true}
	for _, in := range readModule(t, moduleDir).inputs {
		declared[in.name] = true
	}
	own := map[string]bool{}
	for _, in := range m.inputs {
		own[in.name] = true
	}
	for _, block := range m.ofType("module", "faber") {
		for name, attribute := range block.Body.Attributes {
			if !declared[name] {
				t.Errorf("the module has no input %s", name)
			}
			for _, reference := range attribute.Expr.Variables() {
				if reference.RootName() != "var" {
					continue
				}
				if step, ok := reference[1].(hcl.TraverseAttr); ok && !own[step.Name] {
					t.Errorf("the example has no variable %s", step.Name)
				}
			}
		}
	}
}
