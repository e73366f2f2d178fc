// Package jobtemplate turns a work pool's base job template and the job
// variables of a deployment and a flow run into the configuration of one job,
// by the rules of Prefect's own worker. It is pure: what it needs from outside
// (blocks, variables, environment) comes through Input.
//
// Documents come in as JSON text (json.RawMessage) or in Go's form of it
// (map[string]any and what goes into one; JSON text may stand inside it, too).
// Where Prefect shows the order of an object's keys, which is in the environment
// and in an object's text, JSON text keeps its own, and Go's form, which has lost
// it, is sorted. The text of a number is exactly Python's for JSON text and
// json.Number; a whole float64 is taken for an integer, as 1.0 and 1 can no
// longer be told apart.
package jobtemplate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	configuration *object
	defaults      *object
}

// Parse reads a base job template. All problems are reported together, as
// *Problems. What is wrong with a default is no problem before a job needs it.
func Parse(base any) (*Template, error) {
	var problems Problems
	document := readObject(&problems, base, (*path)(nil).key("base_job_template"))
	if err := problems.err(); err != nil {
		return nil, err
	}
	var root *path
	configuration, hasConfiguration := require(&problems, document, root, "job_configuration")
	variables, hasVariables := require(&problems, document, root, "variables")
	t := &Template{}
	if schema := mustBeObject(&problems, variables, hasVariables, root.key("variables")); schema != nil {
		t.defaults = schemaDefaults(&problems, schema)
	}
	t.configuration = mustBeObject(&problems, configuration, hasConfiguration, root.key("job_configuration"))
	if err := problems.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// readObject takes a document in that must be an object, or absent.
func readObject(problems *Problems, document any, at *path) *object {
	value, err := read(document)
	if err != nil {
		problems.add(at, exceptionOf(err), err.Error(), "")
		return nil
	}
	o, ok := value.(*object)
	if !ok && value != nil {
		problems.add(at, exception{validationError, "Input should be a valid dictionary"}, mustBe("an object", value), "")
	}
	return o
}

func exceptionOf(err error) exception {
	if errors.Is(err, errTooDeep) {
		return exception{recursionError, "maximum recursion depth exceeded"}
	}
	return exception{valueError, err.Error()}
}

func require(problems *Problems, base *object, root *path, key string) (any, bool) {
	value, ok := base.get(key)
	if !ok {
		problems.add(root.key(key), raise(keyError, "'%s'", key), "is missing from the base job template", "")
	}
	return value, ok
}

func mustBeObject(problems *Problems, value any, present bool, at *path) *object {
	o, ok := value.(*object)
	if !ok && present {
		problems.add(at, lacks(value, "get"), mustBe("an object", value), "")
	}
	return o
}

// schemaDefaults collects the defaults of the variables' schema. A default of
// null counts as none: absent and null differ, and a variable without a value
// must leave its key out.
func schemaDefaults(problems *Problems, schema *object) *object {
	defaults := newObject()
	value, ok := schema.get("properties")
	if !ok {
		return defaults
	}
	at := (*path)(nil).key("variables").key("properties")
	properties, ok := value.(*object)
	if !ok {
		problems.add(at, lacks(value, "items"), mustBe("an object", value), "")
		return defaults
	}
	for name, property := range properties.all() {
		switch property := property.(type) {
		case *object:
			if value := property.value("default"); value != nil {
				defaults.set(name, value)
			}
		default:
			if raised := badProperty(property); raised.class != "" {
				problems.add(at.key(name), raised, mustBe("an object", property), "")
			}
		}
	}
	return defaults
}

// badProperty is how Prefect's worker fails over a property that is no object.
// It looks for the word "default" in whatever there is, and does without a list
// or a text that has none.
func badProperty(property any) exception {
	var has bool
	switch property := property.(type) {
	case string:
		has = strings.Contains(property, "default")
	case []any:
		has = slices.Contains(property, any("default"))
	default:
		return raise(typeError, "argument of type '%s' is not iterable", pythonType(property))
	}
	if has {
		return lacks(property, "get")
	}
	return exception{}
}

// writtenInTemplate is the origin of what no variable gave.
const writtenInTemplate = "written in the base job template"

// Layers of variables, as messages name them.
const (
	ofPool       = "default of variable %q in the work pool"
	ofDeployment = "job variable %q of the deployment"
	ofRun        = "job variable %q of the flow run"
)

func ofLayer(layer, name string) string { return fmt.Sprintf(layer, name) }
