package ecs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
)

func taskEventBody(run string) string {
	return fmt.Sprintf(`{"detail-type":"ECS Task State Change","detail":{"taskArn":"arn:t","clusterArn":"arn:c","lastStatus":"STOPPED",
		"overrides":{"containerOverrides":[{"name":"prefect","environment":[{"name":"PREFECT__FLOW_RUN_ID","value":%q}]}]}}}`, run)
}

func nextHint(t *testing.T, l *Launcher) launch.Hint {
	t.Helper()
	select {
	case hint, open := <-l.Hints():
		if !open {
			t.Fatal("hints are closed")
		}
		return hint
	case <-time.After(30 * time.Second):
		t.Fatal("no hint")
	}
	return launch.Hint{}
}

// eventually asks until it is so; it waits on nothing but the server's calls.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so: %s", what)
		}
	}
}

func TestHintsComeFromEvents(t *testing.T) {
	f := newFakeAWS(t)
	f.AddQueue("events")
	l := newLauncher(t, f, func(o *Options) { o.Queue = "events" })
	f.Send("events", taskEventBody("run-1"), "not json", `{"detail-type":"Other"}`, `{"detail-type":"ECS Task State Change","detail":{"taskArn":"a","clusterArn":"c"}}`,
		`{"detail-type":"ECS Task State Change","detail":{"taskArn":"arn:t2","clusterArn":"arn:c","startedBy":"faber/pool"}}`)
	if got, want := nextHint(t, l), (launch.Hint{PID: "arn:c::arn:t", FlowRunID: "run-1"}); got != want {
		t.Errorf("hint %+v, want %+v", got, want)
	}
	if f.Queued("events") != 5 {
		t.Error("messages were deleted before their hints were handed over")
	}
	if got := nextHint(t, l); got.PID != "arn:c::arn:t2" || got.FlowRunID != "" {
		t.Errorf("hint %+v", got)
	}
	eventually(t, "the queue is empty", func() bool { return f.Queued("events") == 0 })
	if got, want := l.EventStats(), (EventStats{Received: 5, Handed: 2, Malformed: 1, Foreign: 2}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
	asked := f.Bodies("ReceiveMessage")[0]
	if asked["MaxNumberOfMessages"] != 10.0 || asked["WaitTimeSeconds"] != 20.0 {
		t.Errorf("asked %v", asked)
	}
	if len(f.Bodies("DescribeTasks")) != 0 {
		t.Error("reading events described tasks")
	}
}

func TestUntakenHintsStayInTheQueue(t *testing.T) {
	f := newFakeAWS(t)
	f.AddQueue("events")
	l := newLauncher(t, f, func(o *Options) { o.Queue = f.URL + "/123456789012/events" })
	f.Send("events", taskEventBody("run-1"))
	eventually(t, "it was received", func() bool { return l.EventStats().Received == 1 })
	if err := l.Close(0); err != nil {
		t.Fatal(err)
	}
	if f.Queued("events") != 1 {
		t.Error("the message is gone")
	}
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) count(part string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), part)
}

func TestMissingQueueIsPickedUp(t *testing.T) {
	f := newFakeAWS(t)
	var log syncBuffer
	l := newLauncher(t, f, func(o *Options) {
		o.Queue, o.Logger = "later", slog.New(slog.NewTextHandler(&log, nil))
	})
	eventually(t, "it was looked for several times", func() bool { return len(f.Bodies("GetQueueUrl")) > 3 })
	f.AddQueue("later")
	f.Send("later", taskEventBody("run-1"))
	if got := nextHint(t, l); got.FlowRunID != "run-1" {
		t.Errorf("hint %+v", got)
	}
	if log.count("does not exist") != 1 || log.count("has appeared") != 1 {
		t.Errorf("warned %d times, told of it %d times", log.count("does not exist"), log.count("has appeared"))
	}
}

func TestReadingTheQueueGoesOnAfterErrors(t *testing.T) {
	f := newFakeAWS(t)
	f.AddQueue("events")
	f.Fail("ReceiveMessage", fakeaws.Fault{Status: 500, Code: "InternalError", Message: "x"}, fakeaws.Fault{Status: 500, Code: "InternalError", Message: "x"})
	l := newLauncher(t, f, func(o *Options) { o.Queue = "events" })
	f.Send("events", taskEventBody("run-1"))
	nextHint(t, l)
}

func TestPauseEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pause(ctx, time.Hour)
}

func FuzzReadEvent(f *testing.F) {
	for _, seed := range []string{taskEventBody("r"), "{}", "null", "[]", `{"detail":{"overrides":null}}`, `{"detail-type":1}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		event, ok, err := readEvent(body)
		hint, _ := event.hint(nil)
		if ok && (err != nil || hint.PID == pidSeparator) {
			t.Errorf("%+v, %v", hint, err)
		}
	})
}

// TestFreshnessOfTheQueue: what health is told of the queue.
func TestFreshnessOfTheQueue(t *testing.T) {
	f := newFakeAWS(t)
	if _, every, err := newLauncher(t, f).HintsFresh(); every != 0 || err != nil {
		t.Errorf("without a queue: every %s, %v", every, err)
	}
	fast := func(o *Options) { o.Queue, o.queueBackoff, o.queueWait = "events", time.Millisecond, time.Millisecond }
	missing := newLauncher(t, f, fast)
	eventually(t, "the missing queue is told", func() bool {
		last, every, err := missing.HintsFresh()
		return last.IsZero() && every == receiveWait && err != nil && isMissingQueue(err)
	})
	optional := newLauncher(t, f, func(o *Options) { fast(o); o.QueueOptional = true })
	eventually(t, "nobody misses a queue that nobody asked for", func() bool { _, every, err := optional.HintsFresh(); return every == 0 && err == nil })
	if err := optional.Close(0); err != nil { // it would take messages away
		t.Fatal(err)
	}

	f.AddQueue("events")
	began := time.Now()
	f.Send("events", `{"detail-type":"Other"}`, `{"detail-type":"Other"}`)
	eventually(t, "the queue is read", func() bool { last, _, err := missing.HintsFresh(); return last.After(began) && err == nil })
	f.Fail("ReceiveMessage", fakeaws.Fault{Code: "AccessDenied", Message: "no", Times: -1})
	f.Send("events", `{"detail-type":"Other"}`, `{"detail-type":"Other"}`, `{"detail-type":"Other"}`)
	eventually(t, "what cuts it off is told", func() bool { _, _, err := missing.HintsFresh(); return err != nil && errorCode(err) == "AccessDenied" })
	last, _, _ := missing.HintsFresh()
	f.Heal("ReceiveMessage")
	f.Send("events", `{"detail-type":"Other"}`)
	eventually(t, "the queue is read again", func() bool { now, _, err := missing.HintsFresh(); return now.After(last) && err == nil })
}
