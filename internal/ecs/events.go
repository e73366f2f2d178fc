package ecs

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	receiveBatch      = 10 // the most that SQS gives at once
	receiveWait       = 20 * time.Second
	receiveVisibility = 5 * time.Minute
	extendEvery       = 4 * time.Minute // well before a message shows again
	extendAgain       = 5 * time.Second // after one that failed
	missingQueueWait  = time.Minute
	firstQueueBackoff = 2 * time.Second
	deleteTimeout     = 2 * time.Second // for what was handed over as the worker ends
	maxQueueBackoff   = 32 * time.Second
)

// EventStats counts what came over the event queue.
type EventStats struct {
	Received  int64 // messages
	Handed    int64 // hints that were handed over
	Malformed int64 // messages that are no JSON; they are deleted
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
	client   *sqs.Client
	url      string
	missing  bool    // the queue was reported missing
	trouble  string  // what was last reported to be wrong
	handed   onceSet // events whose hint was taken, by id: deleting them may have failed
}

func newConsumer(l *Launcher) *consumer {
	return &consumer{launcher: l, logger: l.logger.With("queue", l.options.Queue)}
}

// run reads until the context ends. It pauses longer and longer while that
// fails, and never gives up.
func (c *consumer) run(ctx context.Context) {
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
			c.client, c.url = nil, ""
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
	if c.missing {
		return
	}
	c.missing = true
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

// round receives one batch.
func (c *consumer) round(ctx context.Context) error {
	if err := c.connect(ctx); err != nil {
		return err
	}
	out, err := c.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:            aws.String(c.url),
		MaxNumberOfMessages: receiveBatch,
		WaitTimeSeconds:     int32(receiveWait / time.Second),
		VisibilityTimeout:   int32(receiveVisibility / time.Second),
	})
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	c.launcher.fresh.received()
	if c.missing {
		c.missing = false
		c.logger.Info("the event queue has appeared")
	}
	if len(out.Messages) == 0 {
		return nil
	}
	release := c.hold(ctx, out.Messages)
	done := c.handle(ctx, out.Messages)
	release()
	return c.delete(ctx, done)
}

// connect finds the queue. The worker's own credentials come first: the queue
// is the worker's, not the pool's. Where they find none, those of the work pool
// may: its tasks, and so their events, can be in another account.
func (c *consumer) connect(ctx context.Context) error {
	if c.url != "" {
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
		c.client, c.url = client, name
		return nil
	}
	out, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(name)})
	if err != nil {
		return fmt.Errorf("find queue: %w", err)
	}
	c.client, c.url = client, aws.ToString(out.QueueUrl)
	return nil
}

// hold keeps messages from showing again for as long as the worker takes with
// them.
func (c *consumer) hold(ctx context.Context, messages []types.Message) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		wait := c.launcher.options.extendEvery
		for {
			pause(ctx, wait)
			if ctx.Err() != nil {
				return
			}
			wait = c.launcher.options.extendEvery
			if err := c.extend(ctx, messages); err != nil {
				c.logger.Debug("cannot hold messages back for longer", "error", err)
				wait = extendAgain
			}
		}
	}()
	return func() { cancel(); <-ended }
}

func (c *consumer) extend(ctx context.Context, messages []types.Message) error {
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(messages))
	for i, message := range messages {
		entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{
			Id: aws.String(fmt.Sprint(i)), ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: int32(receiveVisibility / time.Second),
		}
	}
	_, err := c.client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: aws.String(c.url), Entries: entries})
	return err
}

// handle deals with a batch, and returns the messages that are done with. One
// whose hint was not taken, or whose task could not be asked for its tags, stays
// in the queue, for later or for another worker.
func (c *consumer) handle(ctx context.Context, messages []types.Message) (done []types.Message) {
	events := make([]taskEvent, 0, len(messages))
	about := make([]types.Message, 0, len(messages))
	for _, message := range messages {
		c.launcher.events.received.Add(1)
		event, ok, err := readEvent(aws.ToString(message.Body))
		switch {
		case err != nil:
			c.launcher.events.malformed.Add(1)
			c.logger.Warn("deleting a message that is no event", "message", aws.ToString(message.MessageId), "error", err)
			done = append(done, message)
		case !ok:
			c.launcher.events.foreign.Add(1)
			done = append(done, message)
		default:
			events, about = append(events, event), append(about, message)
		}
	}
	tags, err := c.launcher.readTags(ctx, events)
	if err != nil {
		c.logger.Warn("cannot read the tags of tasks; their events come again", "error", err)
	}
	for i, event := range events {
		of, known := tags[event.Detail.TaskARN]
		finished := c.handleEvent(ctx, event, of, known || err == nil)
		if finished {
			done = append(done, about[i])
		}
		if ctx.Err() != nil {
			break
		}
	}
	return done
}

// handleEvent hands one event over, and reports whether that is all. Without
// its task's tags the worker gets the bare hint, now, and the event comes again.
func (c *consumer) handleEvent(ctx context.Context, event taskEvent, tags map[string]string, complete bool) bool {
	hint, ours := event.hint(tags)
	if !complete {
		hint.Event = nil
	}
	switch {
	case !ours && complete:
		c.launcher.events.foreign.Add(1)
	case !ours || complete && event.ID != "" && c.handed.has(event.ID):
	default:
		select {
		case c.launcher.hints <- hint:
			c.launcher.events.handed.Add(1)
		case <-ctx.Done():
			return false
		}
		if complete {
			c.handed.first(event.ID)
		}
	}
	return complete && c.deregister(ctx, event, tags)
}

// deregister deregisters the definition of a stopped task that was marked for
// it; it reports whether there is nothing left to do.
func (c *consumer) deregister(ctx context.Context, event taskEvent, tags map[string]string) bool {
	arn := event.Detail.DefinitionARN
	task, ok := parseTaskARN(event.Detail.TaskARN)
	if !ok || arn == "" || event.Detail.LastStatus != "STOPPED" || tags[tagDeregister] != "true" {
		return true
	}
	on, err := c.launcher.clientsFor(ctx, task)
	if err == nil {
		err = c.launcher.deregister(ctx, on, arn, task)
	}
	return err == nil || !transient(err)
}

func (c *consumer) delete(ctx context.Context, done []types.Message) error {
	if len(done) == 0 {
		return nil
	}
	entries := make([]types.DeleteMessageBatchRequestEntry, len(done))
	for i, message := range done {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: message.ReceiptHandle}
	}
	// What was handed over is deleted even while the worker shuts down.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	out, err := c.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: aws.String(c.url), Entries: entries})
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	for _, failed := range out.Failed {
		c.logger.Debug("a message was not deleted and will come again", "code", aws.ToString(failed.Code))
	}
	return nil
}
