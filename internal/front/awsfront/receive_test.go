package awsfront

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"faber/internal/fake/fakeaws"
	"faber/internal/front"
)

func receiveInput(queue string, wait int32) *sqs.ReceiveMessageInput {
	return &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10, WaitTimeSeconds: wait}
}

// statuses are the lastStatus of the events among messages, "?" of others.
func statuses(messages []sqstypes.Message) string {
	list := []string{}
	for _, m := range messages {
		var e event
		if json.Unmarshal([]byte(*m.Body), &e) != nil {
			list = append(list, "?")
			continue
		}
		list = append(list, str(e.Detail["lastStatus"]))
	}
	return strings.Join(list, " ")
}

// drain receives and deletes until nothing comes.
func (s *sdkStack) drain(t *testing.T) string {
	t.Helper()
	got := []string{}
	for {
		messages := s.receive(t, 0)
		if len(messages) == 0 {
			return strings.Join(got, " ")
		}
		got = append(got, statuses(messages))
		for _, m := range messages {
			if _, err := s.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &s.queue, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// live starts a task and lets it run and stop.
func (s *sdkStack) live(t *testing.T, run string) {
	t.Helper()
	s.run(t, run)
	s.aws.TaskOf(run).Set("RUNNING")
	s.aws.TaskOf(run).Set("STOPPED")
}

func TestEventsAreDropped(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{ID: "d", Run: runA, LastStatus: "STOPPED", Event: front.EventDrop})
	s.live(t, runA)
	s.live(t, runB)
	if got := s.drain(t); got != "PROVISIONING RUNNING PROVISIONING RUNNING STOPPED" {
		t.Errorf("received %s", got)
	}
	if n := s.aws.Queued("events"); n != 0 {
		t.Errorf("%d messages are left", n)
	}
	calls := s.calls(front.Query{Fault: "d"})
	if len(calls) != 1 || calls[0].Service != "events" || calls[0].Run != runA || calls[0].Effect != front.EffectNo {
		t.Errorf("ledger: %+v", calls)
	}
}

// A caller that waits for a message waits on when the one that came is dropped.
func TestWaitsOnWhenAllAreDropped(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{LastStatus: "PROVISIONING", Event: front.EventDrop})
	got := make(chan []sqstypes.Message, 1)
	go func() { got <- s.receive(t, 20) }()
	s.aws.Hook(func(c fakeaws.Call) {
		if c.Op == "DeleteMessage" {
			go s.aws.TaskOf(runA).Set("RUNNING")
		}
	})
	s.run(t, runA)
	if text := statuses(<-got); text != "RUNNING" {
		t.Errorf("received %q", text)
	}
}

func TestReceiveEndsWithItsCaller(t *testing.T) {
	asked, gone := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(asked)
		<-r.Context().Done()
		close(gone)
	}))
	defer upstream.Close()
	u, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := newFakeStack(t, Options{})
	*s.ministack.url = *u
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		res, err := s.http.Do(s.request(t, "sqs", sqsTarget+"ReceiveMessage", `{"WaitTimeSeconds":20}`).WithContext(ctx))
		if err == nil {
			_ = res.Body.Close()
		}
		done <- err
	}()
	<-asked
	cancel()
	if err := <-done; err == nil {
		t.Error("an answer nobody waited for")
	}
	<-gone // else it would take the next message, for nobody
}

func TestEventsComeTwice(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{ID: "d", LastStatus: "RUNNING", Event: front.EventDouble})
	s.live(t, runA)
	if got := s.drain(t); got != "PROVISIONING RUNNING STOPPED RUNNING" {
		t.Errorf("received %s", got)
	}
	if hits := s.front.Faults().List()[0].Hits; hits != 1 {
		t.Errorf("%d hits: a copy is not copied", hits)
	}
}

func TestEventsAreLate(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{LastStatus: "RUNNING", Event: front.EventLate, Delay: front.Duration(100 * time.Millisecond)})
	s.live(t, runA)
	if got := s.drain(t); got != "PROVISIONING STOPPED" {
		t.Errorf("at first: %s", got)
	}
	// In whole seconds, as SQS has it: it comes within the wait, and only once.
	if got := statuses(s.receive(t, 5)); got != "RUNNING" {
		t.Errorf("later: %s", got)
	}
	change := s.aws.Bodies("ChangeMessageVisibility")
	if len(change) != 1 || change[0]["VisibilityTimeout"] != 1.0 {
		t.Errorf("withheld by %v", change)
	}
}

func TestEventsAreReordered(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{LastStatus: "RUNNING", Event: front.EventReorder, Delay: front.Duration(time.Hour)})
	s.run(t, runA)
	s.aws.TaskOf(runA).Set("RUNNING")
	s.live(t, runB) // of another task: overtakes nothing of A
	if got := s.drain(t); got != "PROVISIONING PROVISIONING STOPPED RUNNING" {
		t.Errorf("received %s", got)
	}
	s.aws.TaskOf(runA).Set("STOPPED")
	if got := s.drain(t); got != "STOPPED RUNNING" {
		t.Errorf("then %s", got)
	}
}

// All of a task's events are to be reordered: the second overtakes the first.
func TestReorderedEventsDoNotWaitForEachOther(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{Event: front.EventReorder, Delay: front.Duration(time.Hour)})
	s.run(t, runA)
	s.aws.TaskOf(runA).Set("RUNNING")
	if got := s.drain(t); got != "RUNNING PROVISIONING" {
		t.Errorf("received %s", got)
	}
}

func TestEventsAreMangled(t *testing.T) {
	s := newSDKStack(t, Options{},
		front.Fault{LastStatus: "PROVISIONING", Event: front.EventMangle},
		front.Fault{LastStatus: "RUNNING", Event: front.EventMangle, Body: `{"detail":{"lastStatus":"NONSENSE"}}`},
	)
	s.live(t, runA)
	messages := s.receive(t, 0) // the SDK compares the digest of each
	if got := statuses(messages); got != "? NONSENSE STOPPED" {
		t.Errorf("received %s", got)
	}
	if n := len(*messages[0].Body); n < 100 || json.Valid([]byte(*messages[0].Body)) {
		t.Errorf("cut to %d characters", n)
	}
	// It is not mended when it comes again.
	if _, err := s.sqs.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &s.queue, ReceiptHandle: messages[1].ReceiptHandle}); err != nil {
		t.Fatal(err)
	}
	if got := statuses(s.receive(t, 0)); got != "NONSENSE" {
		t.Errorf("again: %s", got)
	}
}

// The same seed spoils the same events, and a message that comes again is not
// drawn again.
func TestEventsByProbability(t *testing.T) {
	draw := func(seed uint64) []string {
		s := newSDKStack(t, Options{}, front.Fault{ID: "p", Probability: 0.5, Event: front.EventDrop})
		s.front.Faults().Seed(seed)
		bodies := []string{}
		for i := range 30 {
			s.aws.Send("events", strings.Repeat("x", i+1))
		}
		for {
			messages := s.receive(t, 0)
			if len(messages) == 0 {
				break
			}
			for _, m := range messages {
				bodies = append(bodies, *m.Body)
			}
		}
		if hits := s.front.Faults().List()[0].Hits; hits != 30-len(bodies) {
			t.Errorf("%d hits, %d of 30 came", hits, len(bodies))
		}
		return bodies
	}
	first := draw(7)
	if n := len(first); n < 5 || n > 25 {
		t.Errorf("%d of 30 came", n)
	}
	if again := draw(7); !slices.Equal(first, again) {
		t.Error("the same seed spoils other messages")
	}
	if other := draw(8); slices.Equal(first, other) {
		t.Error("another seed spoils the same messages")
	}
}

// A queue that does not do as it is told spoils nothing: the message comes.
func TestWhatCannotBeWithheldComes(t *testing.T) {
	s := newSDKStack(t, Options{}, front.Fault{Event: front.EventLate, Delay: front.Duration(time.Hour)})
	s.aws.Fail("ChangeMessageVisibility", fakeaws.Fault{Code: "RequestThrottled", Message: "no"})
	s.aws.Send("events", "x")
	if got := statuses(s.receive(t, 0)); got != "?" {
		t.Errorf("received %q", got)
	}
}
