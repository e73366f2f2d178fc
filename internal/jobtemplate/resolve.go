package jobtemplate

import (
	"context"
	"encoding/json"
)

// Input is what a template is resolved with. The documents are JSON objects:
// json.RawMessage or map[string]any, or nothing.
type Input struct {
	Deployment any // job variables of the deployment
	Run        any // job variables of the flow run
	// Env looks into the worker's own environment, for {{ $NAME }}. Nil is an
	// empty one.
	Env func(string) (string, bool)
	// Source reads blocks and variables. With nil there are none.
	Source Source
	// Context holds what the configured name may refer to once all else is
	// resolved: {"flow": {…}, "flow_run": {…}}, without the leading ctx.
	Context any
}

// EnvVar is one configured environment variable.
type EnvVar struct {
	Name  string
	Value string
}

// Resolved is the configuration of one job.
type Resolved struct {
	// Configuration is the whole job_configuration, resolved. The fields below
	// stand in it, too, as they were before typing.
	Configuration map[string]any
	// Document is the same as JSON text, which has the order of its keys.
	Document json.RawMessage
	Env      []EnvVar          // in the configured order: template, pool, deployment, run
	Unset    []string          // names that env sets to null: they are to be removed from any environment below
	Labels   map[string]string // configured labels only
	// LabelNames are the names of Labels in the configured order.
	LabelNames []string
	Command    string // "" when none is configured
	Name       string // "" when none is configured
}

// Resolve fills the template. Everything wrong with template and variables is
// reported at once, as *Problems; any other error came from Input.Source and
// may be otherwise next time.
func (t *Template) Resolve(ctx context.Context, in Input) (*Resolved, error) {
	var problems Problems
	var top *path
	deployment := readObject(&problems, in.Deployment, top.key("deployment").key("job_variables"))
	run := readObject(&problems, in.Run, top.key("flow_run").key("job_variables"))
	names := readObject(&problems, in.Context, top.key("ctx"))

	template, layers := t.merge(&problems, deployment, run)
	left := newWork()
	fill := filler{variables: layers.values, env: in.Env, work: left}
	trace := tracer{template: template, layers: layers}
	configuration, err := fillAll(ctx, &problems, fill, trace, template, in.Source)
	if err != nil {
		return nil, err
	}
	root := top.key("job_configuration")
	if !left.spend(0) {
		problems.add(root, exception{class: memoryError}, "is too large once its placeholders are filled", "")
	}
	out := typed(&problems, trace, configuration, root)
	if err := problems.err(); err != nil {
		return nil, err
	}
	out.Configuration, _ = plain(configuration).(map[string]any)
	out.Document = encode(configuration)
	context := newObject()
	context.set("ctx", names)
	fill.variables = context
	out.Name = fill.renderName(out.Name)
	return out, nil
}

// fillAll fills all placeholders: job variables and environment first, then
// blocks, then Prefect's variables.
func fillAll(ctx context.Context, problems *Problems, fill filler, trace tracer, template *object, source Source) (*object, error) {
	filled, _ := fill.apply(template)
	refs := &references{
		source: source, problems: problems, origin: trace.origin, work: fill.work,
		blocks: map[string]found[*object]{}, variables: map[string]found[any]{},
	}
	root := (*path)(nil).key("job_configuration")
	resolved, err := refs.resolveBlocks(ctx, filled, root)
	if err != nil {
		return nil, err
	}
	if resolved, err = refs.resolveVariables(ctx, resolved, root); err != nil {
		return nil, err
	}
	configuration, _ := resolved.(*object) // nil when the whole was one reference to a missing block
	return configuration, nil
}

// typed reads the fields that every kind of job has, in the order in which
// Prefect's worker stumbles over them.
func typed(problems *Problems, trace tracer, configuration *object, root *path) *Resolved {
	must := func(value any, at *path, raised exception, want string, ok bool) {
		if !ok {
			problems.addTraced(at, raised, mustBe(want, value), trace.origin)
		}
	}
	notText, notObject := exception{validationError, "Input should be a valid string"}, exception{validationError, "Input should be a valid dictionary"}
	out := &Resolved{Labels: map[string]string{}}
	if value, given := configuration.get("env"); given {
		env, ok := value.(*object)
		must(value, root.key("env"), lacks(value, "items"), "an object", ok)
		for name, value := range env.all() {
			if value == nil {
				out.Unset = append(out.Unset, name)
			} else {
				out.Env = append(out.Env, EnvVar{Name: name, Value: textOf(value)})
			}
		}
	}
	text := func(key string) string {
		value := configuration.value(key)
		s, ok := value.(string)
		must(value, root.key(key), notText, "a string", ok || value == nil)
		return s
	}
	out.Command = text("command")
	if value, given := configuration.get("labels"); given {
		labels, ok := value.(*object)
		must(value, root.key("labels"), notObject, "an object", ok)
		for name, value := range labels.all() {
			label, ok := value.(string)
			must(value, root.key("labels").key(name), notText, "a string", ok)
			out.Labels[name] = label
			out.LabelNames = append(out.LabelNames, name)
		}
	}
	out.Name = text("name")
	return out
}

// renderName fills {{ ctx.flow.… }} and {{ ctx.flow_run.… }}. They survive to
// here only inside a variable's value; in the template itself they are unset.
// A name that is a single unknown placeholder stays as it was written.
func (f filler) renderName(name string) string {
	if name == "" {
		return ""
	}
	rendered, ok := f.apply(name)
	switch {
	case !ok:
		return name
	case !truthy(rendered):
		return ""
	default:
		return textOf(rendered)
	}
}
