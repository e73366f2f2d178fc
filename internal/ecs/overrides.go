package ecs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"faber/internal/launch"
)

// Limits of ECS. The first is that of RunTask's whole `overrides`, in characters
// of JSON; the second is the size of a task definition.
const (
	maxOverrides  = 8192
	maxDefinition = 64 << 10
)

// encode writes JSON as it is sent: without the escapes that Go puts in for the
// sake of HTML, each of which counts five characters more.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// characters is how long a value is as JSON.
func characters(value any) int {
	encoded, err := encode(value)
	if err != nil {
		return 0 // it is JSON already, so that there is no such error
	}
	return utf8.RuneCount(encoded)
}

// fitOverrides gives a job a definition with which the overrides of its request
// are short enough for ECS: the given one, or one that holds the part of the
// environment that runs have in common. Runs of one deployment so share the
// second one, too. Credentials stay where they are as long as that is enough.
func (l *Launcher) fitOverrides(c *configuration, job launch.Job, b *built) (*built, error) {
	if c.overridesFit(job, b) == nil && !c.relieved {
		return b, nil
	}
	stays := []func(name, value string) bool{isCredential}
	if !l.options.RefusePlaintextCredentials {
		stays = append(stays, func(name, _ string) bool { return isOwnCredential(name) })
	}
	relieved, problem := b, error(nil)
	for _, stay := range stays {
		var err error
		if relieved, err = c.relieve(job, b, stay); err != nil {
			return nil, err
		}
		if problem = c.overridesFit(job, relieved); problem == nil {
			break
		}
	}
	if size := characters(relieved.shape); problem == nil && size > maxDefinition {
		problem = tooLong("Task definition", size, maxDefinition, relieved.environment())
	}
	return relieved, problem
}

// overridesFit finds out whether the overrides of a job's request are short
// enough with a definition. Whatever else is wrong with the request is reported
// where it is made.
func (c *configuration) overridesFit(job launch.Job, b *built) error {
	request, err := c.buildRequest(job, b.as("", false))
	if err != nil {
		return nil
	}
	if _, err := decodeRequest(request); err != nil { // brings it to the form that is sent
		return nil
	}
	return checkOverrides(request)
}

// checkOverrides refuses overrides that ECS would find too long.
func checkOverrides(request map[string]any) error {
	overrides, _ := request["overrides"].(map[string]any)
	length := characters(overrides)
	if length <= maxOverrides {
		return nil
	}
	var variables []map[string]any
	for _, container := range objects(overrides["containerOverrides"]) {
		variables = append(variables, objects(container["environment"])...)
	}
	return tooLong("Container Overrides", length, maxOverrides, variables)
}

const tooLongHint = "Put large values into the image, a secret or a Prefect block, and only their names into the environment."

// tooLong names what makes a request too long for ECS: the largest variables, by
// name and size alone.
func tooLong(what string, length, limit int, variables []map[string]any) error {
	slices.SortStableFunc(variables, func(a, b map[string]any) int {
		return cmp.Or(cmp.Compare(characters(b), characters(a)), cmp.Compare(stringField(a, "name"), stringField(b, "name")))
	})
	var largest []string
	for _, variable := range variables[:min(5, len(variables))] {
		largest = append(largest, fmt.Sprintf("%s (%d)", stringField(variable, "name"), characters(variable)))
	}
	if len(largest) == 0 {
		largest = []string{"none"}
	}
	return fmt.Errorf("%s length must be at most %d: this run has %d characters. The largest environment variables, with their characters: %s",
		what, limit, length, strings.Join(largest, ", "))
}

// relieve moves variables from the overrides into the definition, all but those
// that belong to one run and those that stay for another reason.
func (c *configuration) relieve(job launch.Job, b *built, stays func(name, value string) bool) (*built, error) {
	request, err := c.buildRequest(job, b.as("", false))
	if err != nil {
		return nil, err
	}
	overrides, _ := request["overrides"].(map[string]any)
	shape, moved := copyObject(b.shape), map[string]map[string]bool{}
	for _, override := range objects(overrides["containerOverrides"]) {
		name := stringField(override, "name")
		container := containerNamed(objects(shape["containerDefinitions"]), name)
		if container == nil {
			continue
		}
		variables := movable(objects(override["environment"]), container, job, stays)
		if len(variables) > 0 {
			addVariables(container, variables)
			moved[name] = namesOf(variables)
		}
	}
	relieved, err := finishDefinition(shape)
	if err != nil {
		return nil, err
	}
	relieved.moved = moved
	return relieved, nil
}

func namesOf(variables []map[string]any) map[string]bool {
	out := map[string]bool{}
	for _, variable := range variables {
		out[stringField(variable, "name")] = true
	}
	return out
}

// movable are the variables that the container gets all the same from its
// definition, sorted, so that the same ones make the same definition.
func movable(environment []map[string]any, container map[string]any, job launch.Job, stays func(name, value string) bool) []map[string]any {
	secrets, times := namesOf(objects(container["secrets"])), map[string]int{}
	for _, variable := range environment {
		times[stringField(variable, "name")]++
	}
	var out []map[string]any
	for _, variable := range environment {
		name, value := stringField(variable, "name"), text(variable["value"])
		// An empty variable saves nothing, one that comes twice is decided by ECS,
		// and one of a secret's name is refused in a definition.
		if value == "" || times[name] > 1 || secrets[name] || ofRun(name, value, job) || stays(name, value) {
			continue
		}
		out = append(out, map[string]any{"name": name, "value": value})
	}
	slices.SortFunc(out, func(a, b map[string]any) int { return cmp.Compare(stringField(a, "name"), stringField(b, "name")) })
	return out
}

// addVariables puts variables into a container's definition, in place of earlier
// ones of the same name: they were laid over those.
func addVariables(container map[string]any, variables []map[string]any) {
	replaced := namesOf(variables)
	var environment []any
	for _, variable := range objects(container["environment"]) {
		if !replaced[stringField(variable, "name")] {
			environment = append(environment, variable)
		}
	}
	container["environment"] = append(environment, asList(variables)...)
}

// ofRun reports whether a variable differs between runs of a deployment, or
// between the workers that launch them. Who reads tasks later looks for Prefect's
// own in the overrides.
func ofRun(name, value string, job launch.Job) bool {
	if strings.HasPrefix(name, "PREFECT__") || name == envSigterm || strings.Contains(value, job.FlowRunID) {
		return true
	}
	if len(job.FlowRunName) >= tellingName && strings.Contains(value, job.FlowRunName) {
		return true
	}
	return slices.ContainsFunc(job.Env, func(v launch.EnvVar) bool { return v.Name == name && v.OfRun })
}

// tellingName is how long a run's name is that does not stand in values by
// accident.
const tellingName = 6

var (
	credentialName  = regexp.MustCompile(`(?i)key|secret|token|passw|pwd|credential|auth|private|cert|dsn`)
	credentialValue = regexp.MustCompile(`-----BEGIN |://[^/@\s]*:[^/@\s]+@`)
)

// isCredential tells what may be a credential. A definition is kept for ever, and
// the overrides of a task for an hour after its end: so it better stays there.
func isCredential(name, value string) bool {
	return isOwnCredential(name) || credentialName.MatchString(name) || credentialValue.MatchString(value)
}

// isOwnCredential tells the worker's own, which in no case go into a definition.
func isOwnCredential(name string) bool { return name == envAPIKey || name == envAuthString }

// environment are the variables of all containers of a definition.
func (b *built) environment() []map[string]any {
	var out []map[string]any
	for _, container := range objects(b.shape["containerDefinitions"]) {
		out = append(out, objects(container["environment"])...)
	}
	return out
}
