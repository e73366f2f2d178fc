package ecs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"

	"faber/internal/launch"
)

// buildRequest makes the RunTask request of a job from the templated one. The
// network is added later, as it may have to be looked up. Nothing in it may
// depend on when it is built: the same claim must give the same request.
func (c *configuration) buildRequest(job launch.Job, d *definition) (map[string]any, error) {
	request := copyObject(c.request)
	request["taskDefinition"] = d.name()
	if empty(request["cluster"]) && c.cluster != "" {
		request["cluster"] = c.cluster
	}
	placeRequest(request, d)
	leaveSpot(request, job)
	if err := c.overrideContainers(request, job, d); err != nil {
		return nil, err
	}
	var extra []tag
	if d.ours && c.deregister {
		extra = append(extra, tag{tagDeregister, "true"})
	}
	request["tags"] = tagsAsList(runTags(c.requestedTags(request["tags"]), job, extra...))
	if empty(request["startedBy"]) {
		request["startedBy"] = startedBy(job.Pool.ID)
	}
	request["clientToken"] = clientToken(job.FlowRunID, job.ClaimID)
	dropBlanks(request)
	return request, nil
}

// startedBy marks the tasks of a pool: it is the one filter of ListTasks that
// finds them all.
func startedBy(poolID string) string { return "faber/" + poolID }

// clientToken names a claim towards ECS, which starts one task per token.
func clientToken(flowRunID, claimID string) string {
	sum := sha256.Sum256([]byte(flowRunID + "/" + claimID))
	return hex.EncodeToString(sum[:])
}

// placeRequest settles launch type and capacity providers, of which ECS takes
// only one.
func placeRequest(request map[string]any, d *definition) {
	if empty(request["launchType"]) {
		delete(request, "launchType")
		if !slices.Contains(d.compatibilities, ec2Type) {
			request["launchType"] = fargate
		}
	}
	switch {
	case !empty(request["capacityProviderStrategy"]):
		delete(request, "launchType")
	case request["launchType"] == fargateSpot:
		delete(request, "launchType")
		request["capacityProviderStrategy"] = []any{map[string]any{"capacityProvider": fargateSpot, "weight": 1}}
	}
}

// overrideContainers shapes the container overrides: the job's command and
// environment go to the container that executes the flow run.
func (c *configuration) overrideContainers(request map[string]any, job launch.Job, d *definition) error {
	overrides, ok := request["overrides"].(map[string]any)
	if !ok {
		overrides = map[string]any{}
		request["overrides"] = overrides
	}
	dropBlanks(overrides)
	name := c.orchestrationName(d)
	containers := objects(overrides["containerOverrides"])
	dropNoSizes(overrides, containers)
	if len(containers) > 0 && empty(containers[0]["name"]) {
		containers[0]["name"] = name
	}
	orchestration := containerNamed(containers, name)
	if orchestration == nil {
		// Without its run's id and command the container could do nothing.
		orchestration = map[string]any{"name": name}
		containers = append(containers, orchestration)
	}
	orchestration["command"] = jobCommand(job)

	for i, container := range containers {
		if err := c.normaliseOverride(container, i); err != nil {
			return fmt.Errorf("%s (the command of container '%s' cannot be split into words)", sentence(err), stringField(containers[i], "name"))
		}
	}
	orchestration["environment"] = jobEnvironment(orchestration["environment"], job, c.handedOver(d, name))
	overrides["containerOverrides"] = asList(containers)
	c.climb(overrides, job, d)
	yieldOnSpot(request, orchestration, job, d)
	for _, container := range containers {
		dropMoved(container, d.moved[stringField(container, "name")])
	}
	return nil
}

// dropMoved takes out the variables that the container has from its definition.
func dropMoved(container map[string]any, moved map[string]bool) {
	environment, ok := container["environment"].([]any)
	if !ok || len(moved) == 0 {
		return
	}
	container["environment"] = slices.DeleteFunc(environment, func(item any) bool {
		variable, _ := item.(map[string]any)
		return moved[stringField(variable, "name")]
	})
}

// dropBlanks takes out what a template left without a value. An empty list is one.
func dropBlanks(object map[string]any) {
	maps.DeleteFunc(object, func(_ string, value any) bool { return value == nil || value == "" })
}

// dropNoSizes takes out a size of zero, which a template puts on the task and on
// its containers.
func dropNoSizes(overrides map[string]any, containers []map[string]any) {
	for _, key := range []string{"cpu", "memory"} {
		if _, given := overrides[key]; !given || !empty(overrides[key]) {
			continue
		}
		delete(overrides, key)
		for _, container := range containers {
			if empty(container[key]) {
				delete(container, key)
			}
		}
	}
}

func jobCommand(job launch.Job) string {
	if job.Command != "" {
		return job.Command
	}
	return defaultCommand
}

// orchestrationName is the container that executes the flow run: the
// configured one, else the one that the definition suggests.
func (c *configuration) orchestrationName(d *definition) string {
	if c.containerName != "" {
		return c.containerName
	}
	first := ""
	for _, container := range d.containers {
		name := aws.ToString(container.Name)
		if name == defaultContainer {
			return name
		}
		if first == "" {
			first = name
		}
	}
	if first != "" {
		return first
	}
	return defaultContainer
}

// normaliseOverride brings what users may write to what ECS takes: a command
// line to words, an object of variables to a list. Variables set to null go. There
// is an environment in any case, as in Prefect's requests.
func (c *configuration) normaliseOverride(container map[string]any, index int) error {
	dropBlanks(container)
	if line, ok := container["command"].(string); ok {
		words, err := shellWords(line)
		if err != nil {
			return err
		}
		list := make([]any, len(words))
		for i, word := range words {
			list[i] = word
		}
		container["command"] = list
	}
	if object, ok := container["environment"].(map[string]any); ok {
		list := []any{}
		for _, name := range c.keysOf(object, "task_run_request", "overrides", "containerOverrides", strconv.Itoa(index), "environment") {
			list = append(list, map[string]any{"name": name, "value": object[name]})
		}
		container["environment"] = list
	}
	if container["environment"] == nil {
		container["environment"] = []any{}
	}
	dropNullEnvironment(container)
	for _, variable := range objects(container["environment"]) {
		variable["value"] = text(variable["value"])
	}
	return nil
}

// jobEnvironment is the templated environment under the job's.
// What reaches the container as a secret is in neither.
func jobEnvironment(templated any, job launch.Job, handedOver map[string]bool) []any {
	inJob := map[string]bool{}
	for _, variable := range job.Env {
		inJob[variable.Name] = true
	}
	var out []any
	for _, variable := range objects(templated) {
		if name := stringField(variable, "name"); !inJob[name] && !handedOver[name] {
			out = append(out, variable)
		}
	}
	for _, variable := range job.Env {
		if !handedOver[variable.Name] {
			out = append(out, map[string]any{"name": variable.Name, "value": variable.Value})
		}
	}
	return out
}

func decodeRequest(request map[string]any) (*awsecs.RunTaskInput, error) {
	input := &awsecs.RunTaskInput{}
	if err := decodeInto(request, input, "job_configuration.task_run_request"); err != nil {
		return nil, err
	}
	return input, nil
}
