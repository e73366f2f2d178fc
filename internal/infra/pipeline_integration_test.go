//go:build integration

package infra

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pipelineRun is the pipeline as CodeBuild runs it: each build in a container of
// its own, with a fresh copy of the source at another path.
type pipelineRun struct {
	e       *emulator
	box     *containerEngine
	repo    string // the source as it is committed
	backend *example
	bucket  string
	binds   []string
	env     []string
	builds  int
}

// artefact is what the plan hands to the approval and to the apply.
type artefact struct {
	dir, approval, sha256, commit string
}

// What the module's buildspecs say; terraform/tests/pipeline.tftest.hcl holds them
// to that.
const (
	validateCommand = `sh pipeline/validate.sh`
	planCommand     = `FABER_APPROVAL="$(sh pipeline/plan.sh)" && export FABER_APPROVAL` + "\n" +
		`FABER_PLAN_SHA256="$(sh pipeline/plan.sh checksum)" && export FABER_PLAN_SHA256`
	applyCommand = `sh pipeline/apply.sh`
	driftCommand = `sh pipeline/plan.sh drift`

	// exported stands for CodeBuild, which reads these variables after the build.
	exported = "\n" + `printf '%s\n%s\n' "$FABER_APPROVAL" "$FABER_PLAN_SHA256"`
)

// TestModulePipeline goes the pipeline's way against the emulator: plan, text for
// the approval, apply of that very plan; then all the plans that must be refused.
func TestModulePipeline(t *testing.T) {
	p := &pipelineRun{e: emulatorOf(t), box: engineOf(t)}
	defer p.end(t)
	p.begin(t)

	if code, out := p.build(t, validateCommand, nil); code != 0 {
		t.Fatalf("validate: %d\n%s", code, out.all())
	}

	first := p.plan(t, "c1")
	if want := "4 to add (commit c1)."; first.approval != want {
		t.Errorf("approval text is %q, want %q", first.approval, want)
	}

	// Another commit, another sum: refused before anything is looked at.
	p.refused(t, first, map[string]string{"FABER_COMMIT": "c2"}, "the plan was made for commit c1, and this is c2")
	p.refused(t, first, map[string]string{"FABER_PLAN_SHA256": strings.Repeat("0", 64)}, "this is not the plan that was approved")
	p.refused(t, first, map[string]string{"PREFECT_API_KEY": canary}, "credentials for Prefect are in the environment")
	if names := p.repositories(t); len(names) != 0 {
		t.Fatalf("refused plans made %v", names)
	}

	if code, out := p.apply(t, first, nil); code != 0 {
		t.Fatalf("apply: %d\n%s", code, out.all())
	}
	if want := []string{"faber-pipeline/flows", "faber-pipeline/worker"}; !slices.Equal(p.repositories(t), want) {
		t.Errorf("applied are %v, want %v", p.repositories(t), want)
	}

	// The same plan once more: the state has moved on.
	p.refused(t, first, nil, "the plan is stale")

	// A plan that waits while another is applied.
	p.edit(t, "infra/rules.auto.tfvars", "keep_images = 20\n")
	waiting := p.plan(t, "c2")
	// To ECR a lifecycle policy with another text is another policy.
	if want := `2 to replace (commit c2). REPLACED: module.ecr.aws_ecr_lifecycle_policy.this["flows"], module.ecr.aws_ecr_lifecycle_policy.this["worker"].`; waiting.approval != want {
		t.Errorf("approval text is %q, want %q", waiting.approval, want)
	}
	p.edit(t, "infra/names.auto.tfvars", `repositories = ["worker", "jobs"]`+"\n")
	overtaking := p.plan(t, "c3")
	for _, want := range []string{
		"2 to add, 1 to replace, 2 to destroy (commit c3).",
		` REPLACED: module.ecr.aws_ecr_lifecycle_policy.this["worker"].`,
		` DESTROYED: module.ecr.aws_ecr_lifecycle_policy.this["flows"], module.ecr.aws_ecr_repository.this["flows"].`,
	} {
		if !strings.Contains(overtaking.approval, want) {
			t.Errorf("approval text is %q, want %q in it", overtaking.approval, want)
		}
	}
	if code, out := p.apply(t, overtaking, nil); code != 0 {
		t.Fatalf("apply: %d\n%s", code, out.all())
	}
	p.refused(t, waiting, nil, "the plan is stale")
	p.terraformRefuses(t, waiting)
	if want := []string{"faber-pipeline/jobs", "faber-pipeline/worker"}; !slices.Equal(p.repositories(t), want) {
		t.Errorf("applied are %v, want %v", p.repositories(t), want)
	}

	// Nothing to do: said so, and no drift; then somebody's hand.
	if again := p.plan(t, "c4"); again.approval != "no changes (commit c4)." {
		t.Errorf("approval text is %q", again.approval)
	}
	if code, out := p.build(t, driftCommand, nil); code != 0 || !strings.Contains(out.stderr, "no drift") {
		t.Errorf("drift: %d\n%s", code, out.all())
	}
	p.call(t, "DeleteLifecyclePolicy", `{"repositoryName": "faber-pipeline/jobs"}`)
	if code, out := p.build(t, driftCommand, nil); code != 2 || !strings.Contains(out.stderr, "drift: what runs is not what was applied last. 1 to add") ||
		!strings.Contains(out.stderr, `module.ecr.aws_ecr_lifecycle_policy.this["jobs"] will be created`) {
		t.Errorf("drift: %d, want 2\n%s", code, out.all())
	}
}

// begin makes the bucket for the state, and a source to work on.
func (p *pipelineRun) begin(t *testing.T) {
	t.Helper()
	root := t.TempDir()
	p.repo = filepath.Join(root, "repo")
	if err := os.CopyFS(root, os.DirFS("../../terraform")); err != nil {
		t.Fatal(err)
	}
	bucketDir := filepath.Join(root, "examples", "bucket")
	if err := os.CopyFS(bucketDir, os.DirFS("testdata/pipeline/bucket")); err != nil {
		t.Fatal(err)
	}
	p.backend = p.e.open(t, bucketDir)
	p.backend.apply(t, "apply the state's bucket")
	outputs, err := p.backend.Outputs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.bucket = outputs.String("bucket")

	for from, to := range map[string]string{"testdata/pipeline/infra": "infra", filepath.Join(root, "modules", "ecr"): "modules/ecr", filepath.Join(root, "pipeline"): "pipeline"} {
		if err := os.CopyFS(filepath.Join(p.repo, to), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	p.prepare(t)
}

// end takes away what was applied, however far that went.
func (p *pipelineRun) end(t *testing.T) {
	t.Helper()
	for _, name := range p.repositories(t) {
		p.call(t, "DeleteRepository", `{"force": true, "repositoryName": "`+name+`"}`)
	}
	if p.backend != nil {
		p.backend.destroy(t)
	}
}

// prepare commits a lock file, and settles what each build finds.
func (p *pipelineRun) prepare(t *testing.T) {
	t.Helper()
	mirror, err := explicitMirror("", p.e.environ)
	if err != nil {
		t.Fatal(err)
	}
	if mirror == "" {
		mirror = findMirror(p.e.environ, nil)
	}
	initArgs := []string{"-backend-config=use_path_style=true"}
	if mirror != "" {
		initArgs = append(initArgs, "-plugin-dir="+mirror)
		p.binds = append(p.binds, mirror+":"+mirror+":ro")
	}
	p.binds = append(p.binds, p.e.terraform+":/usr/local/bin/terraform:ro")
	p.binds = append(p.binds, jqBinds(t)...)
	p.env = []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "TERRAFORM_VERSION=" + p.terraformVersion(t), "TF_CLI_ARGS_init=" + strings.Join(initArgs, " "),
		"FABER_TERRAFORM_DIR=infra", "FABER_STATE_BUCKET=" + p.bucket, "FABER_STATE_KEY=data/terraform.tfstate", "FABER_STATE_REGION=us-east-1",
	}
	for _, entry := range p.e.environ {
		if strings.HasPrefix(entry, "AWS_") {
			p.env = append(p.env, entry)
		}
	}

	cmd := exec.CommandContext(t.Context(), p.e.terraform, slices.Concat([]string{"init", "-backend=false", "-no-color"}, initArgs[1:])...)
	cmd.Dir = filepath.Join(p.repo, "infra")
	cmd.Env = environSlice(childEnv(p.e.environ))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("terraform init: %v\n%s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(cmd.Dir, ".terraform")); err != nil {
		t.Fatal(err)
	}
}

func (p *pipelineRun) terraformVersion(t *testing.T) string {
	t.Helper()
	found, err := Find(t.Context(), FindOptions{Environ: p.e.environ, Path: p.e.terraform})
	if err != nil {
		t.Fatal(err)
	}
	return found.Version
}

// checkout copies the source to where no build was before.
func (p *pipelineRun) checkout(t *testing.T) (host, inside string) {
	t.Helper()
	p.builds++
	host = t.TempDir()
	if err := os.CopyFS(host, os.DirFS(p.repo)); err != nil {
		t.Fatal(err)
	}
	return host, "/codebuild/output/src" + string(rune('a'+p.builds%26)) + "/src"
}

// build runs a buildspec's commands.
func (p *pipelineRun) build(t *testing.T, commands string, env map[string]string) (int, output) {
	t.Helper()
	host, inside := p.checkout(t)
	return p.buildIn(t, host, inside, commands, env, nil)
}

func (p *pipelineRun) buildIn(t *testing.T, host, inside, commands string, env map[string]string, binds []string) (int, output) {
	t.Helper()
	all := slices.Concat(p.env, []string{"CODEBUILD_SRC_DIR=" + inside})
	for _, name := range slices.Sorted(maps.Keys(env)) {
		all = append(all, name+"="+env[name])
	}
	code, out := p.box.run(t, inside, commands, all, slices.Concat(p.binds, []string{host + ":" + inside}, binds))
	if strings.Contains(out.all(), canary) {
		t.Errorf("the log shows a credential:\n%s", out.all())
	}
	return code, out
}

// plan makes a plan and keeps what it hands on, and that alone.
func (p *pipelineRun) plan(t *testing.T, commit string) artefact {
	t.Helper()
	host, inside := p.checkout(t)
	code, out := p.buildIn(t, host, inside, "set -e\n"+planCommand+exported, map[string]string{"FABER_COMMIT": commit}, nil)
	lines := strings.Split(strings.TrimSpace(out.stdout), "\n")
	if code != 0 || len(lines) != 2 {
		t.Fatalf("plan: %d\n%s", code, out.all())
	}
	a := artefact{dir: t.TempDir(), approval: lines[0], sha256: lines[1], commit: commit}
	if err := os.CopyFS(a.dir, os.DirFS(filepath.Join(host, ".faber-out"))); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(a.dir); err != nil || len(files) != 1 || files[0].Name() != "plan.tar.gz" {
		t.Fatalf("the plan hands on %v: %v", files, err)
	}
	return a
}

func (p *pipelineRun) apply(t *testing.T, a artefact, env map[string]string) (int, output) {
	t.Helper()
	all := map[string]string{"FABER_COMMIT": a.commit, "FABER_PLAN_SHA256": a.sha256, "CODEBUILD_SRC_DIR_plan": "/codebuild/output/plan"}
	maps.Copy(all, env)
	host, inside := p.checkout(t)
	return p.buildIn(t, host, inside, applyCommand, all, []string{a.dir + ":/codebuild/output/plan:ro"})
}

// refused holds that a plan is not applied, and that the reason is told along with
// what to do.
func (p *pipelineRun) refused(t *testing.T, a artefact, env map[string]string, want string) {
	t.Helper()
	before := p.state(t)
	code, out := p.apply(t, a, env)
	if code != 1 || !strings.Contains(out.stderr, "error: "+want) || !strings.Contains(out.stderr, "\nhint: ") {
		t.Errorf("apply: %d, want 1 and %q\n%s", code, want, out.all())
	}
	if strings.Contains(out.all(), "Apply complete") || p.state(t) != before {
		t.Errorf("the plan was refused (%s), and yet:\n%s", want, out.all())
	}
}

// terraformRefuses holds that without the scripts' own look at the state Terraform
// refuses a stale plan as well: it looks under the state's lock.
func (p *pipelineRun) terraformRefuses(t *testing.T, a artefact) {
	t.Helper()
	host, inside := p.checkout(t)
	commands := `set -e
mkdir work && tar -xzf /codebuild/output/plan/plan.tar.gz -C work && cd work/infra
terraform apply -input=false -no-color ../.faber/stack.tfplan`
	code, out := p.buildIn(t, host, inside, commands, nil, []string{a.dir + ":/codebuild/output/plan:ro"})
	if code != 1 || !strings.Contains(out.stderr, "Saved plan is stale") {
		t.Errorf("terraform apply: %d\n%s", code, out.all())
	}
}

func (p *pipelineRun) edit(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.repo, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// state is the state as it lies in the bucket; "" before the first apply.
func (p *pipelineRun) state(t *testing.T) string {
	t.Helper()
	status, body := p.e.rest(t, http.MethodGet, "/"+p.bucket+"/data/terraform.tfstate", "s3", "")
	if status == http.StatusNotFound {
		return ""
	}
	if status != http.StatusOK {
		t.Fatalf("read the state: %d %.200s", status, body)
	}
	return body
}

func (p *pipelineRun) call(t *testing.T, operation, body string) string {
	t.Helper()
	header := http.Header{"X-Amz-Target": {"AmazonEC2ContainerRegistry_V20150921." + operation}, "Content-Type": {"application/x-amz-json-1.1"}}
	status, answer := p.e.send(t, http.MethodPost, "/", "ecr", body, header)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %.300s", operation, status, answer)
	}
	return answer
}

// repositories asks the emulator, not Terraform, what there is.
func (p *pipelineRun) repositories(t *testing.T) []string {
	t.Helper()
	var answer struct {
		Repositories []struct{ RepositoryName string }
	}
	if err := json.Unmarshal([]byte(p.call(t, "DescribeRepositories", "{}")), &answer); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, repository := range answer.Repositories {
		if strings.HasPrefix(repository.RepositoryName, "faber-pipeline/") {
			names = append(names, repository.RepositoryName)
		}
	}
	slices.Sort(names)
	return names
}

// jqBinds mount this machine's jq into a container of the same architecture, with
// the libraries that it wants: images for builds bring one, the local stack's do not.
func jqBinds(t *testing.T) []string {
	t.Helper()
	jq := program(t, "jq")
	binds := []string{jq + ":/opt/jq/jq:ro"}
	loader := ""
	// Fails on a static program, which needs nothing.
	out, err := exec.CommandContext(t.Context(), "ldd", jq).Output()
	if err == nil {
		for line := range strings.SplitSeq(string(out), "\n") {
			path := regexp.MustCompile(`(/\S+) \(0x`).FindStringSubmatch(line)
			if path == nil {
				continue
			}
			binds = append(binds, path[1]+":/opt/jq/"+filepath.Base(path[1])+":ro")
			if strings.HasPrefix(filepath.Base(path[1]), "ld-") {
				loader = "/opt/jq/" + filepath.Base(path[1]) + " --library-path /opt/jq "
			}
		}
	}
	script := filepath.Join(t.TempDir(), "jq")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+loader+"/opt/jq/jq \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return append(binds, script+":/usr/local/bin/jq:ro")
}
