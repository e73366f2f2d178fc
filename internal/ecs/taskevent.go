package ecs

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"faber/internal/launch"
)

const taskStateChange = "ECS Task State Change"

// taskEvent is what is read of an EventBridge event.
type taskEvent struct {
	ID         string `json:"id"`
	DetailType string `json:"detail-type"`
	Time       string `json:"time"`
	Detail     struct {
		TaskARN       string `json:"taskArn"`
		ClusterARN    string `json:"clusterArn"`
		DefinitionARN string `json:"taskDefinitionArn"`
		LastStatus    string `json:"lastStatus"`
		StartedBy     string `json:"startedBy"`
		Group         string `json:"group"`
		Overrides     struct {
			Containers []struct {
				Environment []struct{ Name, Value string } `json:"environment"`
			} `json:"containerOverrides"`
		} `json:"overrides"`
	} `json:"detail"`
}

// readEvent reads a message. It reports false for what cannot be about a flow
// run: other events, and tasks of services, this worker's own among them.
func readEvent(body string) (taskEvent, bool, error) {
	var event taskEvent
	if err := json.Unmarshal([]byte(body), &event); err != nil {
		return taskEvent{}, false, err
	}
	d := &event.Detail
	service := strings.HasPrefix(d.Group, "service:") || strings.HasPrefix(d.StartedBy, "ecs-svc/")
	return event, event.DetailType == taskStateChange && d.TaskARN != "" && d.ClusterARN != "" && !service, nil
}

// envLabels are the labels that stand for variables of a flow run's environment,
// which a task's event shows when the task itself cannot be asked any more.
var envLabels = map[string]string{
	envFlowRunID:               tagFlowRunID,
	envWorkerName:              tagWorkerName,
	"PREFECT__FLOW_ID":         "prefect.io/flow-id",
	"PREFECT__FLOW_NAME":       "prefect.io/flow-name",
	"PREFECT__DEPLOYMENT_ID":   "prefect.io/deployment-id",
	"PREFECT__DEPLOYMENT_NAME": "prefect.io/deployment-name",
}

// ownLabels are the labels that the event itself tells.
func (e *taskEvent) ownLabels() map[string]string {
	labels := map[string]string{}
	for _, container := range e.Detail.Overrides.Containers {
		for _, variable := range container.Environment {
			if label := envLabels[variable.Name]; label != "" {
				labels[label] = variable.Value
			}
		}
	}
	return labels
}

// hint is what the worker is told. It reports false for tasks that are nobody's
// flow run.
func (e *taskEvent) hint(tags map[string]string) (launch.Hint, bool) {
	own := e.ownLabels()
	hint := launch.Hint{
		PID:       e.Detail.ClusterARN + pidSeparator + e.Detail.TaskARN,
		FlowRunID: firstOf(own[tagFlowRunID], tags[tagFlowRunID]),
	}
	if tags[tagFlowRunID] == "" {
		tags = own
	}
	if tags[tagFlowRunID] != "" {
		hint.Event = e.replica(tags)
	}
	return hint, hint.FlowRunID != "" || strings.HasPrefix(e.Detail.StartedBy, startedBy(""))
}

// replica is the event for those who watch Prefect's; nil when it lacks what
// such an event must have.
func (e *taskEvent) replica(labels map[string]string) *launch.Event {
	if _, err := uuid.Parse(e.ID); err != nil || e.Detail.LastStatus == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, e.Time)
	if err != nil {
		at = time.Now()
	}
	status := strings.ToLower(e.Detail.LastStatus)
	replica := &launch.Event{
		ID:   e.ID,
		At:   at,
		Name: "prefect.ecs.task." + status,
		Resource: map[string]string{
			"prefect.resource.id": "prefect.ecs.task." + e.Detail.TaskARN[strings.LastIndex(e.Detail.TaskARN, "/")+1:],
			"ecs.taskArn":         e.Detail.TaskARN,
			"ecs.clusterArn":      e.Detail.ClusterARN,
		},
		Labels: labels,
	}
	if e.Detail.DefinitionARN != "" {
		replica.Resource["ecs.taskDefinitionArn"] = e.Detail.DefinitionARN
	}
	if status == "provisioning" || status == "pending" {
		replica.Pending = "ECS task is " + status + "."
	}
	return replica
}
