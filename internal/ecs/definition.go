package ecs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"faber/internal/launch"
)

// definition is a task definition as far as starting a task depends on it,
// whether it was made here or is the user's.
type definition struct {
	arn             string
	asked           string // how the configuration names it; "" when it was made here
	ours            bool   // made here, or by another worker like this one
	compatibilities []string
	networkMode     string
	executionRole   string
	cpu, memory     any // of the task, as they are written
	containers      []types.ContainerDefinition
	moved           map[string]map[string]bool // variables that a container has from here instead of from the overrides
}

// name is what tasks of the definition are asked for by: the user's own word for
// it, if there is one.
func (d *definition) name() string { return firstOf(d.asked, d.arn) }

// built is a task definition made from a job's configuration.
type built struct {
	family string
	hash   string // of everything that is registered
	input  *awsecs.RegisterTaskDefinitionInput
	shape  map[string]any
	moved  map[string]map[string]bool // by container: variables that were taken out of the overrides
}

// buildDefinition makes the task definition of a job. It holds nothing that
// belongs to one run alone, so that runs share it.
func (l *Launcher) buildDefinition(c *configuration, job launch.Job, region string) (*built, error) {
	shape := copyObject(c.definition)
	container, containers, err := orchestrationContainer(c, shape)
	if err != nil {
		return nil, err
	}
	if empty(container["image"]) {
		container["image"] = l.options.Image
	}
	dropNullEnvironment(container)
	if c.logs {
		container["logConfiguration"] = logConfiguration(c, job, region)
	}
	shape["containerDefinitions"] = asList(containers)
	shape["family"] = family(stringField(shape, "family"), job)
	size(c, shape, container)
	dropEmpty(shape)
	addSecrets(container, l.secrets(c))
	return finishDefinition(shape)
}

func finishDefinition(shape map[string]any) (*built, error) {
	input := &awsecs.RegisterTaskDefinitionInput{}
	if err := decodeInto(shape, input, "job_configuration.task_definition"); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(shape) // keys sorted: the same content has the same hash
	if err != nil {
		return nil, fmt.Errorf("encode task definition: %w", err)
	}
	sum := sha256.Sum256(encoded)
	return &built{
		family: aws.ToString(input.Family),
		hash:   hex.EncodeToString(sum[:]),
		input:  input,
		shape:  shape,
	}, nil
}

func (b *built) as(arn string, ours bool) *definition {
	d := &definition{
		arn:           arn,
		ours:          ours,
		networkMode:   string(b.input.NetworkMode),
		executionRole: aws.ToString(b.input.ExecutionRoleArn),
		containers:    b.input.ContainerDefinitions,
		moved:         b.moved,
		cpu:           b.shape["cpu"],
		memory:        b.shape["memory"],
	}
	for _, compatibility := range b.input.RequiresCompatibilities {
		d.compatibilities = append(d.compatibilities, string(compatibility))
	}
	return d
}

// orchestrationContainer finds, names or adds the container that executes the
// flow run, and returns it with all containers that are not empty.
func orchestrationContainer(c *configuration, shape map[string]any) (map[string]any, []map[string]any, error) {
	containers := filled(shape["containerDefinitions"])
	name := c.containerName
	if name == "" {
		name = defaultContainer
	}
	if container := containerNamed(containers, name); container != nil {
		return container, containers, nil
	}
	if name != defaultContainer {
		return nil, nil, fmt.Errorf("Container '%s' not found in task definition.", name)
	}
	if container := containerNamed(containers, ""); container != nil {
		container["name"] = name
		return container, containers, nil
	}
	container := map[string]any{"name": name}
	return container, append(containers, container), nil
}

// dropNullEnvironment removes variables that were set to null: ECS takes none.
func dropNullEnvironment(container map[string]any) {
	environment, ok := container["environment"].([]any)
	if !ok {
		return
	}
	container["environment"] = slices.DeleteFunc(environment, func(item any) bool {
		variable, ok := item.(map[string]any)
		return !ok || variable["value"] == nil
	})
}

func logConfiguration(c *configuration, job launch.Job, region string) map[string]any {
	prefix := c.logsPrefix
	if prefix == "" {
		prefix = fmt.Sprintf("prefect-logs_%s_%s", job.Pool.Name, owner(job))
	}
	options := map[string]any{
		"awslogs-create-group":  "true",
		"awslogs-group":         "prefect",
		"awslogs-region":        region,
		"awslogs-stream-prefix": prefix,
	}
	for name, value := range c.logsOptions {
		options[name] = value
	}
	return map[string]any{"logDriver": "awslogs", "options": options}
}

// owner is what a task definition belongs to: the deployment, or the flow of a
// run without one.
func owner(job launch.Job) string {
	if job.DeploymentID != "" {
		return job.DeploymentID
	}
	return job.FlowID
}

var (
	familyOthers = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)
	maxFamily    = 255
)

// family is the configured family, or one per deployment; what ECS does not
// allow in it becomes a dash.
func family(configured string, job launch.Job) string {
	if configured == "" {
		configured = fmt.Sprintf("prefect_%s_%s", job.Pool.Name, owner(job))
	}
	name := strings.Trim(familyOthers.ReplaceAllString(configured, "-"), "-")
	if len(name) > maxFamily {
		name = strings.TrimRight(name[:maxFamily], "-")
	}
	return name
}

// size puts CPU and memory where the launch type wants them: on the task for
// Fargate, on the container elsewhere.
func size(c *configuration, shape, container map[string]any) {
	var cpu, memory any = defaultCPU, defaultMemory
	if !empty(shape["cpu"]) {
		cpu = shape["cpu"]
	}
	if !empty(shape["memory"]) {
		memory = shape["memory"]
	}
	if !c.onFargate() {
		setDefault(container, "cpu", cpu)
		setDefault(container, "memory", memory)
		return
	}
	shape["cpu"], shape["memory"] = cpu, memory
	compatibilities, _ := shape["requiresCompatibilities"].([]any)
	if !slices.Contains(compatibilities, any(fargate)) {
		shape["requiresCompatibilities"] = append(compatibilities, fargate)
	}
	setDefault(shape, "networkMode", "awsvpc")
}

func setDefault(object map[string]any, key string, value any) {
	if empty(object[key]) {
		object[key] = value
	}
}

// onFargate tells whether tasks will run on Fargate, as far as the
// configuration alone tells.
func (c *configuration) onFargate() bool {
	switch stringField(c.request, "launchType") {
	case fargate, fargateSpot:
		return true
	case "":
	default:
		return false
	}
	for _, provider := range objects(c.request["capacityProviderStrategy"]) {
		name := stringField(provider, "capacityProvider")
		return name == fargate || name == fargateSpot
	}
	compatibilities, _ := c.definition["requiresCompatibilities"].([]any)
	return !slices.Contains(compatibilities, any(ec2Type))
}

// fits is checkDefinition with what to do.
func (c *configuration) fits(d *definition) error {
	if err := c.checkDefinition(d); err != nil {
		return refused(err, "Make the task definition fit the work pool's launch type, or the other way round.")
	}
	return nil
}

// checkDefinition refuses a task definition that cannot run under the
// configured launch type, in Prefect's words.
func (c *configuration) checkDefinition(d *definition) error {
	if c.logs && d.executionRole == "" {
		return errors.New("An execution role arn must be set on the task definition to use `configure_cloudwatch_logs` or `stream_logs` but no execution role was found on the task definition.")
	}
	launchType := stringField(c.request, "launchType")
	hasStrategy := !empty(c.request["capacityProviderStrategy"])
	needsEC2 := slices.Contains(d.compatibilities, ec2Type)
	if launchType == "" && !hasStrategy && !needsEC2 {
		launchType = fargate
	}
	if hasStrategy && launchType != fargateSpot || needsEC2 && launchType == "" {
		return nil
	}
	// EXTERNAL is asked for by its own name: Prefect's worker wants FARGATE there,
	// too, and so refuses every definition that is made for it.
	allowed := len(d.compatibilities) == 0 || slices.Contains(d.compatibilities, fargate) ||
		launchType == external && slices.Contains(d.compatibilities, external)
	if launchType != ec2Type && !allowed {
		return fmt.Errorf("Task definition does not have 'FARGATE' in 'requiresCompatibilities' and cannot be used with launch type '%s'", launchType)
	}
	onFargate := launchType == fargate || launchType == fargateSpot
	if onFargate && d.networkMode != "" && d.networkMode != "awsvpc" {
		return fmt.Errorf("Found network mode '%s' which is not compatible with launch type '%s'. Use either the 'EC2' launch type or the 'awsvpc' network mode.", d.networkMode, launchType)
	}
	return nil
}
