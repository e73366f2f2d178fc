package fakeaws

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// EventsTo has every change of every task told to a queue, as a rule of
// EventBridge does it; "" ends that.
func (s *Server) EventsTo(queue string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eventQueue = queue
}

// Event is the message that EventBridge sends for the task in its present state,
// with edits to it: "ECS Task State Change", with its own id, the time, and the
// task without its tags as detail.
func (t *Task) Event(edits ...func(event map[string]any)) map[string]any {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.event(edits...)
}

func (t *Task) event(edits ...func(event map[string]any)) map[string]any {
	event := plain(object{
		"version": "0", "id": uuid.NewString(), "detail-type": "ECS Task State Change", "source": "aws.ecs", "account": Account,
		"time": time.Now().UTC().Format(time.RFC3339), "region": Region, "resources": []any{t.ARN},
		"detail": withTimes(t.detail, iso),
	})
	for _, edit := range edits {
		edit(event)
	}
	return event
}

// Tell sends the event to a queue, and returns it.
func (t *Task) Tell(queue string, edits ...func(event map[string]any)) map[string]any {
	event := t.Event(edits...)
	t.s.Send(queue, Message(event))
	return event
}

// tell sends the event to where they all go; s.mu is held.
func (s *Server) tell(t *Task) {
	if s.eventQueue != "" {
		s.send(s.eventQueue, []string{Message(t.event())})
	}
}

// Message is an event as the body of a queue's message.
func Message(event map[string]any) string {
	encoded, err := json.Marshal(event)
	if err != nil {
		panic(err) // only an edit's own values can be no JSON
	}
	return string(encoded)
}

// Detail is an event's detail, for edits.
func Detail(event map[string]any) map[string]any { return nested(event, "detail") }
