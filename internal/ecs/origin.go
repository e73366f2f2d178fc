package ecs

import (
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"faber/internal/launch"
)

// origin is what a task was started for.
type origin struct {
	arn, clusterARN, poolID        string
	flowRunID, claimID, workerName string
	startedAt                      time.Time
}

// originOf reads what a task was started for. The environment is asked first: it
// holds names as they are, while tags are sanitised.
func originOf(task types.Task) origin {
	o := origin{
		arn:        aws.ToString(task.TaskArn),
		clusterARN: aws.ToString(task.ClusterArn),
		poolID:     tagValue(task, tagPoolID),
		flowRunID:  firstOf(overrideValue(task, envFlowRunID), tagValue(task, tagFlowRunID)),
		claimID:    tagValue(task, tagClaim),
		workerName: firstOf(overrideValue(task, envWorkerName), tagValue(task, tagWorkerName)),
	}
	if id, ours := strings.CutPrefix(aws.ToString(task.StartedBy), startedBy("")); ours {
		o.poolID = id
	}
	if task.CreatedAt != nil {
		o.startedAt = *task.CreatedAt
	}
	return o
}

// of reports whether a task was started for a flow run of the pool.
func (o origin) of(pool launch.Pool) bool {
	_, ok := parseTaskARN(o.arn)
	return ok && o.poolID == pool.ID && o.flowRunID != ""
}

// foundHandle names a task as its launch did.
func (l *Launcher) foundHandle(b batch, pool launch.Pool, o origin) launch.Handle {
	cluster := b.cluster
	if literal(stringField(pool.Configuration, "cluster")) == "" {
		cluster = o.clusterARN
	}
	if parsed, ok := parseTaskARN(o.arn); ok {
		l.places.put(parsed.place(), place{b.on, pool.ID})
	}
	return launch.Handle{PID: cluster + pidSeparator + o.arn, FlowRunID: o.flowRunID, ClaimID: o.claimID, WorkerName: o.workerName, StartedAt: o.startedAt}
}

// Variables that tell what a task was started for.
const (
	envFlowRunID  = "PREFECT__FLOW_RUN_ID"
	envWorkerName = "PREFECT__WORKER_NAME"
)

func overrideValue(task types.Task, name string) string {
	if task.Overrides == nil {
		return ""
	}
	for _, override := range task.Overrides.ContainerOverrides {
		for _, variable := range override.Environment {
			if aws.ToString(variable.Name) == name {
				return aws.ToString(variable.Value)
			}
		}
	}
	return ""
}

func tagValue(task types.Task, key string) string {
	for _, t := range task.Tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

func firstOf(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}
