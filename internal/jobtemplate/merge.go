package jobtemplate

import (
	"fmt"
	"maps"
	"strings"
)

// combine lays the flow run's job variables over the deployment's: env name by
// name, everything else whole key by whole key.
func combine(problems *Problems, deployment, run map[string]any) map[string]any {
	variables := copyObject(deployment)
	run = copyObject(run)
	if env, ok := variables["env"].(map[string]any); ok {
		if above, isObject := run["env"].(map[string]any); isObject {
			maps.Copy(env, above)
			delete(run, "env")
		} else if value, given := run["env"]; given {
			if value != nil {
				problems.add(rootPath("job_variables").key("env"), fmt.Sprintf("must be an object, not %s", kindOf(value)))
			}
			delete(run, "env")
		}
	}
	maps.Copy(variables, run)
	return variables
}

// expandDotted turns {"env.FOO": 1} into {"env": {"FOO": 1}} and lays the plain
// keys on top.
func expandDotted(problems *Problems, variables map[string]any) map[string]any {
	expanded := map[string]any{}
	for _, key := range sortedKeys(variables) {
		if !strings.Contains(key, ".") {
			continue
		}
		if !setPath(expanded, splitPath(key), variables[key]) {
			problems.add(rootPath("job_variables").key(key), "a part of this name already has a value that is not an object")
		}
	}
	for _, key := range sortedKeys(variables) {
		if strings.Contains(key, ".") {
			continue
		}
		below, isObject := expanded[key].(map[string]any)
		above, isObjectToo := variables[key].(map[string]any)
		if isObject && isObjectToo {
			expanded[key] = deepMerge(below, above)
		} else {
			expanded[key] = variables[key]
		}
	}
	return expanded
}

// merge gives the template with every env that is known laid into it, and the
// values for its placeholders. In the end env is: template, under the schema's
// default, under the deployment's, under the run's.
func (t *Template) merge(problems *Problems, deployment, run map[string]any) (template, values map[string]any) {
	template = copyObject(t.jobConfiguration)
	if env, _ := t.defaults["env"].(map[string]any); len(env) > 0 {
		overlayEnv(template, env)
	}
	values = copyObject(t.defaults)
	maps.Copy(values, expandDotted(problems, combine(problems, deployment, run)))

	if _, isObject := template["env"].(map[string]any); isObject {
		switch env := values["env"].(type) {
		case nil:
		case map[string]any:
			overlayEnv(template, env)
		default:
			problems.add(rootPath("job_variables").key("env"), fmt.Sprintf("must be an object, not %s", kindOf(env)))
		}
	}
	return template, values
}

// overlayEnv lays env over the template's own, or in place of a placeholder.
func overlayEnv(template, env map[string]any) {
	merged := map[string]any{}
	if below, ok := template["env"].(map[string]any); ok {
		maps.Copy(merged, below)
	}
	maps.Copy(merged, copyObject(env))
	template["env"] = merged
}
