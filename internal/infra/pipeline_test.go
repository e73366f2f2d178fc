package infra

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pipelineScripts is where the pipeline's scripts are.
const pipelineScripts = "../../terraform/pipeline"

// program finds one that the scripts call, and skips the test where there is
// none, except where the machine is expected to have it.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("SKIP the pipeline's scripts: %v", err)
	}
	return path
}

type plannedChange struct {
	address, kind, previous string
	actions                 []string
}

// planJSON is a plan as 'terraform show -json' writes it, as far as it is read.
func planJSON(t *testing.T, changes ...plannedChange) []byte {
	t.Helper()
	var list []map[string]any
	for _, c := range changes {
		entry := map[string]any{"address": c.address, "mode": "managed", "type": c.kind, "change": map[string]any{"actions": c.actions}}
		if c.previous != "" {
			entry["previous_address"] = c.previous
		}
		list = append(list, entry)
	}
	data, err := json.Marshal(map[string]any{"resource_changes": list})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func runJQ(t *testing.T, plan []byte, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "jq"), append([]string{"-r"}, args...)...)
	cmd.Stdin = bytes.NewReader(plan)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("jq: %v\n%s", err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

func approvalText(t *testing.T, changes ...plannedChange) string {
	t.Helper()
	return runJQ(t, planJSON(t, changes...), "--arg", "commit", "4f2e", "--argjson", "limit", "1000", "-f", filepath.Join(pipelineScripts, "approval.jq"))
}

func TestPipelineApprovalText(t *testing.T) {
	add, change, destroy, replace := []string{"create"}, []string{"update"}, []string{"delete"}, []string{"delete", "create"}
	for name, c := range map[string]struct {
		changes []plannedChange
		want    string
	}{
		"nothing": {nil, "no changes (commit 4f2e)."},
		"nothing to do for what is there": {
			[]plannedChange{{address: "a.b", actions: []string{"no-op"}}}, "no changes (commit 4f2e).",
		},
		"each kind": {
			[]plannedChange{
				{address: "a.new", actions: add},
				{address: "a.new2", actions: add},
				{address: "a.there", actions: change},
				{address: "module.x[0].a.gone", actions: destroy},
				{address: "a.anew", actions: replace},
				{address: "a.first", actions: []string{"create", "delete"}},
				{address: "a.moved", previous: "a.was", actions: []string{"no-op"}},
				{address: "a.let_go", actions: []string{"forget"}},
			},
			"2 to add, 1 to change, 2 to replace, 1 to destroy, 1 to move, 1 to forget (commit 4f2e)." +
				" DESTROYED: module.x[0].a.gone. REPLACED: a.anew, a.first.",
		},
		"what CodePipeline would read, and what it would not": {
			[]plannedChange{{address: "a.b[\"#{x}\n\u00e9\"]", actions: destroy}},
			`1 to destroy (commit 4f2e). DESTROYED: a.b["# {x}??"].`,
		},
	} {
		if got := approvalText(t, c.changes...); got != c.want {
			t.Errorf("%s: text is\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// An action's setting takes 1,000 characters, whatever the plan.
func TestPipelineApprovalTextIsCut(t *testing.T) {
	for _, length := range []int{1, 7, 90, 400, 990, 3000} {
		for _, count := range []int{1, 3, 10, 400} {
			var changes []plannedChange
			for i := range count {
				changes = append(changes, plannedChange{address: fmt.Sprintf("m.%s%d", strings.Repeat("x", length), i), actions: []string{"delete"}})
			}
			text := approvalText(t, changes...)
			if len(text) > 1000 {
				t.Errorf("%d addresses of %d: the text has %d characters", count, length, len(text))
			}
			if want := fmt.Sprintf("%d to destroy (commit 4f2e).", count); !strings.HasPrefix(text, want) {
				t.Errorf("%d addresses of %d: the text does not begin with %q: %.80s", count, length, want, text)
			}
			whole := strings.HasSuffix(text, changes[count-1].address+".")
			if cut := strings.HasSuffix(text, "(cut; all of it is in the log)"); cut == whole {
				t.Errorf("%d addresses of %d: the text must be whole, or say that it was cut: %s", count, length, text)
			}
		}
	}
}

func TestPipelineLeavesTheSecretAlone(t *testing.T) {
	const kind = "aws_secretsmanager_secret_version"
	value := "module.faber.module.secrets[0]." + kind + ".this[0]"
	for actions, refused := range map[string]bool{"create": true, "update": true, "delete": true, "delete,create": true, "no-op": false, "forget": false} {
		got := runJQ(t, planJSON(t,
			plannedChange{address: value, kind: kind, actions: strings.Split(actions, ",")},
			plannedChange{address: kind + ".mine", kind: kind, actions: []string{"create"}},
		), "-f", filepath.Join(pipelineScripts, "secrets.jq"))
		if want := map[bool]string{true: value}[refused]; got != want {
			t.Errorf("%s: refused is %q, want %q", actions, got, want)
		}
	}
}

// TestPipelineDownload has validate.sh fetch a terraform from a directory, which
// is one more script that writes down how it was called.
func TestPipelineDownload(t *testing.T) {
	for _, name := range []string{"sh", "jq", "curl", "unzip", "sha256sum"} {
		program(t, name)
	}
	if out, err := exec.CommandContext(t.Context(), "uname", "-sm").Output(); err != nil || strings.TrimSpace(string(out)) != "Linux x86_64" {
		t.Skipf("SKIP the download: it is that of Linux on x86_64, and this is %s", out)
	}
	releases := t.TempDir()
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	member, err := z.CreateHeader(&zip.FileHeader{Name: "terraform", ExternalAttrs: 0o755 << 16, CreatorVersion: 3 << 8})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(member, "#!/bin/sh\necho \"$*\" >> %s/calls\n", releases)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(releases, "9.9.9"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(releases, "9.9.9", "terraform_9.9.9_linux_amd64.zip"), archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(archive.Bytes())
	right, wrong := hex.EncodeToString(sum[:]), strings.Repeat("0", 64)

	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, ".terraform.lock.hcl"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	validate := func(more ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "sh", filepath.Join(absolute(t, pipelineScripts), "validate.sh"))
		cmd.Dir = source
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TERRAFORM_VERSION=9.9.9", "TERRAFORM_RELEASES=file://" + releases}, more...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for want, sum := range map[string][]string{
		"its SHA-256 sum for linux_amd64 is not known": nil,
		"has the SHA-256 sum " + right:                 {"TERRAFORM_SHA256_AMD64=" + wrong},
	} {
		if out, err := validate(sum...); err == nil || !strings.Contains(out, want) {
			t.Errorf("%v: %v, want %q in\n%s", sum, err, want, out)
		}
	}
	if _, err := os.Stat(filepath.Join(releases, "calls")); err == nil {
		t.Fatal("a terraform was called that had not been compared")
	}
	if out, err := validate("TERRAFORM_SHA256_AMD64=" + right); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	calls, err := os.ReadFile(filepath.Join(releases, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"fmt -check", "init -backend=false", "validate"} {
		if lines := strings.Split(string(calls), "\n"); !strings.HasPrefix(lines[i], want) || !strings.Contains(string(calls), "-lockfile=readonly") {
			t.Errorf("call %d is %q, want %q", i, lines[i], want)
		}
	}
	if out, err := validate("TERRAFORM_SHA256_AMD64="+right, "PREFECT_API_KEY="+canary); err == nil || !strings.Contains(out, "credentials for Prefect are in the environment") || strings.Contains(out, canary) {
		t.Errorf("with a key: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(source, ".terraform.lock.hcl")); err != nil {
		t.Fatal(err)
	}
	if out, err := validate("TERRAFORM_SHA256_AMD64=" + right); err == nil || !strings.Contains(out, "terraform providers lock") {
		t.Errorf("without a lock file: %v\n%s", err, out)
	}
}

// What CodeBuild and GitHub run is what the tests here run: scripts, and nothing
// beside them. The buildspecs are looked at once more as Terraform writes them, in
// terraform/tests/pipeline.tftest.hcl.
func TestPipelineWorkflowOnlyCallsScripts(t *testing.T) {
	data, err := os.ReadFile("../../terraform/examples/github-actions/workflows/terraform.yml")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile(`(?m)^ *(?:- )?run: *(\|\n(?: {10}.*\n)+|.*\n)`).FindAllStringSubmatch(string(data), -1)
	if len(steps) != strings.Count(string(data), "run:") || len(steps) < 4 {
		t.Fatalf("found %d steps that run something", len(steps))
	}
	allowed := regexp.MustCompile(`^(sh pipeline/(validate|plan|apply)\.sh( drift)?( >> "\$GITHUB_STEP_SUMMARY")?|echo "sha256=\$\(sh pipeline/plan\.sh checksum\)" >> "\$GITHUB_OUTPUT")$`)
	for _, step := range steps {
		for line := range strings.SplitSeq(strings.TrimSpace(strings.TrimPrefix(step[1], "|")), "\n") {
			if !allowed.MatchString(strings.TrimSpace(line)) {
				t.Errorf("the workflow runs %q", strings.TrimSpace(line))
			}
		}
	}
	for _, use := range regexp.MustCompile(`uses: (\S+)`).FindAllStringSubmatch(string(data), -1) {
		if !regexp.MustCompile(`@[0-9a-f]{40}$`).MatchString(use[1]) {
			t.Errorf("%s is not pinned to a commit", use[1])
		}
	}
}

// TestPipelineScriptsLint has shellcheck look at the scripts, where there is one.
func TestPipelineScriptsLint(t *testing.T) {
	path, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	scripts, err := filepath.Glob(filepath.Join(pipelineScripts, "*.sh"))
	if err != nil || len(scripts) != 4 {
		t.Fatalf("scripts are %v: %v", scripts, err)
	}
	if out, err := exec.CommandContext(t.Context(), path, append([]string{"-x"}, scripts...)...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
