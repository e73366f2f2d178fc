package ecs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"

	"faber/internal/launch"
)

// stopReason is what ECS shows; users of Prefect's worker filter on it. The
// worker's own reason stands in the log.
const stopReason = "Stopped by Prefect worker"

// Stop asks ECS to stop the task. How long its containers have between SIGTERM
// and SIGKILL is their definition's stopTimeout (30 s by default), whatever
// the grace. A task that ECS does not know is as good as stopped.
func (l *Launcher) Stop(ctx context.Context, handle launch.Handle, reason string, _ time.Duration) error {
	cluster, task, arn, ok := splitPID(handle.PID)
	if !ok {
		return nil
	}
	on, err := l.clientsFor(ctx, task)
	if err != nil {
		return err
	}
	_, err = on.ecs.StopTask(ctx, &awsecs.StopTaskInput{
		Cluster: aws.String(cluster),
		Task:    aws.String(arn),
		Reason:  aws.String(stopReason),
	})
	if isUnknownTask(err) {
		l.logger.Info(fmt.Sprintf("ECS task '%s' not found in cluster '%s'", arn, cluster), "flow_run", handle.FlowRunID, "reason", reason)
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop task %s: %w", arn, err)
	}
	l.logger.Info(fmt.Sprintf("Stopped ECS task '%s' in cluster '%s'", arn, cluster), "flow_run", handle.FlowRunID, "reason", reason)
	return nil
}

func isUnknownTask(err error) bool {
	switch errorCode(err) {
	case "ClusterNotFoundException", "ResourceNotFoundException":
		return true
	case "InvalidParameterException":
		return strings.Contains(strings.ToLower(errorMessage(err)), "task was not found")
	default:
		return false
	}
}
