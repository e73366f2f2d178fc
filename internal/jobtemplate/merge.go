package jobtemplate

import (
	"fmt"
	"slices"
	"strings"
)

// layers are the variables of one job: each layer by itself, lowest first, and
// all of them laid over each other.
type layers struct {
	defaults   *object
	deployment *object
	run        *object

	values *object
}

// merge lays the layers over each other, and every env that is known into the
// template. In the end env is: template, under the schema's default, under the
// deployment's, under the run's.
func (t *Template) merge(problems *Problems, deployment, run *object) (*object, layers) {
	l := layers{defaults: t.defaults, deployment: deployment, run: run}
	variables := l.combine(problems)
	template := t.configuration
	defaultEnv := t.defaults.value("env")
	if truthy(defaultEnv) {
		if _, isObject := template.value("env").(*object); isObject {
			at := (*path)(nil).key("variables").key("properties").key("env").key("default")
			template = overlayEnv(problems, template, defaultEnv, at, "")
		} else {
			template = template.clone()
			template.set("env", defaultEnv)
		}
	}
	variables = l.expandDotted(problems, variables)
	env := variables.value("env") // the default's is there already
	if _, isObject := template.value("env").(*object); isObject && truthy(env) {
		template = overlayEnv(problems, template, env, variableAt("env"), l.origin([]string{"env"}))
	}
	l.values = t.defaults.clone()
	l.values.setAll(variables)
	return template, l
}

func variableAt(name string) *path { return (*path)(nil).key("job_variables").key(name) }

// overlayEnv lays env over the template's own.
func overlayEnv(problems *Problems, template *object, env any, at *path, origin string) *object {
	above, ok := env.(*object)
	if !ok {
		problems.add(at, raise(typeError, "unsupported operand type(s) for |: 'dict' and '%s'", pythonType(env)), mustBe("an object", env), origin)
		return template
	}
	below, _ := template.value("env").(*object)
	merged := below.clone()
	merged.setAll(above)
	template = template.clone()
	template.set("env", merged)
	return template
}

// combine lays the flow run's variables over the deployment's: env name by
// name, everything else whole key by whole key.
func (l layers) combine(problems *Problems) *object {
	variables := l.deployment.clone()
	run := l.run
	if env, ok := variables.value("env").(*object); ok {
		if above, given := run.get("env"); given {
			merged, raised := updated(env, above)
			if raised.class != "" {
				problems.add(variableAt("env"), raised, mustBe("an object", above), ofLayer(ofRun, "env"))
			}
			variables.set("env", merged)
			run = run.without("env")
		}
	}
	variables.setAll(run)
	return variables
}

// updated is an object with what Python's dict.update takes laid over it:
// another object, or a list of pairs. Else there is an exception.
func updated(o *object, above any) (*object, exception) {
	out := o.clone()
	switch above := above.(type) {
	case *object:
		out.setAll(above)
	case []any:
		for i, item := range above {
			key, value, raised := pair(i, item)
			if raised.class != "" {
				return o, raised
			}
			out.set(key, value)
		}
	case string:
		if above != "" { // its characters are no pairs
			return o, notAPair(0, 1)
		}
	default:
		return o, raise(typeError, "'%s' object is not iterable", pythonType(above))
	}
	return out, exception{}
}

// pair reads two values as Python does from any sequence: a list, the
// characters of a text, the keys of an object.
func pair(index int, item any) (key string, value any, raised exception) {
	var two []any
	switch item := item.(type) {
	case []any:
		two = item
	case string:
		for _, r := range item {
			two = append(two, string(r))
		}
	case *object:
		for key := range item.all() {
			two = append(two, key)
		}
	default:
		return "", nil, raise(typeError, "cannot convert dictionary update sequence element #%d to a sequence", index)
	}
	if len(two) != 2 {
		return "", nil, notAPair(index, len(two))
	}
	switch key := two[0].(type) {
	case string:
		return key, two[1], exception{}
	case []any, *object:
		return "", nil, raise(typeError, "unhashable type: '%s'", pythonType(key))
	default:
		return "", nil, exception{validationError, "Input should be a valid string"} // a key, but of no variable
	}
}

func notAPair(index, length int) exception {
	return raise(valueError, "dictionary update sequence element #%d has length %d; 2 is required", index, length)
}

// expandDotted turns {"env.FOO": 1} into {"env": {"FOO": 1}} and lays the plain
// keys on top. It builds upon the values of dotted names, which are read anew for
// each job.
func (l layers) expandDotted(problems *Problems, variables *object) *object {
	expanded := newObject()
	for key, value := range variables.all() {
		if !strings.Contains(key, ".") {
			continue
		}
		parts := splitPath(key)
		switch {
		case len(parts) > maxDepth:
			problems.add(variableAt(key), exceptionOf(errTooDeep), fmt.Sprintf("is a name of more than %d parts", maxDepth), "")
		case !expanded.setPath(parts, value):
			problems.add(variableAt(key), standsInTheWay(parts), "a part of this name already has a value that is not an object", l.giver(key))
		}
	}
	for key, value := range variables.all() {
		if strings.Contains(key, ".") {
			continue
		}
		below, isObject := expanded.value(key).(*object)
		above, isObjectToo := value.(*object)
		if isObject && isObjectToo {
			value = deepMerge(below, above)
		}
		expanded.set(key, value)
	}
	return expanded
}

func standsInTheWay(parts []string) exception {
	list := make([]any, len(parts))
	for i, part := range parts {
		list[i] = part
	}
	return raise(typeError, "Key path exists and contains a non-dict value: %s", textOf(list))
}

// giver is the layer whose value a variable of the deployment or run has.
func (l layers) giver(key string) string {
	if _, ok := l.run.get(key); ok {
		return ofLayer(ofRun, key)
	}
	return ofLayer(ofDeployment, key)
}

// origin tells which variable of which layer gave the value at a dotted name: a
// plain name comes before a dotted one, the run before the deployment.
func (l layers) origin(parts []string) string {
	given := []struct {
		variables *object
		format    string
	}{{l.run, ofRun}, {l.deployment, ofDeployment}}
	for _, layer := range given {
		if value, ok := layer.variables.get(parts[0]); ok && reaches(value, parts[1:]) {
			return ofLayer(layer.format, parts[0])
		}
	}
	for _, layer := range given {
		for key := range layer.variables.all() {
			if strings.Contains(key, ".") && overlap(splitPath(key), parts) {
				return ofLayer(layer.format, key)
			}
		}
	}
	return ofLayer(ofPool, parts[0])
}

// reaches reports whether a value has something at a path.
func reaches(value any, parts []string) bool {
	for _, part := range parts {
		switch inside := value.(type) {
		case *object:
			var ok bool
			if value, ok = inside.get(part); !ok {
				return false
			}
		case []any:
			index, isIndex := parseIndex(part)
			var ok bool
			if value, ok = item(inside, index); !ok || !isIndex {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// overlap reports whether one of two paths leads to, or through, the other.
func overlap(a, b []string) bool {
	n := min(len(a), len(b))
	return slices.Equal(a[:n], b[:n])
}
