package ecs

import (
	"context"
	"fmt"

	"golang.org/x/time/rate"
)

// governor holds calls back to what AWS grants an account, so that a burst
// waits here instead of being throttled there. One governor serves all
// goroutines of a launcher.
type governor struct {
	runTask              *rate.Limiter
	registerDefinition   *rate.Limiter
	deregisterDefinition *rate.Limiter
	describeDefinition   *rate.Limiter
	describeTasks        *rate.Limiter
	listTasks            *rate.Limiter
	stopTask             *rate.Limiter
	network              *rate.Limiter // DescribeVpcs, DescribeSubnets
	logs                 *rate.Limiter
}

// newGovernor is sized to the quotas that AWS documents for ECS on Fargate and
// for CloudWatch Logs, with some of each left to other clients.
func newGovernor() *governor {
	return &governor{
		runTask:              rate.NewLimiter(20, 20),
		registerDefinition:   rate.NewLimiter(1, 20),
		deregisterDefinition: rate.NewLimiter(1, 5),
		describeDefinition:   rate.NewLimiter(20, 50),
		describeTasks:        rate.NewLimiter(20, 50),
		listTasks:            rate.NewLimiter(20, 50),
		stopTask:             rate.NewLimiter(20, 40),
		network:              rate.NewLimiter(10, 20),
		logs:                 rate.NewLimiter(10, 10),
	}
}

// call waits for its turn and then makes the call. Calls that the SDK retries
// count once; its own back-off paces the rest.
func call[In, Out, Opt any](
	ctx context.Context, limiter *rate.Limiter,
	do func(context.Context, *In, ...Opt) (*Out, error), in *In,
) (*Out, error) {
	if err := takeTurn(ctx, limiter); err != nil {
		return nil, err
	}
	return do(ctx, in)
}

// takeTurn waits for the limiter. A deadline that would pass first is told at
// once, as what it is.
func takeTurn(ctx context.Context, limiter *rate.Limiter) error {
	err := limiter.Wait(ctx)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("wait for a turn at AWS: %w", context.DeadlineExceeded)
	}
	return err
}
