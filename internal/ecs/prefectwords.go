package ecs

import (
	"fmt"
	"strings"
)

// prefectWords give a refusal of AWS the words that Prefect's worker has for it,
// on which people search and automations match. What the refusal means is no
// matter of these: Prefect calls throttling by EC2 a network configuration error.
type prefectWords struct {
	matches func(error, *configuration) bool
	message func(cluster string, c *configuration, err error) string
}

func says(parts ...string) func(error, *configuration) bool {
	return func(err error, _ *configuration) bool {
		whole := strings.ToLower(err.Error())
		for _, part := range parts {
			if strings.Contains(whole, strings.ToLower(part)) {
				return true
			}
		}
		return false
	}
}

// words are a text of Prefect's worker, word for word, with what AWS said behind
// it.
func words(text string) func(string, *configuration, error) string {
	return func(_ string, _ *configuration, err error) string { return text + " (" + errorMessage(err) + ")" }
}

// ofCluster is such a text with the cluster's name in it.
func ofCluster(text string) func(string, *configuration, error) string {
	return func(cluster string, _ *configuration, err error) string {
		return fmt.Sprintf(text, cluster) + " (" + errorMessage(err) + ")"
	}
}

// inPrefectsWords is what Prefect's worker says of a refusal: AWS's own words
// mostly.
func inPrefectsWords(err error, c *configuration, cluster string) string {
	for _, w := range allPrefectWords {
		if w.matches(err, c) {
			return w.message(cluster, c, err)
		}
	}
	return describe(err)
}

// allPrefectWords are tried in order. The order matters: "capacity provider" may
// stand in a message about the network, and so on.
var allPrefectWords = []prefectWords{
	{
		says("ClusterNotFoundException"),
		ofCluster("Failed to run ECS task, cluster '%s' not found. Confirm that the cluster is configured in your region."),
	},
	{
		says("No Container Instances"),
		ofCluster("Failed to run ECS task, cluster '%s' does not appear to have any container instances associated with it. " +
			"Confirm that you have EC2 container instances available."),
	},
	{
		func(err error, c *configuration) bool {
			return c != nil && c.logs && says("failed to validate logger args")(err, c) && says("AccessDenied")(err, c)
		},
		func(_ string, c *configuration, err error) string {
			role := firstOf(c.executionRole, stringField(c.definition, "executionRoleArn"))
			if role != "" {
				role = " '" + role + "'"
			}
			return fmt.Sprintf("Failed to run ECS task, the attached execution role does not appear to have sufficient permissions. "+
				"Ensure that the execution role%s has permissions logs:CreateLogStream, logs:CreateLogGroup, and logs:PutLogEvents. (%s)", role, errorMessage(err))
		},
	},
	{
		says("TaskDefinition is inactive"),
		words("Failed to run ECS task, the task definition is inactive. Re-register the task definition or remove the " +
			"`task_definition_arn` from your work pool configuration to allow Prefect to register a new task definition automatically."),
	},
	{
		says("LimitExceededException", "reached the limit on the number of", "concurrently running tasks", "vCPU limit"),
		func(_ string, _ *configuration, err error) string { return describe(err) },
	},
	{
		says("no capacity", "Capacity is unavailable", "capacity provider"),
		words("Failed to run ECS task due to a capacity provider error. Verify that your Fargate or EC2 capacity providers are " +
			"correctly configured for the cluster and that the requested capacity is available."),
	},
	{
		func(err error, c *configuration) bool {
			return errorCode(err) == "InvalidParameterException" && says("subnet", "security group", "network")(err, c)
		},
		words("Failed to run ECS task due to a network configuration error. Verify the subnets and security groups in your work pool's " +
			"network configuration are valid and belong to the expected VPC."),
	},
}
