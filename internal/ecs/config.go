package ecs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"faber/internal/launch"
)

// Names and sizes that hold when nothing else is configured.
const (
	defaultContainer = "prefect"
	defaultCPU       = 1024
	defaultMemory    = 2048
	defaultCommand   = "prefect flow-run execute"
)

// Launch types, as work pools and ECS name them.
const (
	fargate     = "FARGATE"
	fargateSpot = "FARGATE_SPOT"
	ec2Type     = "EC2"
	external    = "EXTERNAL"
)

// configuration is a job's configuration, typed as far as the launcher looks
// into it. definition and request are copies, and may be changed.
type configuration struct {
	document         json.RawMessage // the whole, in the order of its keys; nil when nobody knows it
	cluster          string
	vpcID            string
	containerName    string // configured or inferred; "" when a definition of the user's must tell
	executionRole    string
	apiKeySecret     string
	authStringSecret string
	logs             bool
	logsPrefix       string
	logsOptions      map[string]string
	network          map[string]any
	definition       map[string]any
	request          map[string]any
	credentials      credentials
	warnings         []string // what the configuration asks for and nothing here can honour
	deregister       bool
	misshapen        bool    // task_definition is there, and is no object
	matchLatest      bool    // the family's latest revision may be anybody's, if it is equal
	ladder           []int64 // MiB after the first, second, … launch that ran out of memory
	relieved         bool    // ECS found the overrides too long, however short they look from here
}

// userDefinition is the task definition that the user points at, "" when the
// launcher makes one.
func (c *configuration) userDefinition() string { return stringField(c.request, "taskDefinition") }

// parseConfiguration types a job's configuration. The error joins all problems.
func parseConfiguration(job launch.Job) (*configuration, error) {
	r := reader{object: job.Configuration}
	c := &configuration{
		document:         job.Document,
		cluster:          r.string("cluster"),
		vpcID:            r.string("vpc_id"),
		containerName:    r.string("container_name"),
		executionRole:    r.string("execution_role_arn"),
		apiKeySecret:     r.string("prefect_api_key_secret_arn"),
		authStringSecret: r.string("prefect_api_auth_string_secret_arn"),
		logs:             r.bool("configure_cloudwatch_logs"),
		logsPrefix:       r.string("cloudwatch_logs_prefix"),
		logsOptions:      r.strings("cloudwatch_logs_options"),
		network:          copyObject(r.objectAt("network_configuration")),
		definition:       copyObject(r.objectAt("task_definition")),
		request:          copyObject(r.objectAt("task_run_request")),
		deregister:       r.bool("auto_deregister_task_definition"),
		matchLatest:      r.bool("match_latest_revision_in_family"),
		ladder:           r.ladder(),
	}
	_, isObject := job.Configuration["task_definition"].(map[string]any)
	c.misshapen = job.Configuration["task_definition"] != nil && !isObject
	c.credentials = parseCredentials(&r, r.objectAt("aws_credentials"))
	c.warnings = r.warnings
	r.checkShape(c)
	if c.containerName == "" {
		c.containerName = inferContainer(c.definition)
	}
	if err := refuse(append(r.problems, c.rules()...)); err != nil {
		return nil, err
	}
	return c, nil
}

// inferContainer finds the container that executes the flow run: the one
// called prefect, else the first. "" when there is none, or it has no name.
func inferContainer(definition map[string]any) string {
	containers := filled(definition["containerDefinitions"])
	if containerNamed(containers, defaultContainer) != nil {
		return defaultContainer
	}
	if len(containers) > 0 {
		return stringField(containers[0], "name")
	}
	return ""
}

// filled are the objects of a list that are not empty: a template leaves an
// empty one where no variable was set.
func filled(value any) []map[string]any {
	return slices.DeleteFunc(objects(value), func(object map[string]any) bool { return len(object) == 0 })
}

func containerNamed(containers []map[string]any, name string) map[string]any {
	for _, container := range containers {
		if stringField(container, "name") == name {
			return container
		}
	}
	return nil
}

// rules are Prefect's conditions on a configuration as a whole, in Prefect's
// words where users search for them.
func (c *configuration) rules() refusal {
	var broken refusal
	rule := func(text string) {
		broken = append(broken, problem{class: validationError, text: "Value error, " + text})
	}
	if c.userDefinition() == "" && len(c.definition) == 0 && !c.misshapen {
		rule("A task definition must be provided if a task definition ARN is not present on the task run request.")
	}
	containers := objects(c.definition["containerDefinitions"])
	essential := len(containers) == 0
	for _, container := range containers {
		essential = essential || container["essential"] != false
	}
	if !essential {
		rule("At least one container in the task definition must be marked as essential.")
	}
	if c.logs && c.executionRole == "" && c.userDefinition() == "" && stringField(c.definition, "executionRoleArn") == "" {
		rule("An `execution_role_arn` must be provided to use `configure_cloudwatch_logs` or `stream_logs`.")
	}
	if len(c.logsOptions) > 0 && !c.logs {
		rule("`configure_cloudwatch_log` must be enabled to use `cloudwatch_logs_options`.")
	}
	if len(c.network) > 0 && c.vpcID == "" {
		rule("You must provide a `vpc_id` to enable custom `network_configuration`.")
	}
	return broken
}

// reader reads typed fields of job_configuration and collects what is wrong,
// and what is right but of no use.
type reader struct {
	object   map[string]any
	problems refusal
	warnings []string
}

// problem notes what is wrong with a field, in the form of Python's validation.
func (r *reader) problem(path, text string) {
	r.problems = append(r.problems, problem{class: validationError, field: path, text: text})
}

// What Python's validation says of values of another type than they should be.
const (
	noString     = "Input should be a valid string"
	noBoolean    = "Input should be a valid boolean"
	strangeValue = noBoolean + ", unable to interpret input"
	noDictionary = "Input should be a valid dictionary"
	noList       = "Input should be a valid list"
)

func (r *reader) warn(path, what string) {
	r.warnings = append(r.warnings, "job_configuration."+path+": "+what)
}

func (r *reader) string(key string) string {
	return r.stringAt(r.object, key, key)
}

func (r *reader) stringAt(object map[string]any, key, path string) string {
	s, ok := object[key].(string)
	if !ok && object[key] != nil {
		r.problem(path, noString)
	}
	return s
}

func (r *reader) bool(key string) bool {
	return r.boolAt(r.object, key, key, false)
}

func (r *reader) boolAt(object map[string]any, key, path string, otherwise bool) bool {
	if object[key] == nil {
		return otherwise
	}
	value, ok := truth(object[key])
	if !ok {
		r.problem(path, notTrue(object[key]))
	}
	return value
}

func notTrue(value any) string {
	switch value.(type) {
	case map[string]any, []any:
		return noBoolean
	default:
		return strangeValue
	}
}

// truth takes the texts and numbers that Prefect takes for a boolean, too.
func truth(value any) (is, ok bool) {
	switch value := value.(type) {
	case bool:
		return value, true
	case string:
		switch strings.ToLower(value) {
		case "true", "t", "yes", "y", "on", "1":
			return true, true
		case "false", "f", "no", "n", "off", "0":
			return false, true
		}
		return false, false
	default:
		n, whole := wholeNumber(value)
		return n == 1, whole && (n == 0 || n == 1)
	}
}

func (r *reader) objectAt(key string) map[string]any {
	object, ok := r.object[key].(map[string]any)
	if !ok && r.object[key] != nil {
		r.problem(key, dictionaryFor(key))
	}
	return object
}

// dictionaryFor is what Python's validation wants of a field: some have a model
// of their own.
func dictionaryFor(key string) string {
	switch key {
	case "aws_credentials":
		return noDictionary + " or instance of AwsCredentials"
	case "aws_client_parameters":
		return noDictionary + " or instance of AwsClientParameters"
	case "assume_role_kwargs":
		return noDictionary + " or instance of AssumeRoleParameters"
	default:
		return noDictionary
	}
}

func (r *reader) strings(key string) map[string]string {
	out := map[string]string{}
	object := r.objectAt(key)
	for _, name := range sortedKeys(object) {
		out[name] = r.stringAt(object, name, key+"."+name)
	}
	return out
}

// checkShape looks for the lists and objects inside the requests that the
// launcher itself works on.
func (r *reader) checkShape(c *configuration) {
	r.listOfObjects(c.definition, "containerDefinitions", "task_definition")
	if c.request["taskDefinition"] != nil {
		r.stringAt(c.request, "taskDefinition", "task_run_request.taskDefinition")
	}
	r.stringAt(c.request, "cluster", "task_run_request.cluster")
	r.stringAt(c.request, "startedBy", "task_run_request.startedBy")
	r.stringAt(c.request, "launchType", "task_run_request.launchType")
	r.listOfObjects(c.request, "capacityProviderStrategy", "task_run_request")
	overrides, ok := c.request["overrides"].(map[string]any)
	if !ok && c.request["overrides"] != nil {
		r.problem("task_run_request.overrides", noDictionary)
	}
	r.listOfObjects(overrides, "containerOverrides", "task_run_request.overrides")
	for i, override := range objects(overrides["containerOverrides"]) {
		line, isText := override["command"].(string)
		if !isText {
			continue
		}
		if _, err := shellWords(line); err != nil {
			r.problems = append(r.problems, problem{class: valueError, text: fmt.Sprintf("%s (task_run_request.overrides.containerOverrides[%d].command cannot be split into words)", sentence(err), i)})
		}
	}
}

func (r *reader) listOfObjects(object map[string]any, key, path string) {
	value := object[key]
	if value == nil {
		return
	}
	list, ok := value.([]any)
	if !ok {
		r.problem(path+"."+key, noList)
		return
	}
	for i, item := range list {
		if _, ok := item.(map[string]any); !ok && item != nil {
			r.problem(fmt.Sprintf("%s.%s[%d]", path, key, i), noDictionary)
		}
	}
}
