package ecs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"faber/internal/launch"
)

const (
	receiveBatch      = 10 // the most that SQS gives at once
	receiveWait       = 20 * time.Second
	receiveVisibility = 5 * time.Minute
	missingQueueWait  = time.Minute
	firstQueueBackoff = 2 * time.Second
	maxQueueBackoff   = 32 * time.Second
	taskStateChange   = "ECS Task State Change"
)

// EventStats counts what came over the event queue.
type EventStats struct {
	Received  int64 // messages
	Handed    int64 // hints that were handed over
	Malformed int64 // messages that are no JSON; they are deleted
	Foreign   int64 // messages about anything but flow runs
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

// consumer reads the event queue and hands hints to the worker. Events are
// hints and no more: whatever goes wrong here costs time, not runs.
type consumer struct {
	launcher *Launcher
	logger   *slog.Logger
	client   *sqs.Client
	url      string
	missing  bool // the queue was reported missing
}

func newConsumer(l *Launcher) *consumer {
	return &consumer{launcher: l, logger: l.logger.With("queue", l.options.Queue)}
}

// run reads until the context ends.
func (c *consumer) run(ctx context.Context) {
	backoff := firstQueueBackoff
	for ctx.Err() == nil {
		err := c.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			backoff = firstQueueBackoff
		case isMissingQueue(err):
			c.reportMissing()
			c.url = ""
			pause(ctx, c.launcher.options.queueWait)
		default:
			c.logger.Warn("cannot read the event queue; the sweep finds ended tasks meanwhile", "error", err, "retry_in", backoff)
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

func (c *consumer) reportMissing() {
	if c.missing {
		return
	}
	c.missing = true
	c.logger.Warn(fmt.Sprintf("SQS queue '%s' does not exist. The worker goes on without it and looks at tasks from time to time; ends are noticed later.", c.launcher.options.Queue),
		"hint", "create the queue and its EventBridge rule, or correct the queue's name or region; it is picked up when it appears")
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
	if c.missing {
		c.missing = false
		c.logger.Info("the event queue has appeared")
	}
	done := c.handOver(ctx, out.Messages)
	return c.delete(ctx, done)
}

// connect finds the queue's URL, with the machine's own credentials: the queue
// is the worker's, not the pool's.
func (c *consumer) connect(ctx context.Context) error {
	if c.client == nil {
		on, err := c.launcher.clients.get(ctx, credentials{Region: c.launcher.options.QueueRegion})
		if err != nil {
			return err
		}
		c.client = on.sqs(c.launcher.options.QueueRegion)
	}
	if c.url != "" {
		return nil
	}
	name := c.launcher.options.Queue
	if strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://") {
		c.url = name
		return nil
	}
	out, err := c.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(name)})
	if err != nil {
		return fmt.Errorf("find queue: %w", err)
	}
	c.url = aws.ToString(out.QueueUrl)
	return nil
}

// handOver turns messages into hints and returns those that are done with. A
// message whose hint was not taken stays in the queue for another worker.
func (c *consumer) handOver(ctx context.Context, messages []types.Message) []types.DeleteMessageBatchRequestEntry {
	counters := &c.launcher.events
	var done []types.DeleteMessageBatchRequestEntry
	for i, message := range messages {
		counters.received.Add(1)
		hint, ok, err := readEvent(aws.ToString(message.Body))
		switch {
		case err != nil:
			counters.malformed.Add(1)
			c.logger.Warn("deleting a message that is no event", "message", aws.ToString(message.MessageId), "error", err)
		case !ok:
			counters.foreign.Add(1)
		default:
			select {
			case c.launcher.hints <- hint:
				counters.handed.Add(1)
			case <-ctx.Done():
				return done
			}
		}
		done = append(done, types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: message.ReceiptHandle})
	}
	return done
}

func (c *consumer) delete(ctx context.Context, done []types.DeleteMessageBatchRequestEntry) error {
	if len(done) == 0 {
		return nil
	}
	// What was handed over is deleted even while the worker shuts down.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), firstQueueBackoff)
	defer cancel()
	out, err := c.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: aws.String(c.url), Entries: done})
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	for _, failed := range out.Failed {
		c.logger.Debug("a message was not deleted and will come again", "code", aws.ToString(failed.Code))
	}
	return nil
}

// taskEvent is what a hint needs of an EventBridge event.
type taskEvent struct {
	DetailType string `json:"detail-type"`
	Detail     struct {
		TaskARN    string `json:"taskArn"`
		ClusterARN string `json:"clusterArn"`
		StartedBy  string `json:"startedBy"`
		Overrides  struct {
			Containers []struct {
				Environment []struct{ Name, Value string } `json:"environment"`
			} `json:"containerOverrides"`
		} `json:"overrides"`
	} `json:"detail"`
}

// readEvent reads a message. It reports false for events that are about no flow
// run: of other tasks in the cluster, the worker's own among them.
func readEvent(body string) (launch.Hint, bool, error) {
	var event taskEvent
	if err := json.Unmarshal([]byte(body), &event); err != nil {
		return launch.Hint{}, false, err
	}
	if event.DetailType != taskStateChange || event.Detail.TaskARN == "" || event.Detail.ClusterARN == "" {
		return launch.Hint{}, false, nil
	}
	hint := launch.Hint{PID: event.Detail.ClusterARN + pidSeparator + event.Detail.TaskARN}
	for _, container := range event.Detail.Overrides.Containers {
		for _, variable := range container.Environment {
			if variable.Name == envFlowRunID {
				hint.FlowRunID = variable.Value
			}
		}
	}
	ours := hint.FlowRunID != "" || strings.HasPrefix(event.Detail.StartedBy, startedBy(""))
	return hint, ours, nil
}
