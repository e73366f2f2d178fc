package modulecheck

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"faber/internal/cloudwatch"
)

// A unit is a price of AWS in us-east-1, and where it was read. The pages are
// third parties' unless they are AWS's own: AWS's price list needs an account.
type unit struct {
	name   string
	usd    float64
	per    string
	source string
}

var (
	vcpu         = unit{"Fargate, vCPU, x86", 0.04048, "hour", "vantage.sh, cloudburn.io/blog/aws-fargate-pricing (2026-04)"}
	gigabyte     = unit{"Fargate, GB, x86", 0.004445, "hour", "the same"}
	vcpuARM      = unit{"Fargate, vCPU, ARM", 0.03238, "hour", "the same"}
	gigabyteARM  = unit{"Fargate, GB, ARM", 0.00356, "hour", "the same"}
	nat          = unit{"NAT gateway", 0.045, "hour", "zacfukuda.com (2026-06); and as much again per GB"}
	address      = unit{"public IPv4 address", 0.005, "hour", "charged since 2024-02, in use or not (nwobodo.me, 2024-06)"}
	endpoint     = unit{"interface endpoint, in one zone", 0.01, "hour", "zacfukuda.com (2026-06); and as much again per GB"}
	secret       = unit{"secret", 0.40, "month", "prepfast.in/topics/aws/kms-secrets"}
	key          = unit{"customer managed key", 1.00, "month", "cloudburn.io/blog/aws-kms-pricing (2026-03); each of the first two yearly rotations adds as much"}
	alarmUnit    = unit{"alarm on one metric", 0.10, "month", "AWS, cloudwatch/pricing, standard resolution; ten are free in an account"}
	dashboard    = unit{"dashboard", 3.00, "month", "factualminds.com/blog/amazon-cloudwatch-pricing (2026-06); three of up to 50 metrics are free in an account"}
	metricUnit   = unit{"custom metric", 0.30, "month", "AWS, cloudwatch/pricing, the first 10,000; ten are free in an account"}
	deepMetric   = unit{"metric of enhanced Container Insights", 0.07, "month", "fortem.dev/blog/ecs-fargate-monitoring (2026)"}
	putMetric    = unit{"1,000 calls of PutMetricData", 0.01, "", "AWS, cloudwatch/pricing; a million calls are free in an account"}
	invocation   = unit{"1,000,000 invocations of EventBridge Scheduler", 1.00, "", "cloudburn.io/blog/amazon-eventbridge-pricing (2026-03); 14 million are free"}
	buildMinute  = unit{"CodeBuild, general1.small", 0.005, "minute", "kindatechnical.com; 100 minutes are free"}
	actionMinute = unit{"CodePipeline V2, action but approvals", 0.002, "minute", "AWS, codepipeline/pricing; 100 minutes are free"}
	budget       = unit{"budget without actions", 0, "month", "docs.aws.amazon.com/cost-management; one page of AWS's still says 0.02 a day from the third on"}
	logs         = unit{"GB of logs taken in", 0.50, "", "factualminds.com (2026-06)"}
)

var units = []unit{
	vcpu, gigabyte, vcpuARM, gigabyteARM, nat, address, endpoint, secret, key, alarmUnit, dashboard, metricUnit, deepMetric, putMetric,
	invocation, buildMinute, actionMinute, budget, logs,
}

// hours is how many AWS counts in a month.
const hours = 730

// A price is one line of the table: what a switch adds to the bill of a month.
type price struct {
	what, input string
	usd         float64
	how         string
}

// TestPrices writes the table of monthly prices. What is counted (endpoints,
// alarms, metrics, the sizes of tasks) is read from the module, so that the table
// goes stale with it and this test fails.
func TestPrices(t *testing.T) {
	var out strings.Builder
	out.WriteString("| What | Input | USD a month | How it is counted |\n|---|---|---|---|\n")
	for _, p := range prices(t) {
		fmt.Fprintf(&out, "| %s | %s | %.2f | %s |\n", p.what, p.input, p.usd, p.how)
	}
	out.WriteString("\n| Unit | USD | Read from |\n|---|---|---|\n")
	for _, u := range units {
		per := ""
		if u.per != "" {
			per = " a " + u.per
		}
		fmt.Fprintf(&out, "| %s | %s%s | %s |\n", u.name, strings.TrimRight(fmt.Sprintf("%.6f", u.usd), "0"), per, u.source)
	}
	section(t, filepath.Join(moduleDir, "README.md"), "PRICES", strings.ReplaceAll(out.String(), "| 0.|", "| 0 |"))
}

func prices(t *testing.T) []price {
	t.Helper()
	m := moduleNumbers{t, readModule(t, moduleDir)}
	cpu, memory := m.number("cpu")/1024, m.number("memory")/1024
	x86 := hours * (cpu*vcpu.usd + memory*gigabyte.usd)
	arm := hours * (cpu*vcpuARM.usd + memory*gigabyteARM.usd)
	size := fmt.Sprintf("%g vCPU and %g GB", cpu, memory)

	zones := m.number("az_count")
	oneNAT := hours * (nat.usd + address.usd)
	endpoints := endpointCount(t)

	alarms := m.attributes("observability", "worker_alarms") + m.attributes("observability", "pool_alarms") + m.attributes("observability", "queue_alarms")
	metrics := float64(len(cloudwatch.Metrics()))

	tick := m.number("tick_interval_minutes")
	ticks := hours * 60 / tick
	// Fargate charges at least a minute, and a tick takes seconds.
	tickRate := cpu*vcpu.usd + memory*gigabyte.usd
	tickUSD := ticks/60*tickRate + ticks/1e6*invocation.usd

	const runs, runMinutes, drift, driftMinutes = 20, 12, 30, 4
	build := float64(runs*runMinutes + drift*driftMinutes)

	// AWS's own pricing page counts 8 metrics per cluster, 11 per service and 6 per
	// task family for ECS.
	insights := 8.0 + 11 + 6*2
	deep := insights + 6*2 // per task and container on top: at least as many as per family

	return []price{
		{"Worker, always on, x86", "the defaults", x86, size + " of Fargate"},
		{"Worker, always on, ARM", "`cpu_architecture = \"ARM64\"`", arm, "the same size"},
		{"Secret", "`create_secret`", secret.usd, "one secret"},
		{"Network: no way out", "`nat_mode = \"none\"`", 0, "subnets and routes are free"},
		{"Network: interface endpoints", "`enable_vpc_endpoints`", endpoints * zones * hours * endpoint.usd, fmt.Sprintf("%g endpoints in %g zones; the gateway endpoint for S3 is free", endpoints, zones)},
		{"Network: one NAT gateway", "`nat_mode = \"single\"`", oneNAT, "gateway and address, without data"},
		{"Network: NAT per zone, 2 zones", "`nat_mode = \"per_az\"`", 2 * oneNAT, "twice that"},
		{"Network: NAT per zone, 3 zones", "`nat_mode = \"per_az\"`, `az_count = 3`", 3 * oneNAT, "three times that"},
		{"Flow logs", "`enable_flow_logs`", logs.usd, "for each GB that they write, which is what your traffic makes of it"},
		{"Task events", "`enable_task_events`", 0, "events of AWS's own and the first million requests to SQS are free"},
		{"Alarms", "`create_alarms`", alarms * alarmUnit.usd, fmt.Sprintf("%g alarms; e-mails are free up to 1,000", alarms)},
		{"Dashboard", "`create_dashboard`", dashboard.usd, "one dashboard"},
		{"Custom metrics as log lines", "`metrics_transport = \"emf\"`", metrics * metricUnit.usd, fmt.Sprintf("%g metrics; the lines themselves are some 30 MB", metrics)},
		{"Custom metrics by API", "`metrics_transport = \"put_metric_data\"`", metrics*metricUnit.usd + hours*60/1000*putMetric.usd, fmt.Sprintf("%g metrics, one call a minute", metrics)},
		{"Container Insights", "`container_insights = \"enabled\"`", insights * metricUnit.usd, fmt.Sprintf("%g metrics: cluster, one service, two task families; 6 for each further family, which is each deployment", insights)},
		{"Container Insights, enhanced", "`container_insights = \"enhanced\"`", deep * deepMetric.usd, fmt.Sprintf("%g metrics as above with their tasks and containers, at the lower price", deep)},
		{"Customer managed key", "`create_kms_key`", key.usd, "one key, without requests"},
		{"Auto-scaling", "`enable_autoscaling`", 3 * 2 * alarmUnit.usd, "two alarms that AWS makes for each of CPU, memory and backlog"},
		{"Scale to zero: the tick", "`scale_to_zero`", tickUSD, fmt.Sprintf("a minute of %s every %s, the least that Fargate charges", size, minutes(tick))},
		{"The same, every minute", "`tick_interval_minutes = 1`", tickUSD * tick, fmt.Sprintf("%g times as often, and as much as the smallest worker", tick)},
		{"Pipeline", "`create_pipeline`", build * (buildMinute.usd + actionMinute.usd), fmt.Sprintf("%d runs of %d minutes and %d drift checks of %d", runs, runMinutes, drift, driftMinutes)},
		{"Budget", "`budget_limit_usd`", budget.usd, "without actions"},
	}
}

// endpointCount is how many interface endpoints a stack with everything needs.
func endpointCount(t *testing.T) float64 {
	t.Helper()
	return moduleNumbers{t, readModule(t, filepath.Join(moduleDir, "modules", "network"))}.length("vpc_endpoints")
}

// TestNetworkPrices writes the same for the network module, by the number of zones.
func TestNetworkPrices(t *testing.T) {
	endpoints := endpointCount(t)
	one := hours * (nat.usd + address.usd)
	rows := []struct {
		what    string
		monthly func(zones float64) float64
		perGB   string
	}{
		{"`nat_mode = \"single\"`", func(float64) float64 { return one }, fmt.Sprint(nat.usd)},
		{"`nat_mode = \"per_az\"`", func(zones float64) float64 { return zones * one }, fmt.Sprint(nat.usd)},
		{fmt.Sprintf("`nat_mode = \"none\"`, %g endpoints (all but secretsmanager)", endpoints-1), func(zones float64) float64 { return zones * (endpoints - 1) * hours * endpoint.usd }, fmt.Sprint(endpoint.usd)},
		{fmt.Sprintf("`nat_mode = \"none\"`, %g endpoints (with secretsmanager)", endpoints), func(zones float64) float64 { return zones * endpoints * hours * endpoint.usd }, fmt.Sprint(endpoint.usd)},
		{"each further endpoint", func(zones float64) float64 { return zones * hours * endpoint.usd }, fmt.Sprint(endpoint.usd)},
		{"gateway endpoint for S3", func(float64) float64 { return 0 }, "0"},
		{"existing VPC, nothing made in it", func(float64) float64 { return 0 }, "–"},
	}
	var out strings.Builder
	out.WriteString("| Network | 1 zone | 2 zones | 3 zones | Each GB |\n|---|---|---|---|---|\n")
	for _, row := range rows {
		fmt.Fprintf(&out, "| %s | %.2f | %.2f | %.2f | %s |\n", row.what, row.monthly(1), row.monthly(2), row.monthly(3), row.perGB)
	}
	fmt.Fprintf(&out, "| flow logs | – | – | – | %.2f of log (CloudWatch's price for vended logs; depends on traffic) |\n", logs.usd)
	section(t, filepath.Join(moduleDir, "modules", "network", "README.md"), "PRICES", out.String())
}

func minutes(n float64) string {
	if n == 1 {
		return "minute"
	}
	return fmt.Sprintf("%g minutes", n)
}

// moduleNumbers reads from the module what is counted.
type moduleNumbers struct {
	t    *testing.T
	root moduleFiles
}

func (m moduleNumbers) fallback(name string) hclsyntax.Expression {
	m.t.Helper()
	for _, block := range m.root.ofType("variable", name) {
		if attribute, ok := block.Body.Attributes["default"]; ok {
			return attribute.Expr
		}
	}
	m.t.Fatalf("the root has no variable %s with a default: the prices need it", name)
	return nil
}

// number is the default of a variable of the root.
func (m moduleNumbers) number(name string) float64 {
	m.t.Helper()
	value, diags := m.fallback(name).Value(nil)
	if diags.HasErrors() {
		m.t.Fatal(diags)
	}
	number, _ := value.AsBigFloat().Float64()
	return number
}

// length is how many elements the default of a variable of the root has.
func (m moduleNumbers) length(name string) float64 {
	m.t.Helper()
	value, diags := m.fallback(name).Value(nil)
	if diags.HasErrors() {
		m.t.Fatal(diags)
	}
	return float64(value.LengthInt())
}

// attributes is how many attributes a local object of a submodule has.
func (m moduleNumbers) attributes(module, name string) float64 {
	m.t.Helper()
	for _, block := range readModule(m.t, filepath.Join(moduleDir, "modules", module)).ofType("locals", "") {
		attribute, ok := block.Body.Attributes[name]
		if !ok {
			continue
		}
		items, diags := hcl.ExprMap(attribute.Expr)
		if diags.HasErrors() {
			m.t.Fatal(diags)
		}
		return float64(len(items))
	}
	m.t.Fatalf("modules/%s has no local value %s: the prices need it", module, name)
	return 0
}

// TestPricesAddUp holds the arithmetic to numbers worked out by hand, so that a
// changed unit or formula is noticed.
func TestPricesAddUp(t *testing.T) {
	for _, test := range []struct {
		got, want float64
		what      string
	}{
		{hours * (0.25*vcpu.usd + 0.5*gigabyte.usd), 9.01, "the smallest worker, x86"},
		{hours * (0.25*vcpuARM.usd + 0.5*gigabyteARM.usd), 7.21, "the smallest worker, ARM"},
		{hours * (nat.usd + address.usd), 36.50, "a NAT gateway with its address"},
		{6 * 2 * hours * endpoint.usd, 87.60, "six interface endpoints in two zones"},
	} {
		if math.Abs(test.got-test.want) > 0.005 {
			t.Errorf("%s costs %.3f, want %.2f", test.what, test.got, test.want)
		}
	}

	// What the README says in words.
	usd := map[string]float64{}
	for _, p := range prices(t) {
		usd[p.what] = p.usd
	}
	if endpoints, nats := usd["Network: interface endpoints"], usd["Network: NAT per zone, 2 zones"]; endpoints <= nats {
		t.Errorf("interface endpoints cost %.2f and a NAT gateway per zone %.2f: the README says otherwise", endpoints, nats)
	}
	worker := usd["Worker, always on, x86"]
	if tick := usd["The same, every minute"]; tick < worker {
		t.Errorf("a tick each minute costs %.2f and a worker %.2f: the README says that nothing is saved", tick, worker)
	}
	if tick := usd["Scale to zero: the tick"]; tick > worker/4 {
		t.Errorf("a tick costs %.2f by default and a worker %.2f: scaling to zero would hardly pay", tick, worker)
	}
}
