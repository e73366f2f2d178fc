//go:build integration

package infra

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestRealRoot holds that every kind of root module, with the module beside it, is
// a valid configuration.
func TestRealRoot(t *testing.T) {
	terraform, err := Find(t.Context(), FindOptions{Environ: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range roots() {
		t.Run(name, func(t *testing.T) {
			dir := writeRoot(t, r)
			if err := os.CopyFS(filepath.Join(dir, "modules", "faber"), os.DirFS("../../terraform")); err != nil {
				t.Fatal(err)
			}
			if r.StateBucket != "" { // a backend is reached by init, and there is none
				if err := os.WriteFile(filepath.Join(dir, "override.tf"), []byte("terraform {\n  backend \"local\" {}\n}\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := Open(Options{Dir: dir, Terraform: terraform.Path, Environ: os.Environ()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Init(t.Context()); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			code, err := s.Exec(t.Context(), ExecOptions{Args: []string{"validate", "-no-color"}, Out: &out, Err: &out})
			if err != nil || code != 0 {
				t.Errorf("terraform validate: exit code %d, %v\n%s", code, err, out.String())
			}
		})
	}
}
