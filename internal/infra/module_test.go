package infra

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// TestModule runs the Terraform module's own tests, which need no AWS and no
// emulator: its provider is mocked. It works on a copy, so that nothing of
// terraform's is left beside the module.
func TestModule(t *testing.T) {
	terraform, err := Find(t.Context(), FindOptions{Environ: os.Environ()})
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("SKIP the Terraform module's tests: %v", err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../terraform")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), terraform.Path, "fmt", "-check", "-recursive", "-diff", dir).CombinedOutput(); err != nil {
		t.Errorf("terraform fmt: %v\n%s", err, out)
	}
	s, err := Open(Options{Dir: dir, Terraform: terraform.Path, Environ: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"validate", "-no-color"}, {"test", "-no-color"}} {
		var out bytes.Buffer
		code, err := s.Exec(t.Context(), ExecOptions{Args: args, Out: &out, Err: &out})
		if err != nil || code != 0 {
			t.Errorf("terraform %s: exit code %d, %v\n%s", args[0], code, err, out.String())
		}
		t.Logf("terraform %s: %s", args[0], lastLine(out.String()))
	}
}

func lastLine(text string) string {
	lines := bytes.Split(bytes.TrimSpace([]byte(text)), []byte("\n"))
	return string(lines[len(lines)-1])
}
