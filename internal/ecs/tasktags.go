package ecs

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// askTagsEvery is how often ECS is asked about tasks that nobody here remembers.
// What an event tells itself serves until then: at scale there must be no call for
// each event.
const askTagsEvery = 10 * time.Second

// mayAskTags reports whether it is time to ask, and takes note of it.
func (l *Launcher) mayAskTags() bool {
	now := time.Now().UnixNano()
	last := l.askedTags.Load()
	return now-last >= int64(l.options.askTags) && l.askedTags.CompareAndSwap(last, now)
}

// readTags finds the tags of the events' tasks. Those that this worker launches,
// launched or described are remembered: the first event of a task may come before
// ECS's answer. The others are asked for, a cluster at a time, if it is
// time for that; where they cannot be had, an event that names its flow run must do
// with what it tells. The error is for events that do not, and come again. A task
// that ECS does not know any more has no tags.
func (l *Launcher) readTags(ctx context.Context, events []taskEvent) (map[string]map[string]string, error) {
	found := map[string]map[string]string{}
	var unknown []taskEvent
	for _, event := range events {
		known, ok := l.tags.get(event.Detail.TaskARN)
		if !ok {
			known, ok = l.asked.get(event.ownLabels()[tagFlowRunID])
		}
		if ok {
			found[event.Detail.TaskARN] = known
		} else {
			unknown = append(unknown, event)
		}
	}
	if len(unknown) == 0 {
		return found, nil
	}
	problem := errAskedLately
	if l.mayAskTags() {
		problem = l.askTags(ctx, unknown, found)
	}
	if problem == nil {
		return found, nil
	}
	var unanswered error
	for _, event := range unknown {
		arn := event.Detail.TaskARN
		switch _, answered := found[arn]; {
		case answered:
		case event.ownLabels()[tagFlowRunID] != "", !strings.HasPrefix(event.Detail.StartedBy, startedBy("")):
			found[arn] = map[string]string{}
		default:
			unanswered = problem
		}
	}
	return found, unanswered
}

// errAskedLately says that tags were not asked for because others just were.
var errAskedLately = errors.New("others were asked for a moment ago")

// askTags reads the tags of the events' tasks into found.
func (l *Launcher) askTags(ctx context.Context, events []taskEvent, found map[string]map[string]string) error {
	asked := map[*clients]map[string][]string{}
	var problem error
	for _, event := range events {
		task, ok := parseTaskARN(event.Detail.TaskARN)
		if !ok {
			continue
		}
		on, err := l.clientsFor(ctx, task)
		if err != nil {
			problem = err
			continue
		}
		if asked[on] == nil {
			asked[on] = map[string][]string{}
		}
		asked[on][event.Detail.ClusterARN] = append(asked[on][event.Detail.ClusterARN], event.Detail.TaskARN)
	}
	for on, clusters := range asked {
		for cluster, arns := range clusters {
			if err := l.askTagsIn(ctx, on, cluster, arns, found); err != nil {
				problem = err
			}
		}
	}
	return problem
}

func (l *Launcher) askTagsIn(ctx context.Context, on *clients, cluster string, arns []string, found map[string]map[string]string) error {
	out, err := on.ecs.DescribeTasks(ctx, &awsecs.DescribeTasksInput{
		Cluster: aws.String(cluster), Tasks: arns, Include: []types.TaskField{types.TaskFieldTags},
	})
	if err != nil && transient(err) {
		return err
	}
	if err != nil {
		l.logger.Debug("cannot read the tags of tasks", "cluster", cluster, "error", err)
		return nil
	}
	for _, task := range out.Tasks {
		found[aws.ToString(task.TaskArn)] = l.rememberTags(task)
	}
	return nil
}

// rememberTags keeps the tags of a task that was described, for its events.
func (l *Launcher) rememberTags(task types.Task) map[string]string {
	arn := aws.ToString(task.TaskArn)
	if known, ok := l.tags.get(arn); ok {
		return known
	}
	tags := tagsOf(task.Tags)
	l.tags.put(arn, tags)
	return tags
}

func tagsOf(list []types.Tag) map[string]string {
	tags := make(map[string]string, len(list))
	for _, t := range list {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags
}
