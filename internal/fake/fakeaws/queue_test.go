package fakeaws_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"faber/internal/fake/fakeaws"
)

// receive takes up to ten messages that are there now.
func receive(t *testing.T, on sdk, url string, wait int32) []types.Message {
	t.Helper()
	return must(on.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: wait, VisibilityTimeout: 300,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	}))(t).Messages
}

func TestQueueURL(t *testing.T) {
	s, on := start(t)
	_, err := on.sqs.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("events")})
	var missing *types.QueueDoesNotExist
	if !errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
	refused(t, err, "AWS.SimpleQueueService.NonExistentQueue")
	url := s.AddQueue("events")
	if got := must(on.sqs.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("events")}))(t); *got.QueueUrl != url {
		t.Errorf("%s, want %s", *got.QueueUrl, url)
	}
	s.RemoveQueue("events")
	_, err = on.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url})
	refused(t, err, "AWS.SimpleQueueService.NonExistentQueue")
}

func TestMessages(t *testing.T) {
	s, on := start(t)
	url := s.AddQueue("events")
	s.Send("events", "one", "two")
	must(on.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("three")}))(t)
	got := receive(t, on, url, 0)
	if len(got) != 3 || *got[2].Body != "three" || got[0].Attributes["ApproximateReceiveCount"] != "1" {
		t.Fatalf("received %+v", got)
	}
	if again := receive(t, on, url, 0); len(again) != 0 {
		t.Errorf("received %+v while they are hidden", again)
	}
	attributes := must(on.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}}))(t).Attributes
	if attributes["ApproximateNumberOfMessages"] != "0" || attributes["ApproximateNumberOfMessagesNotVisible"] != "3" || attributes["QueueArn"] != "arn:aws:sqs:eu-central-1:123456789012:events" {
		t.Errorf("attributes %v", attributes)
	}
	must(on.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: got[1].ReceiptHandle}))(t)
	out := must(on.sqs.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: got[0].ReceiptHandle}, {Id: aws.String("b"), ReceiptHandle: aws.String("junk")},
	}}))(t)
	if len(out.Successful) != 1 || len(out.Failed) != 1 || *out.Failed[0].Id != "b" || *out.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("deleted %+v", out)
	}
	if deleted := s.Deleted("events"); !slices.Equal(deleted, []string{"two", "one"}) || s.Queued("events") != 1 {
		t.Errorf("deleted %v, %d left", deleted, s.Queued("events"))
	}
}

func TestRedelivery(t *testing.T) {
	s, on := start(t)
	url := s.AddQueue("events")
	s.VisibilityTimeout(50 * time.Millisecond)
	s.Send("events", "one")
	first := receive(t, on, url, 0)[0]
	second := receive(t, on, url, 20)[0]
	if second.Attributes["ApproximateReceiveCount"] != "2" || *second.ReceiptHandle == *first.ReceiptHandle || !slices.Equal(s.Received("events"), []int{2}) {
		t.Errorf("received again: %+v", second)
	}
	must(on.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: first.ReceiptHandle}))(t)
	if s.Queued("events") != 1 {
		t.Error("an old receipt handle deletes")
	}
	must(on.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: second.ReceiptHandle}))(t)
	if s.Queued("events") != 0 {
		t.Error("the newest receipt handle does not delete")
	}
	if n, other := s.TimesReceived("events", "one"), s.TimesReceived("events", "two"); n != 2 || other != 0 {
		t.Errorf("it was received %d times, another %d times", n, other)
	}
}

func TestVisibility(t *testing.T) {
	s, on := start(t)
	url := s.AddQueue("events")
	s.Send("events", "one", "two")
	got := receive(t, on, url, 0)
	must(on.sqs.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &url, ReceiptHandle: got[0].ReceiptHandle, VisibilityTimeout: 0}))(t)
	if again := receive(t, on, url, 0); len(again) != 1 || *again[0].Body != "one" {
		t.Errorf("given back: %+v", again)
	}
	out := must(on.sqs.ChangeMessageVisibilityBatch(t.Context(), &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: got[0].ReceiptHandle}, {Id: aws.String("b"), ReceiptHandle: got[1].ReceiptHandle},
	}}))(t)
	if len(out.Successful) != 2 {
		t.Errorf("changed %+v", out)
	}
	if len(receive(t, on, url, 0)) != 2 {
		t.Error("they did not come back")
	}
	must(on.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: aws.String(strings.Replace(*got[1].ReceiptHandle, "#1", "#2", 1))}))(t)
	_, err := on.sqs.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &url, ReceiptHandle: got[1].ReceiptHandle, VisibilityTimeout: 9})
	refused(t, err, "AWS.SimpleQueueService.MessageNotInflight")
}

func TestLongPoll(t *testing.T) {
	s, on := start(t)
	url := s.AddQueue("events")
	begun := time.Now()
	if got := receive(t, on, url, 1); len(got) != 0 || time.Since(begun) < time.Second {
		t.Errorf("%d messages after %s", len(got), time.Since(begun))
	}
	s.Hook(func(call fakeaws.Call) {
		if call.Op == "ReceiveMessage" {
			go s.Send("events", "late")
		}
	})
	if got := receive(t, on, url, 20); len(got) != 1 || *got[0].Body != "late" {
		t.Errorf("received %+v", got)
	}
	s.Hook(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := on.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 20}); err == nil {
		t.Error("a message out of nothing")
	}
}

func TestRefusedQueueCalls(t *testing.T) {
	s, on := start(t)
	url := s.AddQueue("events")
	entries := make([]types.DeleteMessageBatchRequestEntry, 11)
	for i := range entries {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: aws.String("x")}
	}
	batch := func(n int) error {
		_, err := on.sqs.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: entries[:n]})
		return err
	}
	refused(t, batch(11), "AWS.SimpleQueueService.TooManyEntriesInBatchRequest")
	refused(t, batch(0), "AWS.SimpleQueueService.EmptyBatchRequest")
	entries[1].Id = entries[0].Id
	refused(t, batch(2), "AWS.SimpleQueueService.BatchEntryIdsNotDistinct")
	_, err := on.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: aws.String("junk")})
	refused(t, err, "ReceiptHandleIsInvalid")
	_, err = on.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 11})
	refused(t, err, "InvalidParameterValue")
	_, err = on.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 21})
	refused(t, err, "InvalidParameterValue")
}
