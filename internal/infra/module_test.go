package infra

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestModule runs the Terraform module's own tests, which need no AWS and no
// emulator: its provider is mocked. It works on a copy, so that nothing of
// terraform's is left beside the module.
//
// TERRAFORM_SELECTION, as "4/seed", has it run so many files of them only, drawn by
// the seed: `make test` has to be short, `make test-terraform` runs all.
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
	tests := []string{"test", "-no-color"}
	for _, file := range selectedTests(t, dir) {
		tests = append(tests, "-filter="+file)
	}
	for _, args := range [][]string{{"validate", "-no-color"}, tests} {
		var out bytes.Buffer
		code, err := s.Exec(t.Context(), ExecOptions{Args: args, Out: &out, Err: &out})
		if err != nil || code != 0 {
			t.Errorf("terraform %s: exit code %d, %v\n%s", args[0], code, err, out.String())
		}
		t.Logf("terraform %s: %s", strings.Join(args, " "), lastLine(out.String()))
	}
}

// selectedTests are the files that TERRAFORM_SELECTION draws; none means all.
func selectedTests(t *testing.T, dir string) []string {
	t.Helper()
	selection := os.Getenv("TERRAFORM_SELECTION")
	if selection == "" {
		return nil
	}
	count, seed, _ := strings.Cut(selection, "/")
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 {
		t.Fatalf("TERRAFORM_SELECTION is %q: it must be a number of files, a slash and a seed", selection)
	}
	files, err := filepath.Glob(filepath.Join(dir, "tests", "*.tftest.hcl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	sum := sha256.Sum256([]byte(seed))
	rand.New(rand.NewChaCha8(sum)).Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	files = files[:min(n, len(files))]
	for i, file := range files {
		files[i] = filepath.Join("tests", filepath.Base(file))
	}
	return files
}

func lastLine(text string) string {
	lines := bytes.Split(bytes.TrimSpace([]byte(text)), []byte("\n"))
	return string(lines[len(lines)-1])
}
