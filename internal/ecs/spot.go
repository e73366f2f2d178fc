package ecs

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"

	"faber/internal/launch"
)

// envSigterm tells `prefect flow-run execute` what SIGTERM means to it.
const (
	envSigterm = "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"

	// relinquish has it end without a word about the run's state, so that only
	// the worker, who sees the interruption, reschedules the run.
	relinquish = "relinquish"
)

// usesSpot reports whether a request may get capacity of Fargate that is taken away
// again. Without a launch type and a strategy the cluster's default decides, and
// nobody here knows it.
func usesSpot(request map[string]any, d *definition) bool {
	strategy := objects(request["capacityProviderStrategy"])
	if len(strategy) == 0 {
		return empty(request["launchType"]) && slices.Contains(d.compatibilities, fargate)
	}
	return namesSpot(strategy)
}

func namesSpot(strategy []map[string]any) bool {
	return slices.ContainsFunc(strategy, func(provider map[string]any) bool {
		return stringField(provider, "capacityProvider") == fargateSpot
	})
}

// leaveSpot has the last launch of a run go to capacity that stays. It reports
// whether that is other than what was asked for.
func leaveSpot(request map[string]any, job launch.Job) bool {
	if !job.Attempt.Last || !namesSpot(objects(request["capacityProviderStrategy"])) {
		return false
	}
	delete(request, "capacityProviderStrategy")
	request["launchType"] = fargate
	return true
}

// attemptNotes say in which way a launch is other than the run's first one.
func (c *configuration) attemptNotes(job launch.Job, d *definition) []string {
	var notes []string
	asked := copyObject(c.request)
	placeRequest(asked, d)
	if leaveSpot(asked, job) {
		notes = append(notes, "This is the flow run's last launch: it goes to FARGATE instead of FARGATE_SPOT, where no capacity is taken away.")
	}
	overrides, _ := asked["overrides"].(map[string]any)
	if size, climbs := c.climbed(overrides, job, d); climbs {
		notes = append(notes, fmt.Sprintf("Earlier launches of the flow run ran out of memory: it gets %d MiB now, by its %s.", size.memory, ladderKey))
	}
	return notes
}

// yieldOnSpot has the flow run's own process leave it to the worker what becomes
// of the run when its capacity is taken away; the user's word goes first.
func yieldOnSpot(request, orchestration map[string]any, job launch.Job, d *definition) {
	if !job.Attempt.Rescheduled || !usesSpot(request, d) || d.sets(stringField(orchestration, "name"), envSigterm) {
		return
	}
	environment, _ := orchestration["environment"].([]any)
	if containerVariable(environment, envSigterm) == nil {
		orchestration["environment"] = append(environment, map[string]any{"name": envSigterm, "value": relinquish})
	}
}

func containerVariable(environment []any, name string) map[string]any {
	for _, variable := range objects(environment) {
		if stringField(variable, "name") == name {
			return variable
		}
	}
	return nil
}

// sets reports whether a definition gives a container a variable.
func (d *definition) sets(container, variable string) bool {
	for _, defined := range d.containers {
		if aws.ToString(defined.Name) != container {
			continue
		}
		for _, v := range defined.Environment {
			if aws.ToString(v.Name) == variable {
				return true
			}
		}
		for _, s := range defined.Secrets {
			if aws.ToString(s.Name) == variable {
				return true
			}
		}
	}
	return false
}
