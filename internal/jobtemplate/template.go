// Package jobtemplate turns a work pool's base job template and the job
// variables of a deployment and a flow run into the configuration of one job,
// by Prefect's rules. It is pure: what it needs from outside (blocks, variables,
// environment) comes through Input.
//
// Values have JSON types throughout: map[string]any, []any, string, bool, nil,
// and float64 or json.Number. With json.Number the text of a number is exactly
// Python's; with float64 a whole number is taken for an integer, as 1.0 and 1
// can no longer be told apart. Objects have lost their order: where it shows
// (environment, text of an object), keys are sorted.
package jobtemplate

import (
	"context"
	"errors"
	"fmt"
)

// ErrNotFound is what a Source answers for a block or variable that does not
// exist. Any other error is taken for trouble on the way, and ends Resolve.
var ErrNotFound = errors.New("not found")

// Source reads blocks and variables. Resolve asks it at most once for each.
type Source interface {
	// BlockDocument and BlockDocumentByName return the block's data, secrets
	// in clear.
	BlockDocument(ctx context.Context, id string) (map[string]any, error)
	BlockDocumentByName(ctx context.Context, slug, name string) (map[string]any, error)
	// Variable returns the variable's value.
	Variable(ctx context.Context, name string) (any, error)
}

// Template is a parsed base job template. It never changes, and may be used by
// several goroutines at once.
type Template struct {
	jobConfiguration map[string]any
	defaults         map[string]any
}

// Parse checks the shape of a base job template and keeps a copy of it. All
// problems are reported together, as *Problems.
func Parse(base map[string]any) (*Template, error) {
	var problems Problems
	root := rootPath("")
	configuration := requireObject(&problems, base, root.key("job_configuration"), "job_configuration")
	schema := requireObject(&problems, base, root.key("variables"), "variables")

	defaults := map[string]any{}
	if properties, ok := schema["properties"]; ok && properties != nil {
		defaults = schemaDefaults(&problems, properties)
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	return &Template{
		jobConfiguration: copyObject(configuration),
		defaults:         defaults,
	}, nil
}

// JobConfiguration returns a copy of the template's job_configuration,
// placeholders and all.
func (t *Template) JobConfiguration() map[string]any {
	return copyObject(t.jobConfiguration)
}

// Placeholders returns the names that a value of the template refers to,
// sorted. Launchers use it to say which job variables have no effect.
func Placeholders(value any) []string {
	names := map[string]bool{}
	collectPlaceholders(value, names)
	return sortedKeys(names)
}

func requireObject(problems *Problems, base map[string]any, at path, key string) map[string]any {
	value, ok := base[key]
	if !ok {
		problems.add(at, "is missing from the base job template")
		return nil
	}
	object, ok := value.(map[string]any)
	if !ok {
		problems.add(at, fmt.Sprintf("must be an object, not %s", kindOf(value)))
	}
	return object
}

// schemaDefaults collects the defaults of the variables' schema. A default of
// null counts as none: absent and null differ, and a variable without a value
// must leave its key out.
func schemaDefaults(problems *Problems, properties any) map[string]any {
	at := rootPath("variables").key("properties")
	defaults := map[string]any{}
	object, ok := properties.(map[string]any)
	if !ok {
		problems.add(at, fmt.Sprintf("must be an object, not %s", kindOf(properties)))
		return defaults
	}
	for _, name := range sortedKeys(object) {
		attributes, ok := object[name].(map[string]any)
		if !ok {
			problems.add(at.key(name), fmt.Sprintf("must be an object, not %s", kindOf(object[name])))
			continue
		}
		value := attributes["default"]
		if value == nil {
			continue
		}
		if _, isObject := value.(map[string]any); name == "env" && !isObject {
			problems.add(at.key(name).key("default"), fmt.Sprintf("must be an object, not %s", kindOf(value)))
			continue
		}
		defaults[name] = deepCopy(value)
	}
	return defaults
}
