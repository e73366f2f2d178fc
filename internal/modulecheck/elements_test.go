//go:build integration

package modulecheck

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
)

// An element is something that the report of somebody who set all of this up by
// hand names, and what in the plan of examples/complete makes it.
type element struct {
	name  string
	types []string // kinds of resources
	only  string   // a regular expression for their addresses; "" takes all of them
	// note says more of what was found, and fails when it is not what it should be.
	note func(found []*tfjson.ResourceChange) (string, error)
}

var elements = []element{
	{name: "VPC", types: []string{"aws_vpc"}},
	{name: "Public subnets", types: []string{"aws_subnet"}, only: `\.public`, note: zones},
	{name: "Private subnets", types: []string{"aws_subnet"}, only: `\.private`, note: zones},
	{name: "NAT gateway", types: []string{"aws_nat_gateway", "aws_eip"}},
	{name: "Routes", types: []string{"aws_route_table", "aws_route", "aws_route_table_association"}},
	{name: "Security groups", types: []string{"aws_security_group", "aws_vpc_security_group_egress_rule", "aws_default_security_group"}, note: egressOnly},
	{name: "IAM roles with trust policy", types: []string{"aws_iam_role"}, note: trust},
	{name: "Policies of the roles", types: []string{"aws_iam_role_policy", "aws_iam_role_policy_attachment"}},
	{name: "Secret with three keys", types: []string{"aws_secretsmanager_secret"}, note: threeKeys},
	{name: "Secret policy", types: []string{"aws_secretsmanager_secret_policy"}},
	{name: "ECS cluster", types: []string{"aws_ecs_cluster"}},
	{name: "Task definition with its environment and secrets", types: []string{"aws_ecs_task_definition"}, only: `module\.service\.`},
	{name: "Service", types: []string{"aws_ecs_service"}},
	{name: "Auto-scaling on CPU", types: []string{"aws_appautoscaling_target", "aws_appautoscaling_policy"}, only: `target|cpu`, note: predefined("ECSServiceAverageCPUUtilization")},
	{name: "Auto-scaling on memory", types: []string{"aws_appautoscaling_target", "aws_appautoscaling_policy"}, only: `target|memory`, note: predefined("ECSServiceAverageMemoryUtilization")},
	{name: "CloudWatch logs", types: []string{"aws_cloudwatch_log_group"}, note: retention},
	{name: "Dashboard", types: []string{"aws_cloudwatch_dashboard"}},
	{name: "Alarms", types: []string{"aws_cloudwatch_metric_alarm", "aws_sns_topic", "aws_sns_topic_subscription"}},
	{name: "CodePipeline", types: []string{"aws_codepipeline", "aws_codebuild_project"}},
	{name: "AWS Budgets", types: []string{"aws_budgets_budget"}, note: limit},
	{name: "Spot", types: []string{"aws_ecs_cluster_capacity_providers"}, note: spot},
	{name: "Task events", types: []string{"aws_cloudwatch_event_rule", "aws_sqs_queue"}, only: `module\.events`},
}

// TestElements writes docs/terraform.md from the plan of examples/complete: each
// element of the report with the addresses of what makes it. An element without an
// address fails, as does a page that the plan no longer agrees with.
func TestElements(t *testing.T) {
	_, plan := planComplete(t)
	var out strings.Builder
	out.WriteString("| Element | Resources in the plan | |\n|---|---|---|\n")
	for _, e := range elements {
		found := e.find(plan)
		if len(found) == 0 {
			t.Errorf("%s: the plan of examples/complete makes none of %s", e.name, strings.Join(e.types, ", "))
			continue
		}
		note := ""
		if e.note != nil {
			var err error
			if note, err = e.note(found); err != nil {
				t.Errorf("%s: %v", e.name, err)
			}
		}
		fmt.Fprintf(&out, "| %s | %s | %s |\n", e.name, strings.Join(addresses(found), "<br>"), cell(note))
	}
	fmt.Fprintf(&out, "\nAll in all the plan makes %d resources of %d kinds.\n", len(created(plan)), len(kinds(plan)))
	section(t, filepath.Join("..", "..", "docs", "terraform.md"), "ELEMENTS", out.String())
}

func created(plan *tfjson.Plan) []*tfjson.ResourceChange {
	return slices.DeleteFunc(slices.Clone(plan.ResourceChanges), func(c *tfjson.ResourceChange) bool {
		return c.Mode != tfjson.ManagedResourceMode || !c.Change.Actions.Create()
	})
}

func kinds(plan *tfjson.Plan) []string {
	var names []string
	for _, c := range created(plan) {
		names = append(names, c.Type)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (e element) find(plan *tfjson.Plan) []*tfjson.ResourceChange {
	only := regexp.MustCompile(e.only)
	var found []*tfjson.ResourceChange
	for _, typ := range e.types {
		for _, c := range created(plan) {
			if c.Type == typ && only.MatchString(c.Address) {
				found = append(found, c)
			}
		}
	}
	return found
}

var index = regexp.MustCompile(`\[[^]]*\]$`)

// addresses are those of the plan, with what differs in the last index alone on one line.
func addresses(found []*tfjson.ResourceChange) []string {
	var names []string
	indexes := map[string][]string{}
	for _, c := range found {
		address := strings.TrimPrefix(c.Address, "module.faber.")
		name := index.ReplaceAllString(address, "")
		if _, ok := indexes[name]; !ok {
			names = append(names, name)
			indexes[name] = nil
		}
		if last := index.FindString(address); last != "" {
			indexes[name] = append(indexes[name], strings.Trim(last, "[]"))
		}
	}
	for i, name := range names {
		switch list := indexes[name]; {
		case len(list) == 0:
			names[i] = "`" + name + "`"
		default:
			names[i] = "`" + name + "[" + strings.Join(list, ", ") + "]`"
		}
	}
	return names
}

// planned is the value of an attribute as far as it is known before the apply.
func planned(c *tfjson.ResourceChange, name string) any {
	after, _ := c.Change.After.(map[string]any)
	return after[name]
}

func textOf(c *tfjson.ResourceChange, name string) string {
	value, _ := planned(c, name).(string)
	return value
}

func zones(found []*tfjson.ResourceChange) (string, error) {
	var names []string
	for _, c := range found {
		names = append(names, textOf(c, "availability_zone"))
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) < 2 {
		return "", fmt.Errorf("only in the zones %v", names)
	}
	return "in " + strings.Join(names, ", "), nil
}

func egressOnly(found []*tfjson.ResourceChange) (string, error) {
	for _, c := range found {
		if rules, ok := planned(c, "ingress").([]any); ok && len(rules) > 0 {
			return "", fmt.Errorf("%s lets somebody in", c.Address)
		}
	}
	return "no rule lets anybody in", nil
}

func trust(found []*tfjson.ResourceChange) (string, error) {
	var trusted []string
	for _, c := range found {
		var policy struct {
			Statement []struct {
				Principal map[string]any
				Condition map[string]any
			}
		}
		if err := json.Unmarshal([]byte(textOf(c, "assume_role_policy")), &policy); err != nil {
			return "", fmt.Errorf("%s: its trust policy is not known at plan: %w", c.Address, err)
		}
		if len(policy.Statement) == 0 {
			return "", fmt.Errorf("%s: its trust policy has no statement", c.Address)
		}
		for _, statement := range policy.Statement {
			if len(statement.Condition) == 0 {
				return "", fmt.Errorf("%s is trusted without a condition", c.Address)
			}
			trusted = append(trusted, fmt.Sprint(statement.Principal["Service"]))
		}
	}
	slices.Sort(trusted)
	return "they trust " + strings.Join(slices.Compact(trusted), ", "), nil
}

// threeKeys looks for the keys where people look for them; that the worker gets
// each by its name is held by tests/service.tftest.hcl.
func threeKeys(found []*tfjson.ResourceChange) (string, error) {
	for _, name := range []string{"PREFECT_API_KEY", "PREFECT_ACCOUNT_ID", "PREFECT_WORKSPACE_ID"} {
		if !strings.Contains(textOf(found[0], "description"), name) {
			return "", fmt.Errorf("%s says nothing of %s", found[0].Address, name)
		}
	}
	return textOf(found[0], "description"), nil
}

func predefined(metric string) func([]*tfjson.ResourceChange) (string, error) {
	return func(found []*tfjson.ResourceChange) (string, error) {
		for _, c := range found {
			encoded, _ := json.Marshal(planned(c, "target_tracking_scaling_policy_configuration"))
			if strings.Contains(string(encoded), metric) {
				return "target tracking on " + metric, nil
			}
		}
		return "", fmt.Errorf("no policy tracks %s", metric)
	}
}

func retention(found []*tfjson.ResourceChange) (string, error) {
	for _, c := range found {
		if days, _ := planned(c, "retention_in_days").(float64); days <= 0 {
			return "", fmt.Errorf("%s keeps everything for ever", c.Address)
		}
	}
	return "each with a retention", nil
}

func limit(found []*tfjson.ResourceChange) (string, error) {
	amount := cmp.Or(textOf(found[0], "limit_amount"), "0")
	if amount == "0" {
		return "", fmt.Errorf("%s has no limit", found[0].Address)
	}
	return amount + " " + textOf(found[0], "limit_unit") + " " + strings.ToLower(textOf(found[0], "time_unit")), nil
}

func spot(found []*tfjson.ResourceChange) (string, error) {
	encoded, _ := json.Marshal(planned(found[0], "capacity_providers"))
	if !strings.Contains(string(encoded), "FARGATE_SPOT") {
		return "", fmt.Errorf("%s does not know FARGATE_SPOT", found[0].Address)
	}
	return "`capacity_provider_strategy` and `flow_run_capacity_provider_strategy` choose it", nil
}
