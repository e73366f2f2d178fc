package fakeaws

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// What AWS allows. Only what the tested programs may run into is checked.
const (
	maxTags      = 50
	maxTagKey    = 128
	maxTagValue  = 256
	maxOverrides = 8192
)

var (
	familyForm    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)
	tagForm       = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
	startedByForm = regexp.MustCompile(`^[A-Za-z0-9/_-]{0,128}$`)
	tokenForm     = regexp.MustCompile(`^[!-~]{0,64}$`)
)

func client(format string, values ...any) *Fault {
	return &Fault{Code: "ClientException", Message: fmt.Sprintf(format, values...)}
}

func invalid(format string, values ...any) *Fault {
	return &Fault{Code: "InvalidParameterException", Message: fmt.Sprintf(format, values...)}
}

func checkTags(value any) *Fault {
	tags := objects(value)
	if len(tags) > maxTags {
		return invalid("Tags can not have more than %d elements.", maxTags)
	}
	var keys []string
	for _, tag := range tags {
		key, value := text(tag, "key"), text(tag, "value")
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxTagKey || !tagForm.MatchString(key):
			return invalid("Invalid tag key %q.", key)
		case utf8.RuneCountInString(value) > maxTagValue || !tagForm.MatchString(value):
			return invalid("Invalid tag value %q.", value)
		case slices.Contains(keys, key):
			return invalid("Duplicate tag keys found: %s.", key)
		}
		keys = append(keys, key)
	}
	return nil
}

func checkDefinition(body object) *Fault {
	family, containers := text(body, "family"), objects(body["containerDefinitions"])
	if !familyForm.MatchString(family) {
		return client("Family contains invalid characters.")
	}
	if len(containers) == 0 {
		return client("Container list cannot be empty.")
	}
	if refusal := checkTags(body["tags"]); refusal != nil {
		return refusal
	}
	fargate := slices.Contains(texts(body["requiresCompatibilities"]), "FARGATE")
	if fargate {
		if refusal := checkFargate(body); refusal != nil {
			return refusal
		}
	}
	return checkContainers(body, containers, fargate)
}

func checkFargate(body object) *Fault {
	switch {
	case text(body, "networkMode") != "awsvpc":
		return client("Fargate only supports network mode ‘awsvpc’.")
	case text(body, "cpu") == "":
		return client("Fargate requires that 'cpu' be defined at the task level.")
	case text(body, "memory") == "":
		return client("Fargate requires that 'memory' be defined at the task level.")
	}
	return nil
}

func checkContainers(body object, containers []object, fargate bool) *Fault {
	essential, role := false, text(body, "executionRoleArn")
	for _, container := range containers {
		name := text(container, "name")
		switch {
		case name == "":
			return client("Container.name should not be null or empty.")
		case text(container, "image") == "":
			return client("Container.image should not be null or empty.")
		case body["memory"] == nil && container["memory"] == nil && container["memoryReservation"] == nil:
			return client("Invalid setting for container '%s'. At least one of 'memory' or 'memoryReservation' must be specified.", name)
		case role == "" && len(objects(container["secrets"])) > 0:
			return client("When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
		case role == "" && fargate && text(nested(container, "logConfiguration"), "logDriver") == "awslogs":
			return client("Fargate requires task definition to have execution role ARN to support log driver awslogs.")
		}
		essential = essential || container["essential"] != false
	}
	if !essential {
		return client("A task definition must contain at least one essential container.")
	}
	return nil
}

// checkRun is what RunTask finds wrong with a request for a definition.
func checkRun(body object, d *Definition) *Fault {
	if refusal := checkTags(body["tags"]); refusal != nil {
		return refusal
	}
	strategy := objects(body["capacityProviderStrategy"])
	network := nested(body, "networkConfiguration")
	awsvpc := text(d.Body, "networkMode") == "awsvpc"
	switch {
	case d.Status != "ACTIVE":
		return client("TaskDefinition is inactive")
	case !tokenForm.MatchString(text(body, "clientToken")):
		return invalid("clientToken must be at most 64 printable characters.")
	case !startedByForm.MatchString(text(body, "startedBy")):
		return invalid("startedBy must be at most 128 letters, numbers, hyphens, slashes and underscores.")
	case body["launchType"] != nil && len(strategy) > 0:
		return invalid("Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.")
	case text(body, "launchType") == "FARGATE" && !slices.Contains(d.compatibilities(), any("FARGATE")):
		return invalid("Task definition does not support launch_type FARGATE.")
	case awsvpc && network == nil:
		return invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	case !awsvpc && network != nil:
		return invalid("Network Configuration is not valid for the given networkMode of this task definition.")
	case awsvpc && len(texts(nested(network, "awsvpcConfiguration")["subnets"])) == 0:
		return invalid("subnets can not be empty.")
	}
	return checkOverrides(nested(body, "overrides"), d)
}

// overridesLength counts characters of compact JSON.
func overridesLength(overrides object) int {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(overrides) // it was decoded from JSON
	return utf8.RuneCountInString(strings.TrimSuffix(b.String(), "\n"))
}

func checkOverrides(overrides object, d *Definition) *Fault {
	if overridesLength(overrides) > maxOverrides {
		return invalid("Container Overrides length must be at most %d", maxOverrides)
	}
	for _, override := range objects(overrides["containerOverrides"]) {
		name := text(override, "name")
		if !slices.ContainsFunc(objects(d.Body["containerDefinitions"]), func(c object) bool { return c["name"] == name }) {
			return invalid("Override for container named %s is not a container in the TaskDefinition.", name)
		}
	}
	return nil
}
