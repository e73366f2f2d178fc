package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"faber/internal/infra"
	"faber/internal/prefect"
	"faber/internal/stack"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// deployedStack is the stack that outputs tell of, in AWS.
func deployedStack(ctx context.Context, outputs infra.Outputs) (*stack.Stack, error) {
	cluster := outputs.String("cluster_arn")
	machine, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(arnRegion(cluster)))
	if err != nil {
		return nil, &UserError{Message: fmt.Sprintf("read the AWS configuration: %s", err), Hint: "check AWS_PROFILE, AWS_CONFIG_FILE and the files under ~/.aws", Code: exitUsage, Err: err}
	}
	return &stack.Stack{
		ECS:     ecs.NewFromConfig(machine),
		Logs:    cloudwatchlogs.NewFromConfig(machine),
		Cluster: cluster, Service: outputs.String("service_name"),
	}, nil
}

// awsError is an error of a call to AWS with what to do about it.
func awsError(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	hint := "check that the AWS credentials are for the account and allow reading: docs/aws.md lists what each command calls"
	if errors.Is(err, stack.ErrNoService) {
		hint = "'faber plan' tells whether AWS is still as terraform's state says"
	}
	return &UserError{Message: err.Error(), Hint: hint, Err: err}
}

// onlineWorker is a worker of the pool that is ONLINE and was heard of after a
// moment: a worker of a task that has just ended counts as online for a while.
func onlineWorker(ctx context.Context, client *prefect.Client, pool string, since time.Time) (string, error) {
	workers, err := client.Workers(ctx, pool)
	if errors.Is(err, prefect.ErrNotFound) {
		return "", nil // no pool yet: the worker makes it
	}
	for _, w := range workers {
		if w.Status == "ONLINE" && w.LastHeartbeat != nil && w.LastHeartbeat.After(since) {
			return w.Name, nil
		}
	}
	return "", err
}

// began is when the first of the service's tasks that run now was started.
func began(tasks []stack.Task) (time.Time, bool) {
	for _, t := range tasks {
		if t.Status == "RUNNING" && t.Started != nil {
			return aws.ToTime(t.Started), true
		}
	}
	return time.Time{}, false
}
