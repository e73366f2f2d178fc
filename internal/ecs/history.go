package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"faber/internal/launch"
)

// ended is a task of which all is known that there will ever be.
type ended struct {
	origin
	exit *launch.Exit
}

// Stopped lists the flow runs' tasks that are over or about to be, as ECS still
// knows them: for about an hour after their end. A family would narrow the list,
// but which one a run's task has depends on job variables that may have changed
// since; and startedBy goes with no other filter. So the clusters' stopped tasks
// are listed whole, and each is described once.
func (l *Launcher) Stopped(ctx context.Context, pool launch.Pool, flowRunIDs []string) ([]launch.Observation, error) {
	if len(flowRunIDs) == 0 {
		return nil, nil
	}
	places, err := l.whereToLook(ctx, pool)
	problems := []error{err}
	var seen []launch.Observation
	for _, b := range places {
		observations, err := l.stoppedIn(ctx, b, pool, flowRunIDs)
		if err != nil {
			problems = append(problems, fmt.Errorf("find stopped tasks in cluster %s: %w", b.cluster, err))
		}
		for _, o := range observations {
			if !slices.ContainsFunc(seen, func(other launch.Observation) bool { return sameTask(other.Handle.PID, o.Handle.PID) }) {
				seen = append(seen, o)
			}
		}
	}
	return seen, errors.Join(problems...)
}

func (l *Launcher) stoppedIn(ctx context.Context, b batch, pool launch.Pool, flowRunIDs []string) ([]launch.Observation, error) {
	arns, err := l.list(ctx, b, &awsecs.ListTasksInput{DesiredStatus: types.DesiredStatusStopped})
	if err != nil {
		return nil, err
	}
	var seen []launch.Observation
	note := func(o origin, phase launch.Phase, exit *launch.Exit) {
		if o.of(pool) && slices.Contains(flowRunIDs, o.flowRunID) {
			seen = append(seen, launch.Observation{Handle: l.foundHandle(b, pool, o), Phase: phase, Exit: exit})
		}
	}
	unknown := slices.DeleteFunc(arns, func(arn string) bool {
		known, ok := l.stopped.get(arn)
		if ok {
			note(known.origin, launch.PhaseStopped, known.exit)
		}
		return ok
	})
	tasks, err := l.describeAll(ctx, b, unknown)
	for _, task := range tasks {
		o, now := originOf(task), observe(launch.Handle{}, task)
		if now.Phase == launch.PhaseStopped {
			l.stopped.put(o.arn, ended{o, now.Exit})
		}
		note(o, now.Phase, now.Exit)
	}
	return seen, err
}
