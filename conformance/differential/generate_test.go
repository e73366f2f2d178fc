//go:build conformance

package differential

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
)

// The generated cases are the same ones every time, unless others are asked for.
var (
	generated = flag.Int("generated", 200, "number of generated cases")
	seed      = flag.Uint64("seed", 20261123, "seed of the generated cases")
)

// generator draws cases. What it draws is mostly what a user could have meant.
type generator struct{ *rand.Rand }

// generateCases draws n cases.
func generateCases(n int) []testCase {
	cases := make([]testCase, n)
	for i := range cases {
		// A stream of its own for each, so that one case can be changed, or run
		// alone, without the others changing.
		g := generator{rand.New(rand.NewPCG(*seed, uint64(i)))}
		cases[i] = g.draw(fmt.Sprintf("generated %03d", i))
	}
	return cases
}

// vars are job variables, in the order in which they were drawn.
type vars struct{ names, values []string }

func (v *vars) set(name, value string) {
	v.names, v.values = append(v.names, name), append(v.values, value)
}

func (v *vars) String() string {
	pairs := make([]string, len(v.names))
	for i, name := range v.names {
		pairs[i] = text(name) + ": " + v.values[i]
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}

// text is a string as JSON.
func text(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings can be written
	}
	return string(data)
}

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) draw(name string) testCase {
	c := testCase{name: name, generated: true, adhoc: g.chance(15)}
	c.template = pick(g, oldShapes...)
	if g.chance(60) {
		c.template = "" // prefect-aws's own
	}
	c.flow, c.deploymentName, c.runName = g.name(), g.name(), g.name()
	if g.chance(20) {
		c.pool = pick(g, "p", "ecs_pool", "Pool-2", "0")
	}
	c.variables = map[string]string{"shared": pick(g, `"text"`, `{"a": [1, null]}`, `7`, `true`), "image": `"flows:9"`}
	c.blocks = map[string]string{"secret/token": `{"value": ` + text(g.odd()) + `}`}
	if g.chance(20) {
		c.env = pick(g, map[string]string{"PREFECT_API_KEY": "pnu_" + strings.Repeat("x", 20)}, map[string]string{"PREFECT_LOGGING_LEVEL": "WARNING", "PREFECT_WORKER_QUERY_SECONDS": "3.5"})
	}
	deployment, run := &vars{}, &vars{}
	for _, group := range []func(*vars){g.sizes, g.placement, g.network, g.logs, g.looks, g.strings} {
		if g.chance(45) {
			group(pick(g, deployment, run))
		}
	}
	for _, v := range []*vars{deployment, run} {
		if g.chance(60) {
			v.set("env", g.env())
		}
		if g.chance(40) {
			v.set("labels", g.labels())
		}
		if g.chance(20) {
			v.set("env."+pick(g, "DOTTED", "A", "Z"), g.scalar())
		}
	}
	c.deployment, c.run = deployment.String(), run.String()
	return c
}

func (g generator) sizes(v *vars) {
	pair := pick(g, [2]string{"256", "512"}, [2]string{"512", "1024"}, [2]string{"1024", "2048"}, [2]string{"4096", "16384"})
	v.set("cpu", pair[0])
	v.set("memory", pair[1])
}

func (g generator) placement(v *vars) {
	switch g.IntN(6) {
	case 0:
		v.set("launch_type", `"FARGATE_SPOT"`)
	case 1:
		v.set("launch_type", `"EC2"`)
	case 2:
		v.set("capacity_provider_strategy", `[{"capacityProvider": "FARGATE_SPOT", "weight": 3, "base": 1}, {"capacityProvider": "FARGATE", "weight": 1, "base": 0}]`)
	case 3:
		v.set("cluster", pick(g, `"blue"`, `"default"`, `"arn:aws:ecs:eu-central-1:123456789012:cluster/blue"`))
	case 4:
		v.set("task_role_arn", `"arn:aws:iam::123456789012:role/task"`)
	default:
		v.set("launch_type", `"FARGATE"`)
	}
}

func (g generator) network(v *vars) {
	switch g.IntN(3) {
	case 0:
		v.set("vpc_id", pick(g, `"vpc-1"`, `"vpc-2"`))
	case 1:
		v.set("vpc_id", `"vpc-1"`)
		v.set("network_configuration", pick(g, `{"subnets": ["subnet-a", "subnet-b"], "assignPublicIp": "ENABLED"}`, `{"securityGroups": ["sg-1", "sg-0"], "subnets": ["subnet-b"]}`))
	default:
		v.set("network_configuration", `{}`)
	}
}

func (g generator) logs(v *vars) {
	v.set("configure_cloudwatch_logs", pick(g, "true", "true", "true", `"yes"`, "1"))
	v.set("execution_role_arn", `"arn:aws:iam::123456789012:role/exec"`)
	if g.chance(50) {
		v.set("cloudwatch_logs_prefix", text(g.odd()))
	}
	if g.chance(50) {
		v.set("cloudwatch_logs_options", pick(g, `{}`, `{"awslogs-group": "/flows", "mode": "non-blocking"}`, `{"awslogs-create-group": "false", "awslogs-region": "us-east-1"}`))
	}
	if g.chance(40) {
		v.set(pick(g, "prefect_api_key_secret_arn", "prefect_api_auth_string_secret_arn"), `"arn:aws:secretsmanager:eu-central-1:123456789012:secret:s"`)
	}
}

func (g generator) looks(v *vars) {
	v.set("image", pick(g, `"flows:latest"`, `"registry.example:5000/a/b@sha256:00"`, `"{{ prefect.variables.image }}"`))
	if g.chance(40) {
		v.set("family", pick(g, `"flows"`, `"Flows_2-x"`))
	}
	if g.chance(30) {
		v.set("container_name", pick(g, `"prefect"`, `"flow"`, `null`))
	}
	if g.chance(30) {
		v.set(pick(g, "auto_deregister_task_definition", "match_latest_revision_in_family"), pick(g, "true", "false"))
	}
}

func (g generator) strings(v *vars) {
	v.set("command", text(pick(g, "prefect flow-run execute", `sh -c "echo 'a b' \\; exec x"`, `a\ b "c\"d" 'e\f' g\\h`, "  padded\tout  ", "x '' \"\"", "ü 🦊")))
	if g.chance(30) {
		v.set("name", text(g.odd()))
	}
	if g.chance(30) {
		v.set("nobody_knows_me", g.scalar())
	}
}

func (g generator) env() string {
	env := &vars{}
	for range g.IntN(6) {
		name := pick(g, "A", "B", "Z", "PATH", "PREFECT_LOGGING_LEVEL", "PREFECT__FLOW_NAME", "lower", "ÜMLAUT", "with space")
		known := false
		for _, other := range env.names {
			known = known || other == name
		}
		if !known {
			env.set(name, g.scalar())
		}
	}
	return env.String()
}

func (g generator) scalar() string {
	switch g.IntN(12) {
	case 0:
		return pick(g, "0", "-1", "7", "9007199254740993", "18446744073709551616")
	case 1:
		return pick(g, "1.0", "0.1", "-0.0", "1e16", "123456789.125", "1e-5", "0.0001")
	case 2:
		return pick(g, "true", "false")
	case 3:
		return "null"
	case 4:
		return pick(g, `[1, "a'b", null, [true]]`, `{"k": "v", "n": {"x": 1.5}}`, `[]`, `{}`)
	case 5:
		return pick(g, `"{{ prefect.blocks.secret.token }}"`, `"<{{ prefect.blocks.secret.token }}>"`, `"{{ prefect.variables.shared }}"`, `"v={{ prefect.variables.shared }}"`, `"{{ prefect.variables.missing }}"`)
	default:
		return text(g.odd())
	}
}

func (g generator) labels() string {
	labels := &vars{}
	for i := range g.IntN(4) {
		labels.set(fmt.Sprintf("%s%d", pick(g, "team", "my key ", "a,", "ß-", "(x)"), i), text(g.odd()))
	}
	return labels.String()
}

// pieces are what odd texts are made of.
var pieces = []string{
	"a", "B", "7", " ", "-", "_", ".", "'", `"`, "`", `\`, "$", "%", "#", "=", "+", "@", ":", "(", "]", "{", "}}", "🦊", "👩‍👩‍👧", "é", "e\u0301", "ß", "Ω", "ﬁ", "½", "２", "日本", "שלום",
	"\u200d", "\u00a0", "\u2028", "1,234", "flow", "true", "None", "{{ x }}", "$HOME", "%s", "null", "&amp;", "&#65;", "<b>", "a/b",
}

// odd is a text that is hard to get right.
func (g generator) odd() string {
	if g.chance(25) {
		return pick(g, "plain", "two words", "2026-11-23", strings.Repeat("é", 120), "it's \"quoted\"", "tab\tnew\nline", "")
	}
	var b strings.Builder
	for range 1 + g.IntN(8) {
		b.WriteString(pick(g, pieces...))
	}
	return b.String()
}

// name is a name that the server takes: it refuses / % & < >, and an empty one.
func (g generator) name() string {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("/%&<>", r) {
			return '_'
		}
		return r
	}, g.odd())
	return or(name, "n")
}

// oldShapes are templates of pools that were made by older versions, or by hand.
var oldShapes = []string{
	templateWith(),
	templateWith(`"task_run_request": {"launchType": "{{ launch_type }}", "cluster": "{{ cluster }}", "overrides": {"containerOverrides": [{"name": "{{ container_name }}", "command": "{{ command }}", "environment": "{{ env }}"}], "taskRoleArn": "{{ task_role_arn }}"}, "tags": "{{ labels }}"}`),
	templateWith(`"env": {"FIXED": "1", "A": "template"}`, `"configure_cloudwatch_logs": "{{ configure_cloudwatch_logs }}"`, `"cloudwatch_logs_prefix": "{{ cloudwatch_logs_prefix }}"`),
	templateWith(`"task_definition": {"family": "{{ family }}", "cpu": "{{ cpu }}", "memory": "{{ memory }}", "executionRoleArn": "{{ execution_role_arn }}", "volumes": [{"name": "scratch", "host": {}}], "containerDefinitions": [{"name": "prefect", "image": "{{ image }}", "environment": [{"name": "OWN", "value": "1"}], "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/s"}]}, {"name": "side", "image": "s", "essential": false, "memory": 64}]}`),
	templateWith(`"task_run_request": {"launchType": "{{ launch_type }}", "startedBy": "me", "propagateTags": "TASK_DEFINITION", "tags": [{"key": "fixed", "value": "1"}], "overrides": {"containerOverrides": [{"name": "{{ container_name }}", "environment": [{"name": "OWN", "value": "1"}]}]}}`),
}
