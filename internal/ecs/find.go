package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"faber/internal/launch"
)

// Find lists the pool's tasks that are not stopped, in the cluster that the
// pool's configuration names and in every cluster that was launched in.
func (l *Launcher) Find(ctx context.Context, pool launch.Pool) ([]launch.Handle, error) {
	places, err := l.whereToLook(ctx, pool)
	if err != nil {
		return nil, err
	}
	var found []launch.Handle
	var problems []error
	for _, b := range places {
		handles, err := l.findIn(ctx, b, pool)
		if err != nil {
			problems = append(problems, fmt.Errorf("find tasks in cluster %s: %w", b.cluster, err))
		}
		for _, handle := range handles {
			if !slices.ContainsFunc(found, func(h launch.Handle) bool { return sameTask(h.PID, handle.PID) }) {
				found = append(found, handle)
			}
		}
	}
	return found, errors.Join(problems...)
}

func sameTask(a, b string) bool {
	_, _, first, _ := splitPID(a)
	_, _, second, _ := splitPID(b)
	return first == second
}

// whereToLook lists clusters with the clients that see them. The pool's own
// configuration comes first: its credentials are used when they hold no
// placeholder any more.
func (l *Launcher) whereToLook(ctx context.Context, pool launch.Pool) ([]batch, error) {
	r := reader{object: pool.Configuration}
	var block map[string]any
	if object, ok := pool.Configuration["aws_credentials"].(map[string]any); ok {
		block = object
	}
	c := parseCredentials(&r, block)
	if len(r.problems) > 0 {
		c = credentials{}
	}
	on, err := l.clients.get(ctx, c)
	if err != nil {
		return nil, err
	}
	if c.key() != (credentials{}).key() {
		l.poolCredentials.Store(&c)
	}
	cluster := literal(stringField(pool.Configuration, "cluster"))
	if request, ok := pool.Configuration["task_run_request"].(map[string]any); ok && cluster == "" {
		cluster = literal(stringField(request, "cluster"))
	}
	places := []batch{{on: on, cluster: orDefault(cluster)}}
	for name, known := range l.places.all() {
		parts := strings.Split(name, " ")
		if known.poolID != pool.ID || len(parts) != 3 || parts[2] == "" {
			continue
		}
		same := known.on == on && parts[2] == clusterName(orDefault(cluster))
		if !same {
			places = append(places, batch{on: known.on, cluster: parts[2]})
		}
	}
	return places, nil
}

func orDefault(cluster string) string {
	if cluster == "" {
		return "default"
	}
	return cluster
}

func clusterName(cluster string) string { return cluster[strings.LastIndex(cluster, "/")+1:] }

// literal is a value without placeholders, else "".
func literal(s string) string {
	if strings.Contains(s, "{{") {
		return ""
	}
	return s
}

func (l *Launcher) findIn(ctx context.Context, b batch, pool launch.Pool) ([]launch.Handle, error) {
	mark, byTag := poolMark(pool)
	pages := awsecs.NewListTasksPaginator(b.on.ecs, &awsecs.ListTasksInput{Cluster: aws.String(b.cluster), StartedBy: optional(mark)})
	var arns []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if errorCode(err) == "ClusterNotFoundException" {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		arns = append(arns, page.TaskArns...)
	}
	var found []launch.Handle
	for part := range slices.Chunk(arns, describeBatch) {
		out, err := b.on.ecs.DescribeTasks(ctx, &awsecs.DescribeTasksInput{
			Cluster: aws.String(b.cluster), Tasks: part, Include: []types.TaskField{types.TaskFieldTags},
		})
		if err != nil {
			return found, err
		}
		for _, task := range out.Tasks {
			if byTag && tagValue(task, tagPoolID) != pool.ID || phaseOf(task) == launch.PhaseStopped {
				continue
			}
			if handle, ok := l.foundHandle(b, pool, task); ok {
				found = append(found, handle)
			}
		}
	}
	return found, nil
}

// poolMark is the startedBy that the pool's tasks carry. Where the template
// sets its own, tags must tell the pools apart.
func poolMark(pool launch.Pool) (mark string, byTag bool) {
	request, _ := pool.Configuration["task_run_request"].(map[string]any)
	own := stringField(request, "startedBy")
	if own == "" {
		return startedBy(pool.ID), false
	}
	return literal(own), true
}

// foundHandle reads from a task what it was started for. The environment is
// asked first: it holds names as they are, while tags are sanitised.
func (l *Launcher) foundHandle(b batch, pool launch.Pool, task types.Task) (launch.Handle, bool) {
	arn := aws.ToString(task.TaskArn)
	parsed, ok := parseTaskARN(arn)
	if !ok {
		return launch.Handle{}, false
	}
	handle := launch.Handle{
		PID:        b.cluster + pidSeparator + arn,
		FlowRunID:  firstOf(overrideValue(task, envFlowRunID), tagValue(task, tagFlowRunID)),
		ClaimID:    tagValue(task, tagClaim),
		WorkerName: firstOf(overrideValue(task, envWorkerName), tagValue(task, tagWorkerName)),
	}
	if literal(stringField(pool.Configuration, "cluster")) == "" {
		handle.PID = aws.ToString(task.ClusterArn) + pidSeparator + arn
	}
	if task.CreatedAt != nil {
		handle.StartedAt = *task.CreatedAt
	}
	l.places.put(parsed.place(), place{b.on, pool.ID})
	return handle, handle.FlowRunID != ""
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
