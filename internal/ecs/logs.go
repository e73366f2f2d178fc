package ecs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"faber/internal/launch"
)

// logStream is where a container of a definition writes; the zero value is
// nowhere that can be read.
type logStream struct {
	group, prefix, region, container string
}

// logWriter is what writes a task's log.
type logWriter struct{ definition, container string }

func writerOf(task types.Task) logWriter {
	return logWriter{aws.ToString(task.TaskDefinitionArn), overriddenContainer(task)}
}

// maxLogEvents is the most that one GetLogEvents returns.
const maxLogEvents = 10_000

// Tail reads the newest lines of a task's log from CloudWatch Logs.
func (l *Launcher) Tail(ctx context.Context, handle launch.Handle, limit int) ([]launch.LogLine, error) {
	cluster, task, arn, ok := splitPID(handle.PID)
	if !ok || limit <= 0 {
		return nil, nil
	}
	on, err := l.clientsFor(ctx, task)
	if err != nil {
		return nil, err
	}
	stream, err := l.streamOf(ctx, on, cluster, arn)
	if err != nil || stream.group == "" {
		return nil, err
	}
	out, err := on.logs(firstOf(stream.region, task.region)).GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
		LogGroupName:  aws.String(stream.group),
		LogStreamName: aws.String(stream.prefix + "/" + stream.container + "/" + task.id),
		Limit:         aws.Int32(int32(min(limit, maxLogEvents))),
		StartFromHead: aws.Bool(false),
	})
	if errorCode(err) == "ResourceNotFoundException" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log group %s: %w", stream.group, err)
	}
	lines := make([]launch.LogLine, 0, len(out.Events))
	for _, event := range out.Events {
		lines = append(lines, launch.LogLine{
			At:   time.UnixMilli(aws.ToInt64(event.Timestamp)),
			Text: strings.TrimRight(aws.ToString(event.Message), "\r\n"),
		})
	}
	return lines[max(0, len(lines)-limit):], nil
}

// streamOf finds out where a task's container logs to.
func (l *Launcher) streamOf(ctx context.Context, on *clients, cluster, arn string) (logStream, error) {
	from, ok := l.writers.get(arn)
	if !ok {
		out, err := on.ecs.DescribeTasks(ctx, &awsecs.DescribeTasksInput{Cluster: aws.String(cluster), Tasks: []string{arn}})
		if code := errorCode(err); code == "ClusterNotFoundException" || code == "InvalidParameterException" {
			return logStream{}, nil
		}
		if err != nil {
			return logStream{}, fmt.Errorf("describe task %s: %w", arn, err)
		}
		if len(out.Tasks) == 0 {
			return logStream{}, nil
		}
		from = writerOf(out.Tasks[0])
	}
	definition, container := from.definition, from.container
	key := definition + " " + container
	if known, ok := l.logOptions.get(key); ok {
		return known, nil
	}
	described, err := l.describeDefinition(ctx, on, definition)
	if err != nil {
		return logStream{}, fmt.Errorf("describe task definition %s: %w", definition, err)
	}
	var stream logStream
	if described != nil {
		stream = streamIn(described.TaskDefinition.ContainerDefinitions, container)
	}
	l.logOptions.put(key, stream)
	return stream, nil
}

// streamIn picks the container that was given the flow run, else the one called
// prefect, else the only one.
func streamIn(containers []types.ContainerDefinition, name string) logStream {
	for _, wanted := range []string{name, defaultContainer} {
		for _, container := range containers {
			if wanted != "" && aws.ToString(container.Name) == wanted {
				return streamOptions(container)
			}
		}
	}
	if len(containers) == 1 {
		return streamOptions(containers[0])
	}
	return logStream{}
}

func streamOptions(container types.ContainerDefinition) logStream {
	logs := container.LogConfiguration
	if logs == nil || logs.LogDriver != types.LogDriverAwslogs {
		return logStream{}
	}
	stream := logStream{
		group:     logs.Options["awslogs-group"],
		prefix:    logs.Options["awslogs-stream-prefix"],
		region:    logs.Options["awslogs-region"],
		container: aws.ToString(container.Name),
	}
	if stream.prefix == "" { // then the stream is named after something only the host knows
		return logStream{}
	}
	return stream
}
