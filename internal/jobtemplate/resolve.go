package jobtemplate

import (
	"context"
	"fmt"
)

// Input is what a template is resolved with.
type Input struct {
	Deployment map[string]any // job variables of the deployment, may be nil
	Run        map[string]any // job variables of the flow run, may be nil
	// Env looks into the worker's own environment, for {{ $NAME }}. Nil is an
	// empty one.
	Env func(string) (string, bool)
	// Source reads blocks and variables. With nil there are none.
	Source Source
	// Context holds what the configured name may refer to once all else is
	// resolved: {"flow": {…}, "flow_run": {…}}, without the leading ctx.
	Context map[string]any
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
	Env           []EnvVar          // sorted by name
	Unset         []string          // names that env sets to null: they are to be removed from any environment below; sorted
	Labels        map[string]string // configured labels only
	Command       string            // "" when none is configured
	Name          string            // "" when none is configured
}

// Resolve fills the template. Everything wrong with template and variables is
// reported at once, as *Problems; any other error came from Input.Source and
// may be otherwise next time.
func (t *Template) Resolve(ctx context.Context, in Input) (*Resolved, error) {
	var problems Problems
	template, variables := t.merge(&problems, in.Deployment, in.Run)

	filled, _ := values{variables: variables, env: in.Env}.apply(template)
	refs := newReferences(in.Source, &problems)
	root := rootPath("job_configuration")
	resolved, err := refs.resolveBlocks(ctx, filled, root)
	if err != nil {
		return nil, err
	}
	if resolved, err = refs.resolveVariables(ctx, resolved, root); err != nil {
		return nil, err
	}
	configuration, ok := resolved.(map[string]any)
	if !ok { // the whole configuration was one reference to a missing block
		problems.add(root, fmt.Sprintf("must be an object, not %s", kindOf(resolved)))
	}
	out := typed(&problems, configuration)
	if err := problems.err(); err != nil {
		return nil, err
	}
	out.Name = renderName(out.Name, in)
	return out, nil
}

// typed reads the fields that every kind of job has.
func typed(problems *Problems, configuration map[string]any) *Resolved {
	root := rootPath("job_configuration")
	out := &Resolved{
		Configuration: configuration,
		Command:       optionalString(problems, configuration["command"], root.key("command")),
		Name:          optionalString(problems, configuration["name"], root.key("name")),
		Labels:        map[string]string{},
	}
	env := optionalObject(problems, configuration["env"], root.key("env"))
	for _, name := range sortedKeys(env) {
		if env[name] == nil {
			out.Unset = append(out.Unset, name)
		} else {
			out.Env = append(out.Env, EnvVar{Name: name, Value: Text(env[name])})
		}
	}
	labels := optionalObject(problems, configuration["labels"], root.key("labels"))
	for _, name := range sortedKeys(labels) {
		value, ok := labels[name].(string)
		if !ok {
			problems.add(root.key("labels").key(name), fmt.Sprintf("must be a string, not %s", kindOf(labels[name])))
		}
		out.Labels[name] = value
	}
	return out
}

func optionalString(problems *Problems, value any, at path) string {
	s, ok := value.(string)
	if !ok && value != nil {
		problems.add(at, fmt.Sprintf("must be a string, not %s", kindOf(value)))
	}
	return s
}

func optionalObject(problems *Problems, value any, at path) map[string]any {
	object, ok := value.(map[string]any)
	if !ok && value != nil {
		problems.add(at, fmt.Sprintf("must be an object, not %s", kindOf(value)))
	}
	return object
}

// renderName fills {{ ctx.flow.… }} and {{ ctx.flow_run.… }}. They survive to
// here only inside a variable's value; in the template itself they are unset.
// A name that is a single unknown placeholder stays as it was written.
func renderName(name string, in Input) string {
	if name == "" {
		return ""
	}
	rendered, ok := values{variables: map[string]any{"ctx": in.Context}, env: in.Env}.apply(name)
	switch {
	case !ok:
		return name
	case rendered == nil:
		return ""
	default:
		return Text(rendered)
	}
}
