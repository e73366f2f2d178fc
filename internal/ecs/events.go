package ecs

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	receiveBatch      = 10 // the most that SQS gives at once
	receiveWait       = 20 * time.Second
	receiveVisibility = 2 * time.Minute  // what was received by an answer that was lost comes again then
	extendEvery       = 80 * time.Second // well before a message shows again
	extendAgain       = 5 * time.Second  // after one that failed
	mostDelete        = 30 * time.Second
	missingQueueWait  = time.Minute
	firstQueueBackoff = 2 * time.Second
	deleteTimeout     = 2 * time.Second // from the worker's end, for what was handed over
	maxQueueBackoff   = 32 * time.Second

	maxHelpers   = 3 // receivers beside the one that is always there
	helperWait   = time.Second
	mostReceives = 10 // before a queue is taken to have no dead-letter queue: what the console of SQS suggests
)

// EventStats counts what came over the event queue.
type EventStats struct {
	Received  int64 // messages
	Handed    int64 // hints that were handed over
	Malformed int64 // messages that are no events; they are left to the queue's dead-letter queue
	Foreign   int64 // messages about anything but flow runs; they are deleted
}

type eventCounters struct{ received, handed, malformed, foreign atomic.Int64 }

// EventStats returns the counts since the launcher was made.
func (l *Launcher) EventStats() EventStats {
	return EventStats{
		Received:  l.events.received.Load(),
		Handed:    l.events.handed.Load(),
		Malformed: l.events.malformed.Load(),
		Foreign:   l.events.foreign.Load(),
	}
}

// consumer reads the event queue, hands hints to the worker, and deregisters
// the definitions that were marked for it. A message is deleted when all of
// that is done. Whatever goes wrong here costs time, not runs: the worker's
// sweep finds ended tasks, too.
type consumer struct {
	launcher *Launcher
	logger   *slog.Logger
	queue    *queue      // nil while it is not found
	missing  atomic.Bool // the queue was reported missing
	trouble  string      // what was last reported to be wrong
	handed   onceSet     // events whose hint was taken, by id: deleting them may have failed

	helpers atomic.Int32 // that work off a backlog beside run
	helping sync.WaitGroup
}

// queue is a queue that was found.
type queue struct {
	client *sqs.Client
	url    string
}

func newConsumer(l *Launcher) *consumer {
	return &consumer{launcher: l, logger: l.logger.With("queue", l.options.Queue)}
}

// run reads until the context ends. It pauses longer and longer while that
// fails, and never gives up.
func (c *consumer) run(ctx context.Context) {
	defer c.helping.Wait()
	backoff := c.launcher.options.queueBackoff
	for ctx.Err() == nil {
		err := c.round(ctx)
		if err != nil {
			c.launcher.fresh.failed(err)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			backoff = c.launcher.options.queueBackoff
			c.recovered()
		case isMissingQueue(err):
			c.reportMissing()
			c.queue = nil
			pause(ctx, c.launcher.options.queueWait)
		default:
			c.reportTrouble(err, backoff)
			pause(ctx, backoff)
			backoff = min(2*backoff, maxQueueBackoff)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func isMissingQueue(err error) bool {
	code := errorCode(err)
	return strings.HasSuffix(code, "NonExistentQueue") || code == "QueueDoesNotExist"
}

// reportMissing says once, in the words of Prefect's worker, that there is no
// queue.
func (c *consumer) reportMissing() {
	if !c.missing.CompareAndSwap(false, true) {
		return
	}
	hint := "create the queue and its EventBridge rule, or correct the queue's name or region; it is picked up when it appears"
	if c.launcher.options.QueueOptional {
		hint = "faber finds ended tasks without a queue, by looking at them from time to time; a queue makes that quicker, and is picked up when it appears"
	}
	c.logger.Warn(fmt.Sprintf("SQS queue '%s' does not exist in region '%s'. This worker will continue to submit ECS tasks, but event replication "+
		"and crash detection will not work. To enable ECS event replication and crash detection, deploy an SQS queue using "+
		"`prefect-aws ecs-worker deploy-events` and configure the PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME environment "+
		"variable on your worker to point to the deployed queue.", c.launcher.options.Queue, firstOf(c.launcher.options.QueueRegion, "default")), "hint", hint)
}

// reportTrouble warns of what is wrong, once for as long as it stays the same.
func (c *consumer) reportTrouble(err error, retryIn time.Duration) {
	level := slog.LevelWarn
	if what := errorCode(err) + " " + describe(err); what != c.trouble {
		c.trouble = what
	} else {
		level = slog.LevelDebug
	}
	c.logger.Log(context.Background(), level, "cannot read the event queue; the sweep finds ended tasks meanwhile", "error", err, "retry_in", retryIn)
}

func (c *consumer) recovered() {
	if c.trouble != "" {
		c.trouble = ""
		c.logger.Info("the event queue is read again")
	}
}

// round receives one batch, and calls for help when there is more.
func (c *consumer) round(ctx context.Context) error {
	if err := c.connect(ctx); err != nil {
		return err
	}
	n, err := c.receive(ctx, c.queue, receiveWait)
	if n == receiveBatch {
		c.workOff(ctx, *c.queue)
	}
	return err
}

// workOff has helpers receive beside run, until nothing is left for one of them.
// What goes wrong with them goes wrong with run, too, which sees to it.
func (c *consumer) workOff(ctx context.Context, q queue) {
	for c.helpers.Add(1) <= maxHelpers {
		c.helping.Go(func() {
			defer c.helpers.Add(-1)
			for ctx.Err() == nil {
				if n, err := c.receive(ctx, &q, helperWait); n == 0 || err != nil {
					return
				}
			}
		})
	}
	c.helpers.Add(-1)
}

// receive takes a batch of messages out of the queue and deals with it. It returns
// how many there were.
func (c *consumer) receive(ctx context.Context, q *queue, wait time.Duration) (int, error) {
	out, err := q.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    aws.String(q.url),
		MaxNumberOfMessages:         receiveBatch,
		WaitTimeSeconds:             int32(wait / time.Second),
		VisibilityTimeout:           int32(receiveVisibility / time.Second),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	})
	if err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	c.launcher.fresh.received()
	if c.missing.CompareAndSwap(true, false) {
		c.logger.Info("the event queue has appeared")
	}
	if len(out.Messages) == 0 {
		return 0, nil
	}
	release := c.hold(ctx, q, out.Messages)
	done, back := c.handle(ctx, out.Messages)
	release()
	c.giveBack(ctx, q, back)
	return len(out.Messages), c.delete(ctx, q, done)
}

// connect finds the queue. The worker's own credentials come first: the queue
// is the worker's, not the pool's. Where they find none, those of the work pool
// may: its tasks, and so their events, can be in another account.
func (c *consumer) connect(ctx context.Context) error {
	if c.queue != nil {
		return nil
	}
	identities := []credentials{{}}
	if pool := c.launcher.poolCredentials.Load(); pool != nil {
		identities = append(identities, *pool)
	}
	var first error
	for _, identity := range identities {
		err := c.connectAs(ctx, identity)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (c *consumer) connectAs(ctx context.Context, identity credentials) error {
	region := c.launcher.options.QueueRegion
	identity.Region = firstOf(region, identity.Region)
	identity.Client.ReadTimeout = 0 // it could end a long poll
	on, err := c.launcher.clients.get(ctx, identity)
	if err != nil {
		return err
	}
	client, name := on.sqs(region), c.launcher.options.Queue
	if strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://") {
		c.queue = &queue{client, name}
		return nil
	}
	out, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(name)})
	if err != nil {
		return fmt.Errorf("find queue: %w", err)
	}
	c.queue = &queue{client, aws.ToString(out.QueueUrl)}
	return nil
}
