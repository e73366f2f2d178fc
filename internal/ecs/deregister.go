package ecs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"faber/internal/launch"
)

// Each task of a job with auto_deregister_task_definition is marked, and the last
// one of a revision takes it along. A revision that is taken away too early harms
// nobody for good: tasks run on, and a launch that finds it gone registers anew.
// But then the deployment would get a revision for every few runs.

// deregisterAfter deregisters the definition of a stopped task that was marked
// for it. It is housekeeping: what fails here is left for the next look.
func (l *Launcher) deregisterAfter(ctx context.Context, on *clients, task types.Task) {
	definition := aws.ToString(task.TaskDefinitionArn)
	parsed, ok := parseTaskARN(aws.ToString(task.TaskArn))
	if ok && tagValue(task, tagDeregister) == "true" && phaseOf(task) == launch.PhaseStopped && definition != "" {
		_ = l.deregister(ctx, on, definition, parsed) // said there
	}
}

// deregister deregisters the definition of an ended task, once, unless another
// task or launch uses it: that one is marked, too.
func (l *Launcher) deregister(ctx context.Context, on *clients, arn string, after taskARN) error {
	if l.ended.has(arn) || l.launching.has(arn) {
		return nil
	}
	used, err := l.inUse(ctx, on, arn, after)
	if err != nil && transient(err) {
		return fmt.Errorf("look for tasks of task definition %s: %w", arn, err)
	}
	if used || !l.ended.first(arn) {
		return nil
	}
	l.forgetDefinition(arn)
	_, err = on.ecs.DeregisterTaskDefinition(ctx, &awsecs.DeregisterTaskDefinitionInput{TaskDefinition: aws.String(arn)})
	if err != nil {
		if transient(err) {
			l.ended.forget(arn)
		}
		l.logger.Warn("cannot deregister a task definition", "task_definition", arn, "error", err)
		return fmt.Errorf("deregister task definition %s: %w", arn, err)
	}
	l.logger.Info(fmt.Sprintf("Task definition %s successfully deregistered", arn))
	return nil
}

// inUse reports whether another task of the cluster is to run with a definition.
func (l *Launcher) inUse(ctx context.Context, on *clients, arn string, after taskARN) (bool, error) {
	family, _, _ := strings.Cut(arn[strings.LastIndex(arn, "/")+1:], ":")
	input := &awsecs.ListTasksInput{Cluster: optional(after.cluster), Family: aws.String(family)}
	for {
		page, err := on.ecs.ListTasks(ctx, input)
		if err != nil {
			return false, err
		}
		others := slices.DeleteFunc(page.TaskArns, func(other string) bool { return strings.HasSuffix(other, "/"+after.id) })
		if len(others) > 0 {
			used, err := l.anyWith(ctx, on, after.cluster, others, arn)
			if used || err != nil {
				return used, err
			}
		}
		if input.NextToken = page.NextToken; aws.ToString(page.NextToken) == "" {
			return false, nil
		}
	}
}

// anyWith reports whether one of up to a hundred tasks has a definition.
func (l *Launcher) anyWith(ctx context.Context, on *clients, cluster string, tasks []string, definition string) (bool, error) {
	out, err := on.ecs.DescribeTasks(ctx, &awsecs.DescribeTasksInput{Cluster: optional(cluster), Tasks: tasks})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(out.Tasks, func(task types.Task) bool {
		return aws.ToString(task.TaskDefinitionArn) == definition && phaseOf(task) != launch.PhaseStopped
	}), nil
}
