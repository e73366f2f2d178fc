package jobtemplate

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// generator draws cases for the comparison with Prefect. The same seed draws the
// same cases. Objects are drawn in any order of their keys.
//
// One rule makes Prefect's answers certain (testdata/reference.py says why): only
// "$…" and "a" are referred to by values, and their own values never refer to
// what is filled in the same pass.
type generator struct {
	*rand.Rand

	used     map[string]bool // what the case uses
	mistake  string          // the mistake that the case is to have, "any" for several
	mistaken int             // how many it has
	names    []string        // variables that have a value somewhere
}

// genCase is one case, as both sides are given it.
type genCase struct {
	Template   json.RawMessage            `json:"template"`
	Deployment json.RawMessage            `json:"deployment"` // null: a run without deployment
	Run        json.RawMessage            `json:"run"`
	Blocks     map[string]json.RawMessage `json:"blocks"`
	Variables  map[string]json.RawMessage `json:"variables"`
	Flow       json.RawMessage            `json:"flow"`
	FlowRun    json.RawMessage            `json:"flow_run"`

	uses     []string
	mistakes int
}

// hostEnv is the worker's environment, as far as cases name it.
var hostEnv = map[string]string{
	"FABER_A": "host a", "FABER_EMPTY": "", "FABER_REF": "{{ prefect.variables.a }}", "FABER_É": "ünï", "FABER_D.x[0]": "dotted", "FABER_QUOTE": `it's "so"`,
}

// Blocks and variables that every case has. Those with several fields are in
// the order of their keys: a Source hands out Go's form.
var (
	genBlocks = map[string]json.RawMessage{
		"11111111-1111-4111-8111-111111111111": json.RawMessage(`{"aws_access_key_id":"AKIA","region_name":"eu-west-1","session":null}`),
		"22222222-2222-4222-8222-222222222222": json.RawMessage(`{"text":"{{ prefect.variables.z }} and {{ prefect.blocks.secret.a }}"}`),
		"secret/a":                             json.RawMessage(`{"value":"hush {{ prefect.variables.z }}"}`),
		"secret/s":                             json.RawMessage(`{"value":"s3cret"}`),
		"secret/nothing":                       json.RawMessage(`{"value":null}`),
		"secret/refers":                        json.RawMessage(`{"value":"<{{ prefect.blocks.secret.a }}>"}`),
		"json/j":                               json.RawMessage(`{"value":{"z":[1.0,{"k":"deep"}],"value":"inner","values":true,"a":1e3}}`),
		"json/list":                            json.RawMessage(`{"value":["x",["y"],-2]}`),
		"docker/d":                             json.RawMessage(`{"image":"repo/img","nested":{"y":[null],"x":0.10},"tag":"v1"}`),
		"docker/v":                             json.RawMessage(`{"other":["日本"],"value":"v"}`),
		"docker/größe":                         json.RawMessage(`{"n":12345678901234567890}`),
	}
	genVariables = map[string]json.RawMessage{
		"a": json.RawMessage(`"plain"`), "z": json.RawMessage(`"last"`), "refers": json.RawMessage(`"<{{ prefect.variables.a }}>"`),
		"number": json.RawMessage(`5`), "ratio": json.RawMessage(`2.50`), "object": json.RawMessage(`{"z":[true,null,"it's"],"a":1.0}`),
		"list": json.RawMessage(`["b","a"]`), "nothing": json.RawMessage(`null`), "yes": json.RawMessage(`true`),
	}
	genFlow    = json.RawMessage(`{"id":"33333333-3333-4333-8333-333333333333","created":"2026-11-23T05:28:40.343282Z","updated":"2026-11-23T05:28:40.343290Z","name":"my flow","tags":["z","a"],"labels":{"team":"data"}}`)
	genFlowRun = json.RawMessage(`{"id":"44444444-4444-4444-8444-444444444444","created":"2026-11-23T05:28:40.343282Z","updated":"2026-11-23T05:28:40.343290Z",
		"name":"amber-otter","flow_id":"33333333-3333-4333-8333-333333333333","state_id":"55555555-5555-4555-8555-555555555555",
		"deployment_id":"66666666-6666-4666-8666-666666666666","work_queue_name":"default","parameters":{"z":1.0,"n":[1,"it's",null],"date":"2026-11-23"},
		"idempotency_key":null,"context":{},"tags":["nightly","größe"],"labels":{"prefect.flow.id":"x"},"state_type":"SCHEDULED","state_name":"Scheduled","run_count":0,
		"expected_start_time":"2026-11-23T05:28:40.322155Z","auto_scheduled":false,"work_pool_name":"pool"}`)
)

func newGenerator(seed uint64, i int) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, uint64(i))), used: map[string]bool{}}
	switch n := g.IntN(100); {
	case n < 5:
		g.mistake = anyMistake
	case n < 40:
		g.mistake = pick(g, genMistakes...)
	}
	return g
}

func (g *generator) uses(what string) { g.used[what] = true }

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

// genMistakes are all that g.errs is asked for.
var genMistakes = []string{
	"$ref that is no object",
	"$ref to nothing",
	"block path to nowhere",
	"block that is missing",
	"block without a name",
	"dotted names in each other's way",
	"env default of a wrong type",
	"env of a wrong type",
	"labels of a wrong type",
	"malformed template",
	"object or list of a block in text",
	"property that is no object",
	"typed field of the template of a wrong type",
	"command of a wrong type",
	"name of a wrong type",
}

const anyMistake = "any"

// errs reports that something is to be wrong here, once as a rule.
func (g *generator) errs(what string) bool {
	switch {
	case g.mistake == what && g.chance(50):
		g.mistake = ""
	case g.mistake == anyMistake && g.chance(8):
	default:
		return false
	}
	g.uses("mistake: " + what)
	g.mistaken++
	return true
}

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// draw makes a whole case.
func (g *generator) draw() genCase {
	deployment, run, properties := g.layers()
	g.names = slices.Sorted(maps.Keys(g.known(deployment, run, properties)))
	template := newObject()
	if shipped := shippedTemplates(); g.chance(20) {
		template.set("job_configuration", g.shipped(pick(g, shipped...), deployment, run, properties))
	} else {
		template.set("job_configuration", g.configuration())
	}
	schema := newObject()
	if g.chance(97) {
		schema.set("type", "object")
		schema.set("properties", properties)
	}
	template.set("variables", schema)
	g.spoil(template, properties)
	c := genCase{
		Template: encode(template), Deployment: encode(deployment), Run: encode(run),
		Blocks: genBlocks, Variables: genVariables, Flow: genFlow, FlowRun: genFlowRun,
	}
	if g.chance(4) {
		g.uses("no deployment")
		c.Deployment = json.RawMessage("null")
		c.FlowRun = json.RawMessage(strings.Replace(string(genFlowRun), `"66666666-6666-4666-8666-666666666666"`, "null", 1))
	}
	c.uses, c.mistakes = slices.Sorted(maps.Keys(g.used)), g.mistaken
	return c
}

// shippedTemplates are the templates of faber's own types, by type.
func shippedTemplates() []string {
	return []string{"../ecs/base_job_template.json", "../process/template.json"}
}

// shipped takes the job_configuration of a template that faber ships, its
// variables into the schema, and draws values for some of them.
func (g *generator) shipped(file string, deployment, run, properties *object) any {
	g.uses("template of type " + filepath.Base(filepath.Dir(file)))
	text, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	document, err := read(text)
	if err != nil {
		panic(err)
	}
	template, _ := document.(*object)
	schema, _ := template.value("variables").(*object)
	own, _ := schema.value("properties").(*object)
	for name, property := range own.all() {
		if _, drawn := properties.get(name); !drawn {
			properties.set(name, property)
		}
		if slices.Contains([]string{"env", "labels", "command", "name"}, name) {
			continue
		}
		for _, layer := range []*object{deployment, run} {
			if g.chance(15) {
				layer.set(name, pick(g, g.value(name, 2), g.reference()))
			}
		}
	}
	return template.value("job_configuration")
}

func (g *generator) known(deployment, run, properties *object) map[string]bool {
	known := map[string]bool{}
	for _, layer := range []*object{deployment, run, properties} {
		for key := range layer.all() {
			known[splitPath(key)[0]] = true
		}
	}
	delete(known, "env")
	return known
}

// variableNames are ordinary and odd names of job variables.
var variableNames = []string{"a", "b", "cpu", "opts", "items", "größe", "日本", "x-y", "v_1", "Image", "$odd", "9lives", "7"}

// layers draws the job variables of a deployment and a run, and the schema's
// properties.
func (g *generator) layers() (deployment, run, properties *object) {
	deployment, run, properties = newObject(), newObject(), newObject()
	for _, name := range g.shuffled(variableNames) {
		if g.chance(35) {
			properties.set(name, g.property(g.value(name, 2)))
		}
		if g.chance(45) {
			deployment.set(name, g.value(name, 3))
		}
		if g.chance(25) {
			g.usesIf(deployment.value(name) != nil, "run over deployment")
			run.set(name, g.value(name, 3))
		}
	}
	g.typedVariables(deployment, run, properties)
	g.envVariables(deployment, run, properties)
	for _, layer := range []*object{deployment, run} {
		if g.chance(40) {
			g.dotted(layer)
		}
	}
	return g.reordered(deployment), g.reordered(run), g.reordered(properties)
}

func (g *generator) usesIf(condition bool, what string) {
	if condition {
		g.uses(what)
	}
}

func (g *generator) property(value any) *object {
	property := newObject()
	property.set("title", "Some title")
	if g.chance(85) {
		g.usesIf(value == nil, "schema default null")
		g.usesIf(value != nil, "schema default")
		property.set("default", value)
	}
	return property
}

// typedVariables draws command, name and labels, of their types as a rule.
func (g *generator) typedVariables(deployment, run, properties *object) {
	for _, layer := range []*object{deployment, run} {
		if g.chance(30) {
			layer.set("command", pick[any](g, "python -m x", "", nil, "run '{{ a }}'", "{{ prefect.variables.z }}"))
		}
		if g.chance(35) {
			layer.set("name", g.nameValue())
		}
		if g.chance(30) {
			layer.set("labels", g.labels(false))
		}
	}
	if g.chance(20) {
		properties.set("labels", g.property(g.labels(false)))
	}
	if g.chance(20) {
		properties.set("command", g.property("default command"))
	}
	for _, name := range []string{"command", "name"} {
		if g.errs(name + " of a wrong type") {
			pick(g, deployment, run).set(name, pick[any](g, json.Number("5"), true, []any{"x"}, newObject(), json.Number("1.5")))
		}
	}
	if g.errs("labels of a wrong type") {
		pick(g, deployment, run).set("labels", pick[any](g, nil, "text", []any{}, json.Number("1"), g.labels(true)))
	}
}

func (g *generator) nameValue() any {
	g.uses("name with ctx")
	return pick[any](g, "{{ ctx.flow.name }}", "{{ ctx.flow_run.name }}-{{ ctx.flow.tags[0] }}", "{{ ctx.flow_run.parameters }}", "{{ctx.flow_run.tags}}",
		"{{ ctx.no }}", "x{{ ctx.no.such }}y", "{{ ctx.flow_run.parameters.n[-1] }}", "{{ ctx.flow.labels }} {{ $FABER_A }}", "{{ ctx.flow_run.run_count }}", "", nil,
		"plain", "{{ ctx.flow_run.id }}/{{ ctx.flow_run.deployment_id }} {{ ctx.flow_run.expected_start_time }}", "{{ other }} {{ ctx.flow_run.parameters.date }}")
}

func (g *generator) labels(wrong bool) *object {
	labels := newObject()
	for _, key := range g.shuffled([]string{"team", "a.b", "größe", "Z"})[:g.IntN(4)] {
		labels.set(key, pick(g, "label", "", "{{ prefect.variables.z }}", "it's "+g.reading("labels"), "x"+g.reading("labels")))
	}
	if wrong {
		labels.set("wrong", pick[any](g, nil, json.Number("1"), false, []any{}))
	}
	return labels
}

var envNames = []string{"A", "B", "C", "D", "größe"}

func (g *generator) env(depth int) *object {
	env := newObject()
	for _, name := range g.shuffled(envNames)[:g.IntN(5)] {
		value := g.value("", depth)
		g.usesIf(value == nil, "env: null")
		if _, isText := value.(string); !isText && value != nil {
			g.uses("env: text of another type")
		}
		env.set(name, value)
	}
	return env
}

// envVariables draws env in every layer, now and then of another type that
// Python takes.
func (g *generator) envVariables(deployment, run, properties *object) {
	if g.chance(45) {
		g.uses("env: default")
		properties.set("env", g.property(pick[any](g, g.env(1), g.env(1), g.env(1), newObject())))
		if g.chance(6) {
			g.uses("env: odd default")
			properties.set("env", g.property(pick[any](g, "", []any{}, false, "{{ other_env }}")))
		}
	}
	if g.chance(60) {
		g.uses("env: deployment")
		deployment.set("env", g.env(2))
	}
	if g.chance(45) {
		g.uses("env: run")
		run.set("env", g.env(2))
		if deployment.value("env") != nil && g.chance(6) {
			g.uses("env: pairs instead of an object")
			run.set("env", pick[any](g, []any{}, "", []any{[]any{"A", json.Number("1.0")}, "Bx"}, []any{g.twoKeys()}))
		}
	}
	if g.chance(30) {
		deployment.set("other_env", g.env(1))
	}
	if g.chance(5) {
		g.uses("env: empty, of another type")
		pick(g, deployment, run).set("env", pick[any](g, "", []any{}, json.Number("0"), false))
	}
	if g.errs("env of a wrong type") {
		if g.chance(50) {
			deployment.set("env", g.env(1))
		}
		pick(g, run, run, deployment).set("env", pick[any](g, nil, "text", "text", json.Number("3"), true, []any{"abc"}, []any{nil}, []any{[]any{"x"}}))
	}
	if g.errs("env default of a wrong type") {
		properties.set("env", g.property(pick[any](g, "text", json.Number("1"), []any{"A"}, true)))
	}
}

func (g *generator) twoKeys() *object {
	o := newObject()
	o.set("D", nil)
	o.set("E", "e")
	return o
}

// dotted adds dotted names, over plain ones of the same beginning or not.
func (g *generator) dotted(layer *object) {
	for range 1 + g.IntN(3) {
		key := pick(g, "env.A", "env.E", "env.größe", "opts.k", "opts.k.deep", "opts.l[0]", "items.0", "dotted.x", "dotted.y.z", "dotted.y", "labels.dot", "a.b", "b.", ".b", "日本.x")
		if strings.HasPrefix(key, "labels") {
			layer.set(key, "dotted label")
		} else {
			layer.set(key, g.value("", 2))
		}
		g.uses("dotted name")
		g.usesIf(strings.HasPrefix(key, "env."), "dotted env")
		_, also := layer.get(splitPath(key)[0])
		g.usesIf(also, "dotted and nested")
	}
	if g.errs("dotted names in each other's way") {
		layer.set("way.x", json.Number("1"))
		layer.set("way.x.y", json.Number("2"))
	}
}

// configuration draws job_configuration.
func (g *generator) configuration() *object {
	c := newObject()
	for i := range 1 + g.IntN(5) {
		c.set(pick(g, "cluster", "task", "größe", "list", "k")+strconv.Itoa(i), g.templateValue(3))
	}
	if g.chance(75) {
		c.set("command", pick[any](g, "{{ command }}", "{{ command }}", g.text("", false)+"!", nil, "{{ unset }}"))
	}
	if g.chance(75) {
		c.set("name", pick[any](g, "{{ name }}", "{{ name }}", "{{ name }}", "run {{ ctx.flow.name }}", "literal"))
	}
	if g.chance(80) {
		c.set("labels", pick[any](g, "{{ labels }}", "{{labels}}", g.templateLabels(), "{{ unset }}"))
	}
	switch g.IntN(8) {
	case 0, 1, 2, 3:
		g.uses("env: template placeholder")
		c.set("env", pick(g, "{{ env }}", "{{ env }}", "{{env}}", "{{ other_env }}"))
	case 4, 5, 6:
		g.uses("env: template object")
		c.set("env", g.templateEnv())
	default:
		g.uses("env: absent from template")
	}
	if g.errs("typed field of the template of a wrong type") {
		c.set(pick(g, "command", "labels", "env", "name"), pick[any](g, json.Number("1"), []any{}, true))
	}
	return g.reordered(c)
}

func (g *generator) templateLabels() *object {
	labels := newObject()
	for _, key := range g.shuffled([]string{"team", "a.b", "Z"})[:g.IntN(4)] {
		labels.set(key, g.text("label ", true))
	}
	return labels
}

func (g *generator) templateEnv() *object {
	env := newObject()
	for _, name := range g.shuffled(envNames)[:g.IntN(5)] {
		env.set(name, g.templateValue(1))
	}
	return env
}

// templateValue draws a value with placeholders.
func (g *generator) templateValue(depth int) any {
	switch n := g.IntN(12); {
	case n < 3 && depth > 0:
		g.usesIf(depth < 3, "nested object in template")
		o := newObject()
		for _, key := range g.shuffled([]string{"k1", "image", "größe", "z", "a b"})[:g.IntN(4)] {
			o.set(key, g.templateValue(depth-1))
		}
		return o
	case n < 5 && depth > 0:
		g.uses("list in template")
		list := []any{}
		for range g.IntN(4) {
			list = append(list, g.templateValue(depth-1))
		}
		return list
	case n < 6:
		return g.scalar("")
	case n < 7:
		return g.reference()
	case n < 9:
		return g.lone()
	default:
		return g.text("", false)
	}
}

// spoil makes the template itself wrong, rarely.
func (g *generator) spoil(template, properties *object) {
	if g.errs("property that is no object") {
		properties.set("spoiled", pick[any](g, true, nil, json.Number("1"), "the default", []any{"default"}, []any{}, "text"))
	}
	if g.errs("malformed template") {
		if g.chance(50) {
			template.set(pick(g, "job_configuration", "variables"), pick[any](g, nil, []any{}, "text"))
			return
		}
		schema := newObject()
		schema.set("properties", pick[any](g, nil, []any{}, "text"))
		template.set("variables", schema)
	}
}

func (g *generator) shuffled(names []string) []string {
	names = slices.Clone(names)
	g.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

func (g *generator) reordered(o *object) *object {
	out := newObject()
	for _, key := range g.shuffled(o.keys) {
		out.set(key, o.value(key))
	}
	return out
}
