package infra

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const canary = "pnu_canary_9f2c"

func TestSecretsTravelInPrivateFiles(t *testing.T) {
	f := newFake(t)
	tmp := t.TempDir()
	s := f.open(Options{Environ: f.environ("TMPDIR="+tmp, "TF_VAR_prefect_credentials="+canary, "TF_CLI_ARGS_plan=-var=a="+canary)})
	secrets := Vars{"prefect_credentials": map[string]string{"prefect_api_key": canary}}
	plan, err := s.Plan(t.Context(), PlanOptions{Vars: Vars{"name": "data"}, Secrets: secrets})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"plan", "apply"} {
		calls := f.calls(command)
		if len(calls) != 1 {
			t.Fatalf("%s was called %d times, want once", command, len(calls))
		}
		checkSecretCall(t, calls[0])
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("variable files are left behind: %v", left)
	}
	if _, err := os.Stat(plan.File); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the applied plan is left behind: %v", err)
	}
}

func checkSecretCall(t *testing.T, call fakeCall) {
	t.Helper()
	if text := strings.Join(append(call.Argv, call.Environ...), "\n"); strings.Contains(text, canary) {
		t.Errorf("%s: the secret stands in arguments or environment:\n%s", call.Argv[0], text)
	}
	var with int
	for path, file := range call.VarFiles {
		if file.Mode != 0o600 || file.DirMode != 0o700 {
			t.Errorf("%s has mode %o in a directory with %o, want 600 in 700", path, file.Mode, file.DirMode)
		}
		if strings.Contains(file.Content, canary) {
			with++
		}
	}
	if with != 1 {
		t.Errorf("%s: %d variable files hold the secret, want 1", call.Argv[0], with)
	}
}

func TestApplyOfPlanWithoutSecretsHasNoVarFiles(t *testing.T) {
	f := newFake(t)
	s := f.open(Options{})
	plan, err := s.Plan(t.Context(), PlanOptions{Vars: Vars{"name": "data"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	// Terraform refuses ordinary variables beside a saved plan.
	call := f.calls("apply")[0]
	if len(call.VarFiles) != 0 || call.Argv[len(call.Argv)-1] != plan.File {
		t.Errorf("apply was called as %q", call.Argv)
	}
}

func TestPlanCountsAndApplyProgress(t *testing.T) {
	f := newFake(t)
	var news []Progress
	s := f.open(Options{Progress: func(p Progress) { news = append(news, p) }})
	plan, err := s.Plan(t.Context(), PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{{"aws_vpc.this", "create"}, {"aws_ecs_cluster.this", "update"}}
	if diff := cmp.Diff(want, plan.Changes); diff != "" || plan.Add != 1 || plan.Change != 1 || plan.Total() != 2 || !plan.Changed {
		t.Errorf("plan is %+v (-want +got):\n%s", plan, diff)
	}
	result, err := s.Apply(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	if result != (Result{Add: 1, Change: 1}) {
		t.Errorf("result is %+v", result)
	}
	wantNews := []Progress{
		{Command: "apply", Address: "aws_vpc.this", Action: "create", Stage: StageStart, Total: 2, Message: "creating"},
		{Command: "apply", Address: "aws_vpc.this", Action: "create", Stage: StageComplete, Elapsed: 3 * time.Second, Done: 1, Total: 2, Message: "created"},
		{Command: "apply", Address: "data.aws_region.current", Action: "read", Stage: StageComplete, Done: 1, Total: 2, Message: "read"},
	}
	if diff := cmp.Diff(wantNews, news); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

func TestErrorsAreTerraformsOwnWords(t *testing.T) {
	f := newFake(t)
	tmp := t.TempDir()
	s := f.open(Options{Environ: f.environ("TMPDIR="+tmp, fakeFail+"=plan")})
	_, err := s.Plan(t.Context(), PlanOptions{Secrets: Vars{"a": canary}})
	want := "terraform plan: aws_vpc.this: No such thing: It was looked for, and not found."
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("variable files are left behind: %v", left)
	}
}

func TestCancelInterruptsTerraform(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := f.open(Options{
		Environ:  f.environ(fakeHang + "=apply"),
		Progress: func(p Progress) { cancel() }, // the first news: it runs
	})
	plan, err := s.Plan(t.Context(), PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(ctx, plan); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

func TestOneStackPerDirectory(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	s := f.open(Options{Dir: dir})
	_, err := Open(Options{Dir: dir, Terraform: f.path, Environ: f.environ()})
	if err == nil || !strings.Contains(err.Error(), "another faber is working in "+dir) {
		t.Errorf("error is %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := f.open(Options{Dir: dir})
	if err := errors.Join(again.Close(), again.Close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestChildEnvironment(t *testing.T) {
	present := filepath.Join(t.TempDir(), "rc")
	if err := os.WriteFile(present, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	env := childEnv([]string{"TF_VAR_name=x", "TF_CLI_ARGS=-lock=false", "TF_WORKSPACE=other", "TF_CLI_CONFIG_FILE=/does/not/exist", "AWS_REGION=eu-central-1", "AWS_REGION=eu-west-1"})
	if diff := cmp.Diff(map[string]string{"AWS_REGION": "eu-west-1", "CHECKPOINT_DISABLE": "1"}, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if env := childEnv([]string{"TF_CLI_CONFIG_FILE=" + present}); env["TF_CLI_CONFIG_FILE"] != present {
		t.Error("a configuration file that exists was taken away")
	}
}

func TestUnpack(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "examples", "local", "terraform.tfstate")
	stale := filepath.Join(dir, "old.tf")
	for _, path := range []string{mine, stale} {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, manifestName), []byte(`["old.tf","../outside.tf"]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Unpack(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"main.tf", "base_job_template.json", "modules/iam/main.tf", "examples/local/main.tf", "examples/complete/README.md", "examples/local/terraform.tfstate"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that the module no longer has is still there: %v", err)
	}
}

func TestModuleHasNoWayIn(t *testing.T) {
	dir := t.TempDir()
	if err := Unpack(dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "modules", "*", "*.tf"))
	if err != nil || len(files) < 18 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		words := []string{"security_group_ingress_rule", "aws_security_group_rule", "ingress {", "assign_public_ip = true", `data "aws_secretsmanager_secret_version"`}
		if strings.HasSuffix(file, filepath.Join("network", "endpoints.tf")) {
			// The one way in leads to the endpoints' own interfaces, from groups of
			// tasks alone: tests/network.tftest.hcl holds what it lets in.
			words = append(words[1:], "cidr_ipv4", "cidr_ipv6")
		}
		for _, word := range words {
			if strings.Contains(string(data), word) {
				t.Errorf("%s has %s", file, word)
			}
		}
	}
}

func TestOutputs(t *testing.T) {
	outputs := Outputs{"name": []byte(`"data"`), "none": []byte(`null`), "subnets": []byte(`["a","b"]`)}
	if outputs.String("name") != "data" || outputs.String("none") != "" || outputs.String("subnets") != "" || outputs.String("absent") != "" {
		t.Error("a text is not what it should be")
	}
	var subnets []string
	if err := outputs.Decode("subnets", &subnets); err != nil || !slices.Equal(subnets, []string{"a", "b"}) {
		t.Errorf("subnets are %v: %v", subnets, err)
	}
	if err := outputs.Decode("absent", &subnets); err == nil || !strings.Contains(err.Error(), "no output absent") {
		t.Errorf("error is %v", err)
	}
}
