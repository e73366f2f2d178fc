//go:build integration

package modulecheck

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"

	"faber/internal/cloudwatch"
	"faber/internal/infra"
)

// existingSecret makes the worker's environment known before anything exists:
// what a created secret is called, AWS decides.
const existingSecret = `
module "faber" {
  create_secret      = false
  prefect_secret_arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mine-AbCdEf"
}
`

// TestScaleToZeroIsALoop holds what examples/spot plans to being one closed loop:
// the metrics that worker and tick are told to publish are those that the alarms
// read, the alarms call the policies, and the policies set the service that runs
// the worker. Then it lets the loop run.
func TestScaleToZeroIsALoop(t *testing.T) {
	p := planOffline(t, "spot", infra.Vars{"region": "us-east-1", "work_pool_name": "fargate", "image": "faber:1.0.0"})
	checkLoop(t, p)
	if len(p.of("aws_appautoscaling_policy")) != 2 || len(p.scalingAlarms()) != 2 {
		t.Fatalf("policies are %v, alarms %v", p.of("aws_appautoscaling_policy"), p.scalingAlarms())
	}
	p.checkTick(t)

	interval := p.tickMinutes(t)
	for _, late := range []int{0, 1, 5} { // how far back CloudWatch looks for missing datapoints is its own affair
		start := func(arrivals func(int) int) *world {
			w := newWorld(p.autoscaler(t), arrivals)
			w.tick, w.late = interval, late
			return w
		}

		t.Run(fmt.Sprintf("nothing to do, %d late", late), func(t *testing.T) {
			w := start(func(int) int { return 0 })
			w.run(120)
			check(t, w, 0, 0)
		})
		t.Run(fmt.Sprintf("one run, %d late", late), func(t *testing.T) {
			w := start(burst(31, 1))
			w.run(120)
			check(t, w, 1, 1)
			if w.at(31+interval+2) != 1 {
				t.Errorf("the worker was asked for later than %d minutes after the run was due: %s", interval+2, show(w.moves))
			}
		})
		t.Run(fmt.Sprintf("a burst, %d late", late), func(t *testing.T) {
			w := start(burst(31, 1000))
			w.run(180)
			check(t, w, 3, 1)
		})
		t.Run(fmt.Sprintf("one long run, %d late", late), func(t *testing.T) {
			w := start(burst(31, 1))
			w.runMinutes = 90
			w.run(240)
			check(t, w, 1, 1)
		})
		t.Run(fmt.Sprintf("a burst every 5 minutes, %d late", late), func(t *testing.T) {
			w := start(func(minute int) int {
				if minute >= 31 && minute < 150 && minute%5 == 1 {
					return 150
				}
				return 0
			})
			w.run(300)
			check(t, w, 2, 1)
		})
		t.Run(fmt.Sprintf("day and night, %d late", late), func(t *testing.T) {
			w := start(func(minute int) int {
				// A hill of up to 50 runs a minute, an hour wide, in every four.
				hour := float64(minute%240 - 90)
				if hour < 0 || hour >= 60 {
					return 0
				}
				return int(50 * math.Sin(hour*math.Pi/60))
			})
			w.run(3 * 240)
			if w.capacity != 0 || turns(w.moves) != 5 || len(w.problems) > 0 {
				t.Errorf("three hills make 5 turns, and nothing left: %d turns, %s, %v", turns(w.moves), show(w.moves), w.problems)
			}
		})
		t.Run(fmt.Sprintf("the pool cannot be read, %d late", late), func(t *testing.T) {
			w := start(burst(31, 20))
			w.runMinutes = 600
			w.run(60)
			before := w.capacity
			// Nobody publishes: neither the workers, who cannot poll, nor the tick.
			w.metrics["Backlog"] = samples{}
			for range 60 {
				w.scale()
				w.minute++
			}
			if before == 0 || w.capacity != before {
				t.Errorf("from %d to %d workers without a datapoint: %s", before, w.capacity, show(w.moves))
			}
		})
	}
}

// check looks at a world in which one hill of work came and went.
func check(t *testing.T, w *world, peak, wantTurns int) {
	t.Helper()
	for _, problem := range w.problems {
		t.Error(problem)
	}
	highest := slices.MaxFunc(w.moves, func(a, b move) int { return cmp.Compare(a.capacity, b.capacity) }).capacity
	if highest != peak || w.capacity != w.scaler.Min || turns(w.moves) != wantTurns {
		t.Errorf("want up to %d, back to %d, %d turns: %s", peak, w.scaler.Min, wantTurns, show(w.moves))
	}
	if w.work() != 0 {
		t.Errorf("%d runs are left", w.work())
	}
}

// TestTargetTrackingIsALoop does the same with examples/complete, whose workers are
// never fewer than one.
func TestTargetTrackingIsALoop(t *testing.T) {
	p := planOffline(t, "complete", infra.Vars{"region": "us-east-1", "work_pool_name": "fargate", "image": "faber:1.0.0"})
	checkLoop(t, p)
	s := p.autoscaler(t)
	if names := slices.Sorted(maps.Keys(trackedMetrics(s))); !slices.Equal(names, []string{"BacklogPerWorker", "ECSServiceAverageCPUUtilization", "ECSServiceAverageMemoryUtilization"}) {
		t.Errorf("tracked are %v", names)
	}

	w := newWorld(p.autoscaler(t), burst(31, 3000))
	w.run(240)
	check(t, w, 3, 1)
	if w.at(31+5) == 1 {
		t.Errorf("five minutes into the burst there was one worker still: %s", show(w.moves))
	}

	w = newWorld(p.autoscaler(t), func(int) int { return 20 }) // as much as one worker can well do
	w.run(240)
	if len(w.moves) != 1 {
		t.Errorf("a steady load that one worker bears: %s", show(w.moves))
	}
}

func trackedMetrics(s *autoscaler) map[string]bool {
	names := map[string]bool{}
	for _, p := range s.Tracking {
		names[p.Metric.Name] = true
	}
	return names
}

// offlinePlan is the plan of an example, made without any AWS.
type offlinePlan struct {
	plan tfjson.Plan
	// references of each resource's arguments, by address without the index.
	references map[string]map[string][]string
}

// planOffline plans an example with an existing secret. Of AWS, Terraform asks who
// it is and which zones there are; a listener of the test's own answers.
func planOffline(t *testing.T, example string, vars infra.Vars) *offlinePlan {
	t.Helper()
	aws := httptest.NewServer(http.HandlerFunc(answerPlan))
	defer aws.Close()
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(moduleDir)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "examples", example)
	withoutSecretCheck(t, filepath.Join(dir, "main.tf"))
	if err := os.WriteFile(filepath.Join(dir, "test_override.tf"), []byte(existingSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := append(os.Environ(), "AWS_ENDPOINT_URL="+aws.URL, "AWS_ACCESS_KEY_ID=123456789012", "AWS_SECRET_ACCESS_KEY=emulated", "AWS_EC2_METADATA_DISABLED=true")
	found, err := infra.Find(t.Context(), infra.FindOptions{Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	s, err := infra.Open(infra.Options{Dir: dir, Terraform: found.Path, Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	plan, err := s.Plan(t.Context(), infra.PlanOptions{Vars: vars})
	if err != nil {
		t.Fatal(err)
	}
	var out, complaints bytes.Buffer
	if code, err := s.Exec(t.Context(), infra.ExecOptions{Args: []string{"show", "-json", plan.File}, Out: &out, Err: &complaints}); err != nil || code != 0 {
		t.Fatalf("terraform show: exit code %d, %v\n%s", code, err, &complaints)
	}
	p := &offlinePlan{references: map[string]map[string][]string{}}
	if err := json.Unmarshal(out.Bytes(), &p.plan); err != nil {
		t.Fatal(err)
	}
	p.readReferences("", p.plan.Config.RootModule)
	return p
}

// secretCheck is the example's module that looks into the secret.
var secretCheck = regexp.MustCompile(`(?ms)^module "secret_check" \{$.*?^\}$`)

// withoutSecretCheck takes that module out of a copy of an example: Terraform 1.11
// panics when it shows a plan as JSON whose configuration has an ephemeral resource
// with a postcondition ("unsupported resource mode 69", seen with 1.11.4), even one
// that is switched off.
func withoutSecretCheck(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, secretCheck.ReplaceAll(data, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

// answerPlan is as much of AWS as a plan into an empty account asks.
func answerPlan(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	switch {
	case form.Get("Action") == "GetCallerIdentity":
		fmt.Fprint(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/plan</Arn><UserId>AIDAPLAN</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
	case form.Get("Action") == "DescribeAvailabilityZones":
		var zones strings.Builder
		for _, letter := range "abcdef" {
			fmt.Fprintf(&zones, `<item><zoneName>us-east-1%c</zoneName><zoneState>available</zoneState><regionName>us-east-1</regionName><zoneId>use1-az%c</zoneId><zoneType>availability-zone</zoneType><optInStatus>opt-in-not-required</optInStatus></item>`, letter, letter)
		}
		fmt.Fprintf(w, `<DescribeAvailabilityZonesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><availabilityZoneInfo>%s</availabilityZoneInfo></DescribeAvailabilityZonesResponse>`, &zones)
	case strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetSecretValue"):
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		fmt.Fprint(w, `{"ARN":"arn:aws:secretsmanager:us-east-1:123456789012:secret:mine-AbCdEf","Name":"mine","VersionId":"11111111-2222-3333-4444-555555555555","VersionStages":["AWSCURRENT"],"SecretString":"{\"PREFECT_API_KEY\":\"a\",\"PREFECT_ACCOUNT_ID\":\"b\",\"PREFECT_WORKSPACE_ID\":\"c\"}"}`)
	default:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `<Response><Errors><Error><Code>NotInThisTest</Code><Message>the plan asked for %q %q</Message></Error></Errors></Response>`, form.Get("Action"), r.Header.Get("X-Amz-Target"))
	}
}

// readReferences collects what the arguments of each resource refer to.
func (p *offlinePlan) readReferences(prefix string, module *tfjson.ConfigModule) {
	for _, resource := range module.Resources {
		refs := map[string][]string{}
		for name, expression := range resource.Expressions {
			if expression != nil && expression.ExpressionData != nil {
				refs[name] = allReferences(expression)
			}
		}
		p.references[prefix+resource.Address] = refs
	}
	for name, call := range module.ModuleCalls {
		if call.Module != nil {
			p.readReferences(prefix+"module."+name+".", call.Module)
		}
	}
}

// allReferences are those of an expression and of the blocks in it.
func allReferences(e *tfjson.Expression) []string {
	refs := slices.Clone(e.References)
	for _, block := range e.NestedBlocks {
		for _, nested := range block {
			if nested != nil && nested.ExpressionData != nil {
				refs = append(refs, allReferences(nested)...)
			}
		}
	}
	return refs
}

// resource is one that the plan makes.
type resource struct {
	address string
	values  map[string]any
}

// of lists the planned resources of a type, by address.
func (p *offlinePlan) of(typ string) []resource {
	var found []resource
	for _, change := range p.plan.ResourceChanges {
		if values, ok := change.Change.After.(map[string]any); ok && change.Type == typ && change.Mode == tfjson.ManagedResourceMode {
			found = append(found, resource{change.Address, values})
		}
	}
	slices.SortFunc(found, func(a, b resource) int { return strings.Compare(a.address, b.address) })
	return found
}

func (p *offlinePlan) one(t *testing.T, typ, part string) resource {
	t.Helper()
	found := slices.DeleteFunc(p.of(typ), func(r resource) bool { return !strings.Contains(r.address, part) })
	if len(found) != 1 {
		t.Fatalf("%d planned resources are %s with %q", len(found), typ, part)
	}
	return found[0]
}

// refersTo says whether an argument of a resource refers to another resource.
func (p *offlinePlan) refersTo(r resource, argument, address string) bool {
	bare := func(address string) string { before, _, _ := strings.Cut(address, "["); return before }
	own := bare(lastPart(address))
	return slices.ContainsFunc(p.references[stripIndexes(r.address)][argument], func(ref string) bool { return bare(ref) == own })
}

// lastPart is an address without its modules.
func lastPart(address string) string {
	part := strings.Split(stripIndexes(address), ".")
	return strings.Join(part[len(part)-2:], ".")
}

// stripIndexes takes the indexes out of an address: the configuration has none.
func stripIndexes(address string) string {
	var out strings.Builder
	depth := 0
	for _, r := range address {
		switch {
		case r == '[':
			depth++
		case r == ']':
			depth--
		case depth == 0:
			out.WriteRune(r)
		}
	}
	return out.String()
}

func block(values map[string]any, name string) map[string]any {
	list, _ := values[name].([]any)
	if len(list) == 0 {
		return map[string]any{}
	}
	first, _ := list[0].(map[string]any)
	return first
}

func blocks(values map[string]any, name string) []map[string]any {
	list, _ := values[name].([]any)
	var out []map[string]any
	for _, item := range list {
		if object, ok := item.(map[string]any); ok {
			out = append(out, object)
		}
	}
	return out
}

func text(v any) string { s, _ := v.(string); return s }

// num reads a number, which the provider has as text in places.
func num(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case string:
		var f float64
		if _, err := fmt.Sscan(v, &f); err == nil {
			return f
		}
	}
	return math.NaN()
}

// scalingAlarms are the alarms whose action is a scaling policy.
func (p *offlinePlan) scalingAlarms() []resource {
	return slices.DeleteFunc(p.of("aws_cloudwatch_metric_alarm"), func(r resource) bool {
		return !slices.ContainsFunc(p.references[stripIndexes(r.address)]["alarm_actions"], func(ref string) bool { return strings.HasPrefix(ref, "aws_appautoscaling_policy.") })
	})
}

// policyOf is the policy that an alarm calls.
func (p *offlinePlan) policyOf(t *testing.T, a resource) resource {
	t.Helper()
	for _, policy := range p.of("aws_appautoscaling_policy") {
		if p.refersTo(a, "alarm_actions", policy.address) {
			return policy
		}
	}
	t.Fatalf("%s calls no policy that is planned", a.address)
	return resource{}
}

// environment is what a task definition's only container is told.
func environment(t *testing.T, definition resource) map[string]string {
	t.Helper()
	var containers []struct {
		Command     []string
		Environment []struct{ Name, Value string }
	}
	if err := json.Unmarshal([]byte(text(definition.values["container_definitions"])), &containers); err != nil || len(containers) != 1 {
		t.Fatalf("%s: the containers are not known before the apply: %v", definition.address, err)
	}
	env := map[string]string{}
	for _, variable := range containers[0].Environment {
		env[variable.Name] = variable.Value
	}
	return env
}

// checkLoop holds every metric that a scaling alarm or policy reads to being one
// that the planned worker publishes, and every policy to setting the planned service.
func checkLoop(t *testing.T, p *offlinePlan) {
	t.Helper()
	cluster, service := p.one(t, "aws_ecs_cluster", "cluster"), p.one(t, "aws_ecs_service", "autoscaled")
	want := "service/" + text(cluster.values["name"]) + "/" + text(service.values["name"])
	for _, typ := range []string{"aws_appautoscaling_target", "aws_appautoscaling_policy", "aws_appautoscaling_scheduled_action"} {
		for _, r := range p.of(typ) {
			if text(r.values["resource_id"]) != want || text(r.values["scalable_dimension"]) != "ecs:service:DesiredCount" {
				t.Errorf("%s sets %v of %v, not the number of tasks of %s", r.address, r.values["scalable_dimension"], r.values["resource_id"], want)
			}
		}
	}

	env := environment(t, p.one(t, "aws_ecs_task_definition", "service.aws_ecs_task_definition.this"))
	published := map[string]cloudwatch.Metric{}
	for _, m := range cloudwatch.Metrics() {
		published[m.Name] = m
	}
	dimensions := map[string]string{cloudwatch.DimensionStack: env["FABER_STACK"], cloudwatch.DimensionWorkPool: env["FABER_WORK_POOL"]}
	s := p.autoscaler(t)
	for where, m := range readMetrics(s) {
		if strings.HasPrefix(m.Name, "ECSService") {
			continue // AWS's own, of the service that the policy sets
		}
		known, ok := published[m.Name]
		if !ok || !slices.Contains(known.Statistics, m.Stat) {
			t.Errorf("%s reads %s of %q: the worker publishes no such metric with that meaning", where, m.Stat, m.Name)
		}
		if m.Namespace != env["FABER_METRICS_NAMESPACE"] || !maps.Equal(m.Dimensions, dimensions) {
			t.Errorf("%s reads %s %v, the worker publishes to %s %v", where, m.Namespace, m.Dimensions, env["FABER_METRICS_NAMESPACE"], dimensions)
		}
		if s.Min == 0 && !known.Tick {
			t.Errorf("%s reads %s, which nobody publishes while no worker runs", where, m.Name)
		}
	}
	for _, a := range s.Alarms {
		checkSteps(t, a, s)
	}
}

// checkSteps holds the steps to leaving out no value that sets off their alarm.
func checkSteps(t *testing.T, a *alarm, s *autoscaler) {
	t.Helper()
	steps := slices.SortedFunc(slices.Values(a.Policy.Steps), func(x, y step) int { return cmp.Compare(x.From, y.From) })
	first, last := 0.0, math.Inf(1)
	if strings.HasPrefix(a.Comparison, "Less") {
		first, last = math.Inf(-1), 0
	}
	for i, step := range steps {
		if step.From != first {
			t.Errorf("%s: between %g and %g there is no step", a.Policy.Name, first, step.From)
		}
		first = step.To
		if step.Capacity < s.Min || step.Capacity > s.Max || i > 0 && step.Capacity <= steps[i-1].Capacity {
			t.Errorf("%s: step %d sets %d tasks, of %d to %d", a.Policy.Name, i, step.Capacity, s.Min, s.Max)
		}
	}
	if first != last {
		t.Errorf("%s: from %g on there is no step", a.Policy.Name, first)
	}
}

func readMetrics(s *autoscaler) map[string]metric {
	all := map[string]metric{}
	for _, a := range s.Alarms {
		for id, m := range a.Metrics {
			all["alarm "+a.Name+", "+id] = m
		}
	}
	for _, p := range s.Tracking {
		all["policy "+p.Name] = p.Metric
	}
	return all
}

// autoscaler reads bounds, alarms and policies out of the plan.
func (p *offlinePlan) autoscaler(t *testing.T) *autoscaler {
	t.Helper()
	target := p.one(t, "aws_appautoscaling_target", "")
	s := &autoscaler{Min: int(num(target.values["min_capacity"])), Max: int(num(target.values["max_capacity"]))}
	for _, r := range p.scalingAlarms() {
		s.Alarms = append(s.Alarms, p.alarm(t, r))
	}
	for _, r := range p.of("aws_appautoscaling_policy") {
		if text(r.values["policy_type"]) == "TargetTrackingScaling" {
			s.Tracking = append(s.Tracking, trackingOf(t, r))
		}
	}
	return s
}

func (p *offlinePlan) alarm(t *testing.T, r resource) *alarm {
	t.Helper()
	a := &alarm{
		Name: text(r.values["alarm_name"]), Metrics: map[string]metric{}, Comparison: text(r.values["comparison_operator"]), Threshold: num(r.values["threshold"]),
		Periods: int(num(r.values["evaluation_periods"])), Missing: text(r.values["treat_missing_data"]), Policy: stepsOf(t, p.policyOf(t, r)),
	}
	a.Datapoints = a.Periods
	if n := num(r.values["datapoints_to_alarm"]); !math.IsNaN(n) {
		a.Datapoints = int(n)
	}
	for _, query := range blocks(r.values, "metric_query") {
		m := block(query, "metric")
		if len(m) == 0 {
			a.Expression = text(query["expression"])
			if query["return_data"] != true {
				t.Errorf("%s: the alarm does not look at its expression", r.address)
			}
			continue
		}
		if query["return_data"] == true {
			t.Errorf("%s: the alarm looks at two things", r.address)
		}
		a.Metrics[text(query["id"])] = metric{text(m["namespace"]), text(m["metric_name"]), text(m["stat"]), texts(m["dimensions"]), int(num(m["period"])) / 60}
	}
	return a
}

func texts(v any) map[string]string {
	object, _ := v.(map[string]any)
	out := map[string]string{}
	for key, value := range object {
		out[key] = text(value)
	}
	return out
}

func stepsOf(t *testing.T, r resource) *stepPolicy {
	t.Helper()
	c := block(r.values, "step_scaling_policy_configuration")
	if text(c["adjustment_type"]) != "ExactCapacity" {
		t.Fatalf("%s: the simulation plays ExactCapacity, not %v", r.address, c["adjustment_type"])
	}
	policy := &stepPolicy{Name: text(r.values["name"]), Cooldown: int(num(c["cooldown"]))}
	for _, adjustment := range blocks(c, "step_adjustment") {
		s := step{math.Inf(-1), math.Inf(1), int(num(adjustment["scaling_adjustment"]))}
		if from := num(adjustment["metric_interval_lower_bound"]); !math.IsNaN(from) {
			s.From = from
		}
		if to := num(adjustment["metric_interval_upper_bound"]); !math.IsNaN(to) {
			s.To = to
		}
		policy.Steps = append(policy.Steps, s)
	}
	return policy
}

func trackingOf(t *testing.T, r resource) *trackingPolicy {
	t.Helper()
	c := block(r.values, "target_tracking_scaling_policy_configuration")
	policy := &trackingPolicy{
		Name: text(r.values["name"]), Target: num(c["target_value"]), OutCooldown: int(num(c["scale_out_cooldown"])), InCooldown: int(num(c["scale_in_cooldown"])),
		DisableScaleIn: c["disable_scale_in"] == true,
	}
	if policy.InCooldown <= policy.OutCooldown {
		t.Errorf("%s: workers come after %d s and go after %d s", r.address, policy.OutCooldown, policy.InCooldown)
	}
	if m := block(c, "customized_metric_specification"); len(m) > 0 {
		dimensions := map[string]string{}
		for _, d := range blocks(m, "dimensions") {
			dimensions[text(d["name"])] = text(d["value"])
		}
		policy.Metric = metric{text(m["namespace"]), text(m["metric_name"]), text(m["statistic"]), dimensions, 1}
		return policy
	}
	policy.Metric = metric{Name: text(block(c, "predefined_metric_specification")["predefined_metric_type"]), Stat: "Average", Minutes: 1}
	return policy
}

// checkTick holds the schedule to running the tick's task definition in the
// cluster, and the tick to publishing what the worker does, where the worker does.
func (p *offlinePlan) checkTick(t *testing.T) {
	t.Helper()
	schedule, definition := p.one(t, "aws_scheduler_schedule", "tick"), p.one(t, "aws_ecs_task_definition", "tick")
	if text(schedule.values["state"]) != "ENABLED" {
		t.Errorf("the schedule of the tick is %v", schedule.values["state"])
	}
	tick, worker := environment(t, definition), environment(t, p.one(t, "aws_ecs_task_definition", "service.aws_ecs_task_definition.this"))
	for _, name := range []string{"FABER_STACK", "FABER_WORK_POOL", "FABER_METRICS_NAMESPACE"} {
		if tick[name] != worker[name] || tick[name] == "" {
			t.Errorf("%s is %q for the tick, %q for the worker", name, tick[name], worker[name])
		}
	}
	for argument, want := range map[string]string{"tick_task_definition_arn": "module.service.tick_task_definition_arn", "scheduler_role_arn": "module.iam.scheduler_role_arn", "cluster_arn": "module.cluster.arn"} {
		call := p.plan.Config.RootModule.ModuleCalls["faber"].Module.ModuleCalls["autoscaling"]
		expression := call.Expressions[argument]
		if expression == nil || expression.ExpressionData == nil || !slices.Contains(expression.References, want) {
			t.Errorf("%s of the auto-scaling does not come from %s", argument, want)
		}
	}
}

func (p *offlinePlan) tickMinutes(t *testing.T) int {
	t.Helper()
	var n int
	expression := text(p.one(t, "aws_scheduler_schedule", "tick").values["schedule_expression"])
	if _, err := fmt.Sscanf(expression, "rate(%d minute", &n); err != nil || n < 1 {
		t.Fatalf("the tick's schedule is %q: %v", expression, err)
	}
	return n
}
