//go:build integration

package modulecheck

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// report is what is read here of checkov's answer for one framework.
type report struct {
	Results struct {
		Passed  []finding `json:"passed_checks"`
		Failed  []finding `json:"failed_checks"`
		Skipped []finding `json:"skipped_checks"`
		Errors  []string  `json:"parsing_errors"`
	}
}

type finding struct {
	ID       string `json:"check_id"`
	Name     string `json:"check_name"`
	Resource string `json:"resource"`
	File     string `json:"file_path"`
	Lines    []int  `json:"file_line_range"`
}

// scan runs checkov. It is told to ask nobody: neither for a newer version of
// itself nor for its vendor's guidelines.
func scan(t *testing.T, args ...string) report {
	t.Helper()
	checkov := os.Getenv("FABER_TEST_CHECKOV")
	if checkov == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("FABER_TEST_CHECKOV is not set")
		}
		t.Skip("SKIP checkov: FABER_TEST_CHECKOV is not set; scripts/install-checkov installs it into .dev/cache/python-checkov/bin")
	}
	cmd := exec.CommandContext(t.Context(), checkov, append([]string{"--skip-download", "--compact", "--output", "json"}, args...)...)
	cmd.Env = append(os.Environ(),
		"CKV_SKIP_PACKAGE_UPDATE_CHECK=true", "BC_SKIP_MAPPING=true", "CKV_GITHUB_CONFIG_FETCH_DATA=false",
		// A file that cannot be parsed is an error, and a busy machine may take its
		// time: after ten seconds checkov would pass over the file without a word.
		"CKV_PARSE_ERROR_FAIL=true", "HCL_PARSE_TIMEOUT_SEC=900")
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	// It exits with 1 when it found something; what it found is in its answer.
	if err := cmd.Run(); err != nil && out.Len() == 0 {
		t.Fatalf("checkov: %v\n%s", err, &complaints)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("checkov's answer: %v\n%.2000s\n%s", err, out.String(), &complaints)
	}
	for _, file := range r.Results.Errors {
		t.Errorf("checkov cannot read %s", file)
	}
	for _, f := range r.Results.Failed {
		t.Errorf("%s %s: %s (%s, lines %v)", f.ID, f.Resource, f.Name, f.File, f.Lines)
	}
	t.Logf("%d passed, %d failed, %d skipped", len(r.Results.Passed), len(r.Results.Failed), len(r.Results.Skipped))
	return r
}

// TestCheckovStatic scans the module's files as they are, without any value. What
// it leaves out are the comments that TestSkips lists, and nothing else.
func TestCheckovStatic(t *testing.T) {
	r := scan(t, "--directory", moduleDir, "--framework", "terraform", "--download-external-modules", "false")
	if len(r.Results.Passed) < 100 {
		t.Errorf("only %d checks passed: the scan has not seen the whole module", len(r.Results.Passed))
	}
	written := map[string]bool{}
	for _, s := range skips(t) {
		written[s.check] = true
	}
	used := map[string]bool{}
	for _, f := range r.Results.Skipped {
		used[f.ID] = true
	}
	for check := range written {
		if !used[check] {
			t.Errorf("%s is skipped somewhere, and checkov has nothing to say about it there: take the comment out", check)
		}
	}
	for check := range used {
		if !written[check] {
			t.Errorf("%s is skipped, and no comment in the module says so", check)
		}
	}
}

// TestCheckovPlan scans what examples/complete would make, with a customer managed
// key. The comments in the module count here as well.
func TestCheckovPlan(t *testing.T) {
	data, _ := planComplete(t)
	file := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r := scan(t, "--file", file, "--framework", "terraform_plan", "--repo-root-for-plan-enrichment", moduleDir)
	if len(r.Results.Passed) < 100 {
		t.Errorf("only %d checks passed: the scan has not seen the whole plan", len(r.Results.Passed))
	}
}
