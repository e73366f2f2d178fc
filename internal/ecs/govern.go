package ecs

import (
	"context"
	"errors"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"

	"faber/internal/ecs/cause"
	"faber/internal/launch"
)

// throttledTries bounds how often a call is made that AWS throttles, when nobody
// said until when to go on.
const throttledTries = 4

// isThrottle reports whether AWS refused a call for coming too soon, under
// whatever code: an EC2 API that answers "Rate exceeded" to ECS comes as an
// InvalidParameterException about a subnet. That somebody else registers a revision of
// the same family is no matter of rates: whoever registers looks what the other has
// made.
func isThrottle(err error) bool {
	return err != nil && errorCode(err) != "" && causeOf(err, nil, "").Cause == cause.RateLimited
}

type callerKey struct{}

// withCaller says for whom the calls under a context are made.
func withCaller(ctx context.Context, c caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

type bucketsKey struct{}

// govern has every try of every call that is made with a configuration take its
// turn, be it made by a pager or be it the SDK's own retry. It sits where no call
// can be made without it.
func (g *governors) govern(account string) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		err := stack.Initialize.Add(middleware.InitializeMiddlewareFunc("Throttled", g.repeatThrottled(account)), middleware.After)
		if err != nil {
			return err
		}
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Turn", g.takeTurn), "Retry", middleware.After)
	}
}

type (
	initializeFunc = func(context.Context, middleware.InitializeInput, middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error)
	finalizeOutput = middleware.FinalizeOutput
)

// repeatThrottled makes a throttled call again, with the same input. Each time it
// waits for a turn, which comes the later the more was throttled.
func (g *governors) repeatThrottled(account string) initializeFunc {
	return func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		governor := g.of(account, awsmiddleware.GetRegion(ctx))
		ctx = middleware.WithStackValue(ctx, bucketsKey{}, governor.forCall(awsmiddleware.GetOperationName(ctx), in.Parameters))
		until := callerOf(ctx).until
		var last error
		for tries := 1; ; tries++ {
			out, metadata, err := next.HandleInitialize(ctx, in)
			// Who registers one revision beside another looks for that one first.
			again := isThrottle(err) && !concurrent(err) && ctx.Err() == nil
			if !again || until.IsZero() && tries >= throttledTries || !until.IsZero() && !time.Now().Before(until) {
				return out, metadata, withLastWord(err, last)
			}
			last = err
		}
	}
}

// withLastWord adds what AWS said to the first tries, when the next one had no turn.
func withLastWord(err, last error) error {
	var failure *launch.Failure
	if last != nil && errors.As(err, &failure) {
		failure.Message += " Its last answer was: " + errorMessage(last)
		failure.Err = last
	}
	return err
}

// takeTurn waits for the turn of one try, and tells the buckets how it went.
func (g *governors) takeTurn(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (finalizeOutput, middleware.Metadata, error) {
	operation := awsmiddleware.GetOperationName(ctx)
	buckets, _ := middleware.GetStackValue(ctx, bucketsKey{}).([]*bucket)
	turns := make([]permit, len(buckets))
	for i, b := range buckets {
		var err error
		if turns[i], err = b.take(ctx, callerOf(ctx)); err != nil {
			for _, taken := range buckets[:i] {
				taken.giveBack()
			}
			return finalizeOutput{}, middleware.Metadata{}, err
		}
	}
	out, metadata, err := next.HandleFinalize(ctx, in)
	noteTry(ctx, err)
	throttle := isThrottle(err)
	for i, b := range buckets {
		// Which of its limits it was AWS does not say: the narrowest, which comes last.
		switch {
		case !throttle:
			b.accepted()
		case i == len(buckets)-1:
			b.throttled(turns[i])
		default:
			b.giveBack()
		}
	}
	g.metrics.made(operation, err, throttle)
	return out, metadata, err
}
