package fakeaws

import (
	"context"
	"fmt"
	"slices"
)

type queue struct {
	sent     int
	messages []message
	deleted  []string
}

type message struct{ id, body string }

// AddQueue creates an empty queue, and returns its URL.
func (s *Server) AddQueue(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[name] = &queue{}
	return s.queueURL(name)
}

func (s *Server) queueURL(name string) string { return s.URL + "/" + Account + "/" + name }

// Send puts messages into a queue.
func (s *Server) Send(name string, bodies ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[name]
	for _, body := range bodies {
		q.sent++
		q.messages = append(q.messages, message{fmt.Sprintf("m%d", q.sent), body})
	}
	s.wake()
}

// wake has long polls look again; s.mu is held.
func (s *Server) wake() {
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// Queued counts the messages in a queue, those in flight included.
func (s *Server) Queued(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queues[name].messages)
}

// Deleted returns the bodies of the messages that were deleted from a queue.
func (s *Server) Deleted(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queues[name].deleted)
}

func noQueue() *Fault {
	return &Fault{Code: "com.amazonaws.sqs#QueueDoesNotExist", Message: "The specified queue does not exist."}
}

func (s *Server) getQueueURL(body object) (any, *Fault) {
	name := text(body, "QueueName")
	if s.queues[name] == nil {
		return nil, noQueue()
	}
	return object{"QueueUrl": s.queueURL(name)}, nil
}

// receive polls until a message is there, or the caller goes.
func (s *Server) receive(ctx context.Context, body object) (any, *Fault) {
	name := lastPart(text(body, "QueueUrl"))
	for {
		s.mu.Lock()
		q, arrived := s.queues[name], s.arrived
		var messages []any
		if q != nil {
			for _, m := range q.messages[:min(len(q.messages), number(body, "MaxNumberOfMessages"))] {
				messages = append(messages, object{"MessageId": m.id, "ReceiptHandle": m.id, "Body": m.body})
			}
		}
		s.mu.Unlock()
		if q == nil {
			return nil, noQueue()
		}
		if len(messages) > 0 {
			return object{"Messages": messages}, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return object{}, nil
		}
	}
}

func (s *Server) deleteMessages(body object) (any, *Fault) {
	q := s.queues[lastPart(text(body, "QueueUrl"))]
	if q == nil {
		return nil, noQueue()
	}
	deleted := []any{}
	for _, entry := range objects(body["Entries"]) {
		q.messages = slices.DeleteFunc(q.messages, func(m message) bool {
			if m.id != entry["ReceiptHandle"] {
				return false
			}
			q.deleted = append(q.deleted, m.body)
			return true
		})
		deleted = append(deleted, object{"Id": entry["Id"]})
	}
	return object{"Successful": deleted, "Failed": []any{}}, nil
}
