package ecs

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// hold keeps messages from showing again for as long as the worker takes with
// them.
func (c *consumer) hold(ctx context.Context, q *queue, messages []types.Message) (release func()) {
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
			if err := c.show(ctx, q, messages, receiveVisibility); err != nil {
				c.logger.Debug("cannot hold messages back for longer", "error", err)
				wait = extendAgain
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// giveBack has messages show again at once: to other workers, or to the queue's
// redrive policy.
func (c *consumer) giveBack(ctx context.Context, q *queue, messages []types.Message) {
	if len(messages) == 0 {
		return
	}
	ctx, cancel := outlive(ctx, deleteTimeout)
	defer cancel()
	if err := c.show(ctx, q, messages, 0); err != nil {
		c.logger.Debug("cannot give messages back; they show again by themselves", "error", err)
	}
}

// show sets after which time messages show again.
func (c *consumer) show(ctx context.Context, q *queue, messages []types.Message, after time.Duration) error {
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(messages))
	for i, message := range messages {
		entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{
			Id: aws.String(fmt.Sprint(i)), ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: int32(after / time.Second),
		}
	}
	_, err := q.client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: aws.String(q.url), Entries: entries})
	return err
}

// handle deals with a batch. It returns the messages that are done with, and those
// that others are to have at once: what is no event, and what was not handed over
// before the worker ended. One whose task could not be asked for its tags is
// neither, and comes again later.
func (c *consumer) handle(ctx context.Context, messages []types.Message) (done, back []types.Message) {
	events := make([]taskEvent, 0, len(messages))
	about := make([]types.Message, 0, len(messages))
	for _, message := range messages {
		c.launcher.events.received.Add(1)
		event, ok, err := readEvent(aws.ToString(message.Body))
		switch {
		case err != nil && c.junk(message, err):
			back = append(back, message)
		case err != nil:
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
		switch {
		case finished:
			done = append(done, about[i])
		case ctx.Err() != nil:
			return done, append(back, about[i:]...)
		}
	}
	return done, back
}

// junk takes note of a message that is no event, and reports whether it is to go
// back. A queue with a redrive policy moves it to its dead-letter queue when it was
// received often enough, and there people find it; that takes no permission of the
// worker's, and as the message shows again at once, no time. A message that comes
// on and on is in a queue without such a policy, and is deleted.
func (c *consumer) junk(message types.Message, err error) (back bool) {
	times, counted := message.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)]
	n, _ := strconv.Atoi(times) // SQS writes numbers
	if n <= 1 {
		c.launcher.events.malformed.Add(1)
		c.logger.Warn("a message in the event queue is no event", "message", aws.ToString(message.MessageId), "error", err,
			"hint", "see what else sends to the queue; with a redrive policy the message goes to the dead-letter queue")
	}
	return counted && n <= mostReceives
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

func (c *consumer) delete(ctx context.Context, q *queue, done []types.Message) error {
	if len(done) == 0 {
		return nil
	}
	entries := make([]types.DeleteMessageBatchRequestEntry, len(done))
	for i, message := range done {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: message.ReceiptHandle}
	}
	// What was handed over is deleted even while the worker shuts down.
	ctx, cancel := outlive(ctx, deleteTimeout)
	defer cancel()
	out, err := q.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: aws.String(q.url), Entries: entries})
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	for _, failed := range out.Failed {
		c.logger.Debug("a message was not deleted and will come again", "code", aws.ToString(failed.Code))
	}
	return nil
}

// outlive is a context that ends so much later than another one, or with the time
// that a call gets at the most.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithTimeout(context.WithoutCancel(ctx), mostDelete)
	stop := context.AfterFunc(ctx, func() {
		pause(longer, by)
		cancel()
	})
	return longer, func() { stop(); cancel() }
}
