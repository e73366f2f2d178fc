package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/sync/errgroup"

	"faber/internal/launch"
)

const (
	describeBatch       = 100 // the most that one DescribeTasks takes
	describeConcurrency = 4
)

// batch is handles that one call can describe.
type batch struct {
	on      *clients
	cluster string
	handles []launch.Handle
}

// Describe observes handles, a hundred to a call. What it could not ask for is
// left out, and the error says why.
func (l *Launcher) Describe(ctx context.Context, handles []launch.Handle) ([]launch.Observation, error) {
	batches, seen, problems := l.batches(ctx, handles)
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(describeConcurrency)
	for _, b := range batches {
		group.Go(func() error {
			observations, err := l.describeBatch(ctx, b)
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, observations...)
			if err != nil {
				problems = append(problems, err)
			}
			return nil
		})
	}
	_ = group.Wait() // problems are collected one by one
	return seen, errors.Join(problems...)
}

// batches sorts handles by who may see them and by cluster. A PID that names
// no task cannot be found: it is missing.
func (l *Launcher) batches(ctx context.Context, handles []launch.Handle) (full []batch, missing []launch.Observation, problems []error) {
	var open []*batch
	for _, handle := range handles {
		cluster, task, _, ok := splitPID(handle.PID)
		if !ok {
			missing = append(missing, launch.Observation{Handle: handle, Phase: launch.PhaseMissing})
			continue
		}
		on, err := l.clientsFor(ctx, task)
		if err != nil {
			problems = append(problems, fmt.Errorf("describe task %s: %w", task.id, err))
			continue
		}
		at := slices.IndexFunc(open, func(b *batch) bool { return b.on == on && b.cluster == cluster })
		if at < 0 {
			open = append(open, &batch{on: on, cluster: cluster})
			at = len(open) - 1
		}
		b := open[at]
		if b.handles = append(b.handles, handle); len(b.handles) == describeBatch {
			full = append(full, *b)
			open = slices.Delete(open, at, at+1)
		}
	}
	for _, b := range open {
		full = append(full, *b)
	}
	return full, missing, problems
}

// clientsFor finds the clients that see a task: those that last launched in its
// place, else the machine's own, in the task's region.
func (l *Launcher) clientsFor(ctx context.Context, task taskARN) (*clients, error) {
	if known, ok := l.places.get(task.place()); ok {
		return known.on, nil
	}
	return l.clients.get(ctx, credentials{Region: task.region})
}

func (l *Launcher) describeBatch(ctx context.Context, b batch) ([]launch.Observation, error) {
	arns := make([]string, len(b.handles))
	for i, handle := range b.handles {
		_, _, arns[i], _ = splitPID(handle.PID)
	}
	out, err := b.on.ecs.DescribeTasks(ctx, &awsecs.DescribeTasksInput{
		Cluster: aws.String(b.cluster),
		Tasks:   arns,
		Include: []types.TaskField{types.TaskFieldTags},
	})
	switch code := errorCode(err); {
	case err == nil:
	case code == "ClusterNotFoundException":
		return allMissing(b.handles), nil
	case code == "InvalidParameterException" && len(b.handles) > 1:
		return l.describeHalves(ctx, b)
	case code == "InvalidParameterException":
		return allMissing(b.handles), nil
	default:
		return nil, fmt.Errorf("describe %d tasks in cluster %s: %w", len(arns), b.cluster, err)
	}
	return l.observations(ctx, b, arns, out)
}

// describeHalves keeps one identifier that ECS does not like from hiding
// ninety-nine others.
func (l *Launcher) describeHalves(ctx context.Context, b batch) ([]launch.Observation, error) {
	first, second := b, b
	first.handles, second.handles = b.handles[:len(b.handles)/2], b.handles[len(b.handles)/2:]
	seen, err := l.describeBatch(ctx, first)
	more, secondErr := l.describeBatch(ctx, second)
	return append(seen, more...), errors.Join(err, secondErr)
}

func allMissing(handles []launch.Handle) []launch.Observation {
	out := make([]launch.Observation, len(handles))
	for i, handle := range handles {
		out[i] = launch.Observation{Handle: handle, Phase: launch.PhaseMissing}
	}
	return out
}

func (l *Launcher) observations(ctx context.Context, b batch, arns []string, out *awsecs.DescribeTasksOutput) ([]launch.Observation, error) {
	tasks := map[string]types.Task{}
	for _, task := range out.Tasks {
		tasks[aws.ToString(task.TaskArn)] = task
	}
	failures := map[string]string{}
	for _, failure := range out.Failures {
		failures[aws.ToString(failure.Arn)] = aws.ToString(failure.Reason)
	}
	var seen []launch.Observation
	var problems []error
	for i, handle := range b.handles {
		task, found := tasks[arns[i]]
		reason, failed := failures[arns[i]]
		switch {
		case found:
			seen = append(seen, observe(handle, task))
			l.rememberTags(task)
			if phaseOf(task) == launch.PhaseStopped {
				l.writers.put(arns[i], writerOf(task))
			}
			l.deregisterAfter(ctx, b.on, task)
		case !failed || reason == "MISSING":
			seen = append(seen, launch.Observation{Handle: handle, Phase: launch.PhaseMissing})
		default:
			problems = append(problems, fmt.Errorf("describe task %s: %s", arns[i], reason))
		}
	}
	return seen, errors.Join(problems...)
}

func observe(handle launch.Handle, task types.Task) launch.Observation {
	o := launch.Observation{Handle: handle, Phase: phaseOf(task)}
	if o.Phase == launch.PhaseStopped {
		o.Exit = exitOf(task)
	}
	return o
}

// phaseOf maps the life of a task to the phases the worker tells apart. A task
// whose containers have ended is over, although Fargate takes half a minute more
// to give its network interface back before it says so.
func phaseOf(task types.Task) launch.Phase {
	switch aws.ToString(task.LastStatus) {
	case "PROVISIONING", "PENDING", "ACTIVATING":
		return launch.PhaseStarting
	case "STOPPED", "DELETED":
		return launch.PhaseStopped
	case "DEACTIVATING", "STOPPING", "DEPROVISIONING":
	default:
		if aws.ToString(task.DesiredStatus) != "STOPPED" {
			return launch.PhaseRunning
		}
	}
	if containersEnded(task) {
		return launch.PhaseStopped
	}
	return launch.PhaseStopping
}

// containersEnded reports whether it is settled how a task ends: why it stops,
// and the exit code of each container that decides.
func containersEnded(task types.Task) bool {
	judged := judgedContainers(task)
	if task.StopCode == "" || len(judged) == 0 {
		return false
	}
	return !slices.ContainsFunc(judged, func(c types.Container) bool {
		return aws.ToString(c.LastStatus) != "STOPPED" || c.ExitCode == nil
	})
}
