//go:build integration

package infra

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"
)

// endpointVar names an AWS emulator to run the module against. A bare one leaves
// out what the front before the local stack's fills in.
const endpointVar = "FABER_TEST_AWS_ENDPOINT"

// account is the one that the emulator plays: it takes twelve digits for both
// the access key and the number of the account.
const account = "123456789012"

// exampleInputs are what an example is given here: testdata/examples/<name>.json.
type exampleInputs struct {
	// Vars are values of the example's own variables.
	Vars Vars `json:"vars"`
	// Secrets are the same, for ephemeral ones.
	Secrets Vars `json:"secrets"`
	// Arguments are put over those of the example's module "faber", as a person
	// does who edits the file.
	Arguments map[string]any `json:"arguments"`
	// Before is a directory beside this file which is applied first and destroyed
	// last, such as the network that exists already. Its outputs join Vars.
	Before string `json:"before"`
	// Twice destroys and applies it all once more, under the same names.
	Twice bool `json:"twice"`
	// Skip says why an example cannot be applied here.
	Skip string `json:"skip"`
	// Changes are names of changes; those of one entry are planned together.
	Changes [][]string `json:"changes"`
}

// change is one that is made in place. Addresses are patterns, in which * stands
// for anything; one that begins with ? need not be met, every other must. What
// is met by none fails the test.
type change struct {
	Vars      Vars           `json:"vars"`
	Arguments map[string]any `json:"arguments"`

	Update  []string `json:"update"`
	Replace []string `json:"replace"`
	Create  []string `json:"create"`
	Delete  []string `json:"delete"`
}

// neverReplaced are the kinds that hold what would be lost, or would stand still
// meanwhile. No change here may replace or delete one, whatever its patterns say.
var neverReplaced = []string{
	"aws_ecs_service", "aws_ecs_cluster", "aws_vpc", "aws_subnet", "aws_nat_gateway", "aws_secretsmanager_secret", "aws_kms_key",
	"aws_sqs_queue", "aws_cloudwatch_log_group", "aws_s3_bucket", "aws_ecr_repository", "aws_iam_role", "aws_sns_topic",
}

// TestExamplesOnEmulator takes every example through its life: applied, found
// clean, changed in place and found clean again, destroyed without a trace.
func TestExamplesOnEmulator(t *testing.T) {
	e := emulatorOf(t)
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("../../terraform")); err != nil {
		t.Fatal(err)
	}
	changes := map[string]change{}
	readJSON(t, "testdata/examples/changes.json", &changes)
	dirs, err := os.ReadDir("../../terraform/examples")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		// An example for other programs, such as those of GitHub, has no such file.
		if found, _ := filepath.Glob(filepath.Join(root, "examples", dir.Name(), "*.tf")); len(found) == 0 {
			continue
		}
		t.Run(dir.Name(), func(t *testing.T) {
			var in exampleInputs
			readJSON(t, filepath.Join("testdata/examples", dir.Name()+".json"), &in)
			if in.Skip != "" {
				t.Skip("SKIP " + in.Skip)
			}
			if credentials, ok := in.Secrets["prefect_credentials"].(map[string]any); ok {
				credentials["prefect_api_key"] = canary // which must be found nowhere afterwards
			}
			x := e.open(t, filepath.Join(root, "examples", dir.Name()))
			x.in = PlanOptions{Vars: in.Vars, Secrets: in.Secrets}
			if x.in.Vars == nil {
				x.in.Vars = Vars{}
			}
			if in.Before != "" {
				defer x.before(t, filepath.Join("testdata/examples", in.Before))()
			}
			x.arguments(t, in.Arguments)
			x.life(t, in.Changes, changes)
			if in.Twice {
				x.life(t, nil, nil)
			}
		})
	}
	e.report(t)
}

// emulator is where examples are applied.
type emulator struct {
	endpoint, terraform string
	environ             []string
	timings             []string
}

func emulatorOf(t *testing.T) *emulator {
	t.Helper()
	endpoint := os.Getenv(endpointVar)
	if endpoint == "" && os.Getenv("CI") == "true" {
		t.Fatalf("%s is not set", endpointVar)
	}
	if endpoint == "" {
		t.Skipf("SKIP module on emulator: %s is not set", endpointVar)
	}
	e := &emulator{endpoint: endpoint, environ: slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "AWS_") })}
	e.environ = append(e.environ, "AWS_ENDPOINT_URL="+endpoint, "AWS_ACCESS_KEY_ID="+account, "AWS_SECRET_ACCESS_KEY=emulated",
		"AWS_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true")
	found, err := Find(t.Context(), FindOptions{Environ: e.environ})
	if err != nil {
		t.Fatal(err)
	}
	e.terraform = found.Path
	return e
}

func (e *emulator) report(t *testing.T) {
	t.Helper()
	t.Logf("timings:\n%s", strings.Join(e.timings, "\n"))
}

// example is one working directory with its inputs.
type example struct {
	*Stack
	e        *emulator
	name     string
	in       PlanOptions
	override map[string]any // arguments of module "faber"
}

func (e *emulator) open(t *testing.T, dir string) *example {
	t.Helper()
	s, err := Open(Options{Dir: dir, Terraform: e.terraform, Environ: e.environ, Progress: func(p Progress) {
		if p.Stage == StageErrored {
			t.Logf("%s %s: %s", p.Action, p.Address, p.Message)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	x := &example{Stack: s, e: e, name: filepath.Base(dir), override: map[string]any{}}
	x.timed(t, "init", func() {
		if err := s.Init(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	return x
}

// timed makes note of how long a step took.
func (x *example) timed(t *testing.T, step string, do func()) {
	t.Helper()
	began := time.Now()
	do()
	line := fmt.Sprintf("%-16s %-40s %6.1f s", x.name, step, time.Since(began).Seconds())
	t.Log(line)
	x.e.timings = append(x.e.timings, line)
}

// arguments puts values over the arguments of the example's module.
func (x *example) arguments(t *testing.T, more map[string]any) {
	t.Helper()
	if len(more) == 0 {
		return
	}
	maps.Copy(x.override, more)
	data, err := json.MarshalIndent(map[string]any{"module": map[string]any{"faber": x.override}}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(x.o.Dir, "test_override.tf.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// before applies what the example finds there, and returns what destroys it.
func (x *example) before(t *testing.T, dir string) (destroy func()) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), filepath.Base(dir))
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	there := x.e.open(t, copied)
	there.apply(t, "apply")
	outputs, err := there.Outputs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name := range outputs {
		var value any
		if err := outputs.Decode(name, &value); err != nil {
			t.Fatal(err)
		}
		x.in.Vars[name] = value
	}
	return func() { there.destroy(t) }
}

// life applies, looks again, changes, looks again, and destroys.
func (x *example) life(t *testing.T, names [][]string, changes map[string]change) {
	t.Helper()
	before := x.e.inventory(t)
	x.apply(t, "apply")
	defer func() {
		x.destroy(t)
		if left := x.e.inventory(t).since(before); len(left) > 0 {
			t.Errorf("the emulator still holds:\n%s", strings.Join(left, "\n"))
		}
	}()
	x.clean(t, "plan")
	x.checkTemplate(t)
	for _, together := range names {
		x.change(t, together, changes)
	}
	if len(names) > 0 {
		x.clean(t, "plan after the changes")
	}
}

// apply does all there is to do, which must be to create.
func (x *example) apply(t *testing.T, step string) {
	t.Helper()
	x.timed(t, step, func() {
		plan, err := x.Plan(t.Context(), x.in)
		if err != nil {
			t.Fatal(err)
		}
		noCanaryInArchive(t, plan.File)
		result, err := x.Apply(t.Context(), plan)
		if err != nil {
			_, _ = x.Destroy(t.Context(), x.in.Vars) // as much as there is
			t.Fatal(err)
		}
		if result.Add != plan.Add || result.Total() != result.Add || result.Add == 0 {
			t.Errorf("applied %+v of %+v", result, plan)
		}
		t.Logf("%s: %d resources", x.name, result.Add)
		noCanary(t, x.o.Dir)
	})
}

// clean holds that there is nothing to do, as 'terraform plan -detailed-exitcode'
// does by ending with 0.
func (x *example) clean(t *testing.T, step string) {
	t.Helper()
	x.timed(t, step, func() {
		plan, err := x.Plan(t.Context(), x.in)
		if err != nil {
			t.Fatal(err)
		}
		if !plan.Changed {
			return
		}
		for _, c := range x.planned(t, plan) {
			t.Errorf("%s: nothing was changed, and it would %s %s:\n%s", step, c.Change.Actions, c.Address, difference(c.Change))
		}
		if !t.Failed() {
			t.Errorf("%s: outputs alone would change", step)
		}
	})
}

// change makes some changes at once and holds the plan to what they may touch.
func (x *example) change(t *testing.T, names []string, changes map[string]change) {
	t.Helper()
	what := strings.Join(names, "+")
	var all change
	for _, name := range names {
		c, ok := changes[name]
		if !ok {
			t.Fatalf("testdata/examples/changes.json has no change %q", name)
		}
		x.arguments(t, c.Arguments)
		maps.Copy(x.in.Vars, c.Vars)
		all.Update = append(all.Update, c.Update...)
		all.Replace = append(all.Replace, c.Replace...)
		all.Create = append(all.Create, c.Create...)
		all.Delete = append(all.Delete, c.Delete...)
	}
	// What there is was asked for just before, and is asked for again when all
	// changes are made.
	in := x.in
	in.SkipRefresh = true
	var plan *Plan
	x.timed(t, "plan "+what, func() {
		var err error
		if plan, err = x.Plan(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		for _, problem := range all.judge(x.planned(t, plan)) {
			t.Errorf("%s: %s", what, problem)
		}
	})
	x.timed(t, "apply "+what, func() {
		if _, err := x.Apply(t.Context(), plan); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	})
}

// judge compares a plan with what a change may touch, and must.
func (c change) judge(planned []*tfjson.ResourceChange) []string {
	var problems []string
	met := map[string]bool{}
	for _, r := range planned {
		patterns, verb := c.Update, "update"
		switch {
		case r.Change.Actions.Replace():
			patterns, verb = c.Replace, "replace"
		case r.Change.Actions.Create():
			patterns, verb = c.Create, "create"
		case r.Change.Actions.Delete():
			patterns, verb = c.Delete, "delete"
		}
		if (verb == "replace" || verb == "delete") && slices.Contains(neverReplaced, r.Type) {
			problems = append(problems, fmt.Sprintf("it would %s %s, which must never be: %s", verb, r.Address, difference(r.Change)))
			continue
		}
		i := slices.IndexFunc(patterns, func(p string) bool { return matches(p, r.Address) })
		if i < 0 {
			problems = append(problems, fmt.Sprintf("it would %s %s as well:\n%s", verb, r.Address, difference(r.Change)))
			continue
		}
		for _, p := range patterns {
			if matches(p, r.Address) {
				met[verb+p] = true
			}
		}
	}
	for verb, patterns := range map[string][]string{"update": c.Update, "replace": c.Replace, "create": c.Create, "delete": c.Delete} {
		for _, p := range patterns {
			if !strings.HasPrefix(p, "?") && !met[verb+p] {
				problems = append(problems, fmt.Sprintf("it would %s no %s", verb, p))
			}
		}
	}
	return problems
}

// matches says whether an address is one that a pattern means.
func matches(pattern, address string) bool {
	parts := strings.Split(strings.TrimPrefix(pattern, "?"), "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(address)
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, address string
		want             bool
	}{
		{"aws_vpc.this", "aws_vpc.this", true},
		{"aws_vpc.this", "aws_vpc.this[0]", false},
		{"?*.aws_subnet.private[*", `module.faber.aws_subnet.private["2"]`, true},
		{"*aws_subnet*", "module.a.aws_vpc.this", false},
	} {
		if got := matches(tt.pattern, tt.address); got != tt.want {
			t.Errorf("%s and %s: %t", tt.pattern, tt.address, got)
		}
	}
}

// planned reads the changes that a saved plan would make.
func (x *example) planned(t *testing.T, plan *Plan) []*tfjson.ResourceChange {
	t.Helper()
	shown, err := x.tf.ShowPlanFile(t.Context(), plan.File)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(shown.ResourceChanges, func(r *tfjson.ResourceChange) bool {
		return r.Change.Actions.NoOp() || r.Change.Actions.Read()
	})
}

// difference tells the attributes in which a change differs.
func difference(c *tfjson.Change) string {
	before, _ := c.Before.(map[string]any)
	after, _ := c.After.(map[string]any)
	names := map[string]bool{}
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := compact(before[name]), compact(after[name])
		if was != is {
			lines = append(lines, fmt.Sprintf("    %s: %s -> %s", name, was, is))
		}
	}
	if len(c.ReplacePaths) > 0 {
		lines = append(lines, "    replaced for "+compact(c.ReplacePaths))
	}
	return strings.Join(lines, "\n")
}

func compact(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(data) > 400 {
		data = append(data[:400:400], "…"...)
	}
	return string(data)
}

func (x *example) destroy(t *testing.T) {
	t.Helper()
	x.timed(t, "destroy", func() {
		if _, err := x.Destroy(t.Context(), x.in.Vars); err != nil {
			t.Fatal(err)
		}
		if left, err := x.Resources(t.Context()); err != nil || len(left) > 0 {
			t.Errorf("left in the state are %v: %v", left, err)
		}
	})
}

// checkTemplate reads the base job template the way the CLI does, where there is one.
func (x *example) checkTemplate(t *testing.T) {
	t.Helper()
	outputs, err := x.Outputs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if outputs.String("base_job_template") == "" {
		return
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

func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: every example has its inputs there", err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// TestKindsOnEmulator does the same with one of each kind of resource that the
// module can make, each with the arguments that the module sets and each changed
// in place. It is for the front before the emulators: an example that fails says
// less about where.
func TestKindsOnEmulator(t *testing.T) {
	e := emulatorOf(t)
	dir := filepath.Join(t.TempDir(), "kinds")
	if err := os.CopyFS(dir, os.DirFS("testdata/kinds")); err != nil {
		t.Fatal(err)
	}
	x := e.open(t, dir)
	x.in = PlanOptions{Vars: Vars{"name": "faber-kinds"}}
	defer e.report(t)
	x.life(t, [][]string{{"all"}}, map[string]change{"all": {
		Vars:   Vars{"changed": true},
		Update: []string{"*"},
		Create: []string{"aws_subnet.this[2]", "aws_route_table_association.this[2]", `aws_sns_topic_subscription.email["b@example.com"]`},
		// A revision and a version are never changed, but followed by another.
		// ECR has no call that changes a lifecycle policy for the provider.
		Replace: []string{"aws_ecs_task_definition.this", "aws_secretsmanager_secret_version.this", "aws_ecr_lifecycle_policy.this"},
	}})
}

// TestStateInBucket holds that state can be kept in a bucket of the emulator, and
// that a lock which somebody holds is respected: by S3's own conditional writes,
// without a table beside it.
func TestStateInBucket(t *testing.T) {
	e := emulatorOf(t)
	const bucket = "faber-state-test"
	e.rest(t, "PUT", "/"+bucket, "s3", "")
	defer e.rest(t, "DELETE", "/"+bucket, "s3", "")
	dir := filepath.Join(t.TempDir(), "state")
	config := scratch + `
terraform {
  backend "s3" {
    bucket         = "` + bucket + `"
    key            = "faber/terraform.tfstate"
    region         = "us-east-1"
    use_lockfile   = true
    use_path_style = true
  }
}
`
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	// The backend knows the address by a variable of its own.
	e.environ = append(e.environ, "AWS_ENDPOINT_URL_S3="+e.endpoint, "AWS_ENDPOINT_URL_STS="+e.endpoint, "AWS_ENDPOINT_URL_IAM="+e.endpoint)
	x := e.open(t, dir)
	x.in = PlanOptions{Vars: Vars{"name": "a"}, Secrets: Vars{"secret": canary}}
	x.apply(t, "apply")
	if status, body := e.rest(t, "GET", "/"+bucket+"/faber/terraform.tfstate", "s3", ""); status != 200 || !strings.Contains(body, "terraform_data") {
		t.Errorf("the state in the bucket: %d %s", status, body)
	}
	const lock = "/" + bucket + "/faber/terraform.tfstate.tflock"
	e.rest(t, "PUT", lock, "s3", `{"ID":"00000000-0000-0000-0000-000000000000","Operation":"OperationTypeApply","Who":"somebody"}`)
	if _, err := x.Plan(t.Context(), x.in); err == nil || !strings.Contains(err.Error(), "state lock") {
		t.Errorf("plan while somebody holds the lock: %v", err)
	}
	e.rest(t, "DELETE", lock, "s3", "")
	x.clean(t, "plan")
	x.destroy(t)
	e.rest(t, "DELETE", "/"+bucket+"/faber/terraform.tfstate", "s3", "")
}
