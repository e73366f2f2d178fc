package modulecheck

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"faber/internal/front/awsfront"
	"faber/internal/jobtemplate"
)

// The tests of this file and the runs of terraform/tests/rivals.tftest.hcl have the
// numbers of the faults that docs/terraform.md lists: what another module has been
// seen to do, and this one must not.

// TestRival1AuthString: the variable is the one that Prefect reads.
func TestRival1AuthString(t *testing.T) {
	named := false
	for name, source := range sources(t) {
		for _, variable := range regexp.MustCompile(`\b[A-Z_]*AUTH_STRING\b`).FindAllString(source, -1) {
			named = true
			if variable != "PREFECT_API_AUTH_STRING" {
				t.Errorf("%s names %s", name, variable)
			}
		}
	}
	if !named {
		t.Error("the module knows no PREFECT_API_AUTH_STRING at all")
	}
}

// TestRival2Template: a default that stands where the module puts it is in the
// configuration of a flow run that gives no job variable. The other way is shown
// beside it: within the schema of the network configuration it goes nowhere.
func TestRival2Template(t *testing.T) {
	network := map[string]any{"subnets": []any{"subnet-a"}, "securityGroups": []any{"sg-a"}, "assignPublicIp": "DISABLED"}
	resolve := func(change func(property map[string]any)) map[string]any {
		t.Helper()
		var base map[string]any
		if err := json.Unmarshal([]byte(readFile(t, "base_job_template.json")), &base); err != nil {
			t.Fatal(err)
		}
		change(base["variables"].(map[string]any)["properties"].(map[string]any)["network_configuration"].(map[string]any))
		template, err := jobtemplate.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		resolved, err := template.Resolve(t.Context(), jobtemplate.Input{})
		if err != nil {
			t.Fatal(err)
		}
		var job map[string]any
		if err := json.Unmarshal(resolved.Document, &job); err != nil {
			t.Fatal(err)
		}
		got, _ := job["network_configuration"].(map[string]any)
		return got
	}
	got := resolve(func(property map[string]any) { property["default"] = network })
	if subnets, _ := got["subnets"].([]any); len(subnets) != 1 || got["assignPublicIp"] != "DISABLED" {
		t.Errorf("a flow run's network configuration is %v, want %v", got, network)
	}
	nested := resolve(func(property map[string]any) {
		property["properties"] = map[string]any{"subnets": map[string]any{"type": "array", "default": network["subnets"]}}
	})
	if len(nested) != 0 {
		t.Errorf("a default inside the schema gives %v: then this test shows nothing", nested)
	}
}

// TestRival6NoIngress: no resource of the module lets anybody connect.
func TestRival6NoIngress(t *testing.T) {
	for _, name := range submodules(t) {
		for _, block := range readModule(t, filepath.Join(moduleDir, "modules", name)).ofType("resource", "") {
			kind := block.Labels[0]
			if kind == "aws_vpc_security_group_ingress_rule" && name == "network" && opensEndpointsAlone(block) {
				continue
			}
			if kind == "aws_vpc_security_group_ingress_rule" || kind == "aws_security_group_rule" {
				t.Errorf("modules/%s: %s.%s lets somebody in", name, kind, block.Labels[1])
			}
			for _, inner := range block.Body.Blocks {
				if kind == "aws_security_group" && inner.Type == "ingress" {
					t.Errorf("modules/%s: aws_security_group.%s lets somebody in", name, block.Labels[1])
				}
			}
		}
	}
}

// opensEndpointsAlone tells the one rule that may be: from the groups of worker and
// flow runs to the interface endpoints of AWS inside the VPC, never from an address.
func opensEndpointsAlone(block *hclsyntax.Block) bool {
	_, fromAddress := block.Body.Attributes["cidr_ipv4"]
	_, fromAddress6 := block.Body.Attributes["cidr_ipv6"]
	_, fromGroup := block.Body.Attributes["referenced_security_group_id"]
	return fromGroup && !fromAddress && !fromAddress6
}

// TestRival7EventPattern: the rule's pattern takes an event as ECS sends it, whose
// resources are the task and not the cluster. The pattern that others use is shown
// not to, and another cluster's event is left alone.
func TestRival7EventPattern(t *testing.T) {
	event, err := os.ReadFile(filepath.Join("testdata", "task-state-change.json"))
	if err != nil {
		t.Fatal(err)
	}
	cluster := "arn:aws:ecs:eu-central-1:123456789012:cluster/data"
	if pattern := eventPattern(t, cluster); !matches(t, pattern, event) {
		t.Errorf("the event is not taken by %s", pattern)
	}
	if pattern := eventPattern(t, cluster+"-other"); matches(t, pattern, event) {
		t.Errorf("the event of another cluster is taken by %s", pattern)
	}
	if rival := `{"source":["aws.ecs"],"resources":["` + cluster + `"]}`; matches(t, rival, event) {
		t.Errorf("%s takes the event: then this test shows nothing", rival)
	}
}

func matches(t *testing.T, text string, event []byte) bool {
	t.Helper()
	pattern, err := awsfront.ParsePattern([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return pattern.Match(event)
}

// eventPattern evaluates the rule's pattern for a cluster.
func eventPattern(t *testing.T, cluster string) string {
	t.Helper()
	rules := readModule(t, filepath.Join(moduleDir, "modules", "events")).ofType("resource", "aws_cloudwatch_event_rule")
	if len(rules) != 1 {
		t.Fatalf("modules/events has %d rules, want one", len(rules))
	}
	value, diags := rules[0].Body.Attributes["event_pattern"].Expr.Value(&hcl.EvalContext{
		Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{
			"cluster_arn":    cty.StringVal(cluster),
			"ignored_groups": cty.ListVal([]cty.Value{cty.StringVal("service:data-worker")}),
		})},
		Functions: map[string]function.Function{"jsonencode": stdlib.JSONEncodeFunc, "merge": stdlib.MergeFunc, "length": stdlib.LengthFunc},
	})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return value.AsString()
}

// TestRival7Names: what has a name has the stack's in it, so that two stacks live
// side by side in one region.
func TestRival7Names(t *testing.T) {
	named := []string{
		"aws_cloudwatch_event_rule", "aws_sqs_queue", "aws_ecs_cluster", "aws_ecs_service", "aws_iam_role", "aws_iam_policy", "aws_cloudwatch_log_group",
		"aws_security_group", "aws_sns_topic", "aws_codepipeline", "aws_codebuild_project", "aws_budgets_budget", "aws_ecr_repository", "aws_kms_alias",
		"aws_scheduler_schedule", "aws_cloudwatch_metric_alarm", "aws_cloudwatch_dashboard",
	}
	for _, module := range submodules(t) {
		m := readModule(t, filepath.Join(moduleDir, "modules", module))
		for _, block := range m.ofType("resource", "") {
			if !slices.Contains(named, block.Labels[0]) {
				continue
			}
			for _, attribute := range []string{"name", "name_prefix", "alarm_name", "dashboard_name"} {
				given, ok := block.Body.Attributes[attribute]
				if !ok {
					continue
				}
				if value, diags := given.Expr.Value(nil); !diags.HasErrors() {
					t.Errorf("modules/%s: %s is always called %q", module, strings.Join(block.Labels, "."), value.AsString())
				}
			}
		}
	}
}

// TestRival8CloudURL: no file of the module sends anybody to Prefect Cloud who named
// an address of his own.
func TestRival8CloudURL(t *testing.T) {
	for name, source := range sources(t) {
		for line := range strings.SplitSeq(source, "\n") {
			if strings.Contains(line, "api.prefect.cloud") && !overridable(line) && !strings.Contains(line, "description") {
				t.Errorf("%s: %s", name, strings.TrimSpace(line))
			}
		}
	}
}

// overridable tells the lines in which the URL is the last choice: after the input,
// and, for Prefect's own worker, after the variable that the input becomes.
func overridable(line string) bool {
	return strings.Contains(line, "coalesce(var.prefect_api_url") || strings.Contains(line, "{PREFECT_CLOUD_API_URL:-")
}

// sources are the .tf files of the root and the submodules, by name.
func sources(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.tf", "modules/*/*.tf"} {
		names, err := filepath.Glob(filepath.Join(moduleDir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(data)
		}
	}
	return all
}
