package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"faber/internal/launch"
)

// Find lists the pool's tasks that are not stopped, in the cluster that the
// pool's configuration names, in the pool's further places and in every cluster
// that was launched in.
func (l *Launcher) Find(ctx context.Context, pool launch.Pool) ([]launch.Handle, error) {
	places, err := l.whereToLook(ctx, pool)
	if places == nil {
		return nil, err
	}
	problems := []error{err}
	var found []launch.Handle
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

// findIn finds the pool's tasks in one cluster. What a task was started for never
// changes, so that each is described once.
func (l *Launcher) findIn(ctx context.Context, b batch, pool launch.Pool) ([]launch.Handle, error) {
	arns, err := l.listMarked(ctx, b, pool)
	if err != nil {
		return nil, err
	}
	var found []launch.Handle
	unknown := slices.DeleteFunc(slices.Clone(arns), func(arn string) bool {
		known, ok := l.found.get(arn)
		if ok && known.of(pool) {
			found = append(found, l.foundHandle(b, pool, known))
		}
		return ok
	})
	tasks, err := l.describeAll(ctx, b, unknown)
	for _, task := range tasks {
		origin := originOf(task)
		l.found.put(origin.arn, origin)
		if origin.of(pool) && phaseOf(task) != launch.PhaseStopped {
			found = append(found, l.foundHandle(b, pool, origin))
		}
	}
	return found, err
}

// listMarked lists the tasks of a cluster that may be the pool's: those with one
// of its marks, or all when marks cannot tell.
func (l *Launcher) listMarked(ctx context.Context, b batch, pool launch.Pool) ([]string, error) {
	marks, all := l.marks(pool)
	if all {
		return l.list(ctx, b, &awsecs.ListTasksInput{})
	}
	var arns []string
	for _, mark := range marks {
		listed, err := l.list(ctx, b, &awsecs.ListTasksInput{StartedBy: aws.String(mark)})
		if err != nil {
			return nil, err
		}
		arns = append(arns, listed...)
	}
	slices.Sort(arns)
	return slices.Compact(arns), nil
}

// marks are the startedBy that the pool's tasks carry: the launcher's own, the one
// that the template sets, and those that were launched with. Where deployments may
// set theirs, only tags tell whose a task is.
func (l *Launcher) marks(pool launch.Pool) (marks []string, all bool) {
	marks = []string{startedBy(pool.ID)}
	add := func(mark string) {
		all = all || mark != literal(mark)
		if mark != "" && !slices.Contains(marks, mark) {
			marks = append(marks, mark)
		}
	}
	request, _ := pool.Configuration["task_run_request"].(map[string]any)
	add(stringField(request, "startedBy"))
	if template := l.template.Load(); template != nil {
		request, _ := (*template)["task_run_request"].(map[string]any)
		add(stringField(request, "startedBy"))
	}
	for mark, poolID := range l.ownMarks.all() {
		if poolID == pool.ID {
			add(mark)
		}
	}
	return marks, all
}

// list lists tasks of a cluster; a cluster that does not exist has none.
func (l *Launcher) list(ctx context.Context, b batch, input *awsecs.ListTasksInput) ([]string, error) {
	input.Cluster = aws.String(b.cluster)
	var arns []string
	for {
		page, err := b.on.ecs.ListTasks(ctx, input)
		if errorCode(err) == "ClusterNotFoundException" {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		arns = append(arns, page.TaskArns...)
		if input.NextToken = page.NextToken; aws.ToString(page.NextToken) == "" {
			return arns, nil
		}
	}
}

// describeAll describes tasks with their tags.
func (l *Launcher) describeAll(ctx context.Context, b batch, arns []string) ([]types.Task, error) {
	var tasks []types.Task
	for part := range slices.Chunk(arns, describeBatch) {
		out, err := b.on.ecs.DescribeTasks(ctx, &awsecs.DescribeTasksInput{
			Cluster: aws.String(b.cluster), Tasks: part, Include: []types.TaskField{types.TaskFieldTags},
		})
		if err != nil {
			return tasks, err
		}
		tasks = append(tasks, out.Tasks...)
	}
	return tasks, nil
}
