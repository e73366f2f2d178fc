// Package stack looks at a stack that is deployed: the worker's ECS service, its
// tasks, what ended them, and the logs. It reads and changes nothing.
package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"faber/internal/ecs/cause"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// ECS is what is asked of Amazon ECS; its client has all of it.
type ECS interface {
	DescribeServices(ctx context.Context, in *ecs.DescribeServicesInput, options ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error)
	DescribeTaskDefinition(ctx context.Context, in *ecs.DescribeTaskDefinitionInput, options ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error)
	DescribeTasks(ctx context.Context, in *ecs.DescribeTasksInput, options ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error)
	ListTasks(ctx context.Context, in *ecs.ListTasksInput, options ...func(*ecs.Options)) (*ecs.ListTasksOutput, error)
}

// Logs is what is asked of CloudWatch Logs; its client has all of it.
type Logs interface {
	FilterLogEvents(ctx context.Context, in *cloudwatchlogs.FilterLogEventsInput, options ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.FilterLogEventsOutput, error)
}

// Stack is one deployed stack.
type Stack struct {
	ECS     ECS
	Logs    Logs
	Cluster string // ARN
	Service string // name
}

// ErrNoService means that AWS does not know the service, or no longer.
var ErrNoService = errors.New("the service is not there")

// Service is the worker's ECS service as it is.
type Service struct {
	Name           string    `json:"name"`
	Status         string    `json:"status"` // ACTIVE, DRAINING, INACTIVE
	Desired        int       `json:"desired"`
	Running        int       `json:"running"`
	Pending        int       `json:"pending"`
	TaskDefinition string    `json:"task_definition"` // ARN
	Image          string    `json:"image"`           // of the worker; "" when it was not asked for
	Rollout        string    `json:"rollout"`         // COMPLETED, IN_PROGRESS, FAILED; "" where ECS does not say
	RolloutReason  string    `json:"rollout_reason"`
	Since          time.Time `json:"rollout_since"` // when the rollout in force began
	Events         []Event   `json:"events"`        // newest first
	deployments    int
}

// Event is what the service's scheduler says about itself.
type Event struct {
	At      time.Time `json:"at"`
	Message string    `json:"message"`
}

// Steady reports that the service runs what it should, and nothing of before.
func (s Service) Steady() bool {
	return s.Running == s.Desired && s.Pending == 0 && s.deployments == 1 && (s.Rollout == "COMPLETED" || s.Rollout == "")
}

// maxEvents is how many of the service's events are kept; ECS has a hundred.
const maxEvents = 10

// ReadService asks for the service.
func (s *Stack) ReadService(ctx context.Context) (Service, error) {
	out, err := s.ECS.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: aws.String(s.Cluster), Services: []string{s.Service}})
	if err != nil {
		return Service{}, fmt.Errorf("describe the service %s: %w", s.Service, err)
	}
	if len(out.Services) == 0 || aws.ToString(out.Services[0].Status) == "INACTIVE" {
		return Service{}, fmt.Errorf("%w: %s in %s", ErrNoService, s.Service, s.Cluster)
	}
	read := out.Services[0]
	service := Service{
		Name: aws.ToString(read.ServiceName), Status: aws.ToString(read.Status),
		Desired: int(read.DesiredCount), Running: int(read.RunningCount), Pending: int(read.PendingCount),
		TaskDefinition: aws.ToString(read.TaskDefinition), Events: []Event{}, deployments: len(read.Deployments),
	}
	for _, d := range read.Deployments {
		if aws.ToString(d.Status) == "PRIMARY" {
			service.Rollout, service.RolloutReason, service.Since = string(d.RolloutState), aws.ToString(d.RolloutStateReason), aws.ToTime(d.CreatedAt)
		}
	}
	for _, event := range read.Events[:min(len(read.Events), maxEvents)] {
		service.Events = append(service.Events, Event{At: aws.ToTime(event.CreatedAt), Message: aws.ToString(event.Message)})
	}
	return service, nil
}

// ReadImage is the image of the service's task definition.
func (s *Stack) ReadImage(ctx context.Context, taskDefinition string) (string, error) {
	out, err := s.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String(taskDefinition)})
	if err != nil {
		return "", fmt.Errorf("describe the task definition %s: %w", taskDefinition, err)
	}
	for _, container := range out.TaskDefinition.ContainerDefinitions {
		if aws.ToBool(container.Essential) || container.Essential == nil {
			return aws.ToString(container.Image), nil
		}
	}
	return "", nil
}

// Task is one task, of the service or a flow run's.
type Task struct {
	ID      string     `json:"id"`
	Status  string     `json:"status"` // ECS's lastStatus
	Health  string     `json:"health"`
	Zone    string     `json:"zone"`
	Started *time.Time `json:"started"`
	Stopped *time.Time `json:"stopped,omitempty"`

	// Of a stopped task: what ECS says, what that means, and what to do about it.
	Reason string `json:"reason,omitempty"`
	Cause  string `json:"cause,omitempty"`
	Hint   string `json:"hint,omitempty"`

	group string
}

// Tasks are the service's tasks that run or are on the way to it, oldest first.
func (s *Stack) Tasks(ctx context.Context) ([]Task, error) {
	return s.tasks(ctx, &ecs.ListTasksInput{Cluster: aws.String(s.Cluster), ServiceName: aws.String(s.Service)})
}

// StoppedTasks are the service's tasks that ended, newest first. ECS remembers them
// for an hour at least.
func (s *Stack) StoppedTasks(ctx context.Context) ([]Task, error) {
	list, err := s.tasks(ctx, &ecs.ListTasksInput{
		Cluster: aws.String(s.Cluster), ServiceName: aws.String(s.Service), DesiredStatus: ecstypes.DesiredStatusStopped,
	})
	list = slices.DeleteFunc(list, func(t Task) bool { return t.Stopped == nil && t.Reason == "" })
	slices.SortStableFunc(list, func(a, b Task) int { return moment(b.Stopped).Compare(moment(a.Stopped)) })
	return list, err
}

// OtherTasks are the tasks in the cluster that are not the service's: flow runs.
func (s *Stack) OtherTasks(ctx context.Context) ([]Task, error) {
	list, err := s.tasks(ctx, &ecs.ListTasksInput{Cluster: aws.String(s.Cluster)})
	return slices.DeleteFunc(list, func(t Task) bool { return strings.HasPrefix(t.group, "service:") }), err
}

// tasksPerCall is the most that DescribeTasks takes.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html
const tasksPerCall = 100

func (s *Stack) tasks(ctx context.Context, list *ecs.ListTasksInput) ([]Task, error) {
	tasks := []Task{}
	pages := ecs.NewListTasksPaginator(s.ECS, list, func(o *ecs.ListTasksPaginatorOptions) { o.Limit = tasksPerCall })
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the tasks of %s: %w", s.Cluster, err)
		}
		if len(page.TaskArns) == 0 {
			continue
		}
		out, err := s.ECS.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: aws.String(s.Cluster), Tasks: page.TaskArns})
		if err != nil {
			return nil, fmt.Errorf("describe tasks of %s: %w", s.Cluster, err)
		}
		for _, task := range out.Tasks {
			tasks = append(tasks, readTask(task))
		}
	}
	slices.SortStableFunc(tasks, func(a, b Task) int { return moment(a.Started).Compare(moment(b.Started)) })
	return tasks, nil
}

func moment(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func readTask(task ecstypes.Task) Task {
	arn := aws.ToString(task.TaskArn)
	read := Task{
		ID: arn[strings.LastIndex(arn, "/")+1:], Status: aws.ToString(task.LastStatus), Health: string(task.HealthStatus),
		Zone: aws.ToString(task.AvailabilityZone), Started: task.StartedAt, Stopped: task.StoppedAt, group: aws.ToString(task.Group),
	}
	if task.StoppedReason == nil && task.StopCode == "" {
		return read
	}
	report := cause.Report{
		Where: cause.Stopped, StopCode: string(task.StopCode), Message: aws.ToString(task.StoppedReason),
		Known: map[cause.Kind]string{cause.Cluster: aws.ToString(task.ClusterArn)},
	}
	reasons := []string{report.Message}
	for _, container := range task.Containers {
		report.Known[cause.Image] = aws.ToString(container.Image)
		if container.Reason != nil {
			report.Reasons = append(report.Reasons, *container.Reason)
			reasons = append(reasons, *container.Reason)
		}
		if container.ExitCode != nil {
			reasons = append(reasons, fmt.Sprintf("container %s ended with code %d", aws.ToString(container.Name), *container.ExitCode))
		}
	}
	result := cause.Classify(report)
	read.Reason = strings.Join(slices.DeleteFunc(reasons, func(r string) bool { return r == "" }), "; ")
	if result.Cause != cause.Unknown {
		read.Cause, read.Hint = string(result.Cause), result.Hint
	}
	return read
}
