package fakeaws

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// receive polls until a message is there, the time is over or the caller has
// gone.
func (s *Server) receive(ctx context.Context, call Call) (any, *Fault) {
	most, wait := number(call.Body, "MaxNumberOfMessages", 1), number(call.Body, "WaitTimeSeconds", 0)
	if most < 1 || most > 10 {
		return nil, outOfRange("MaxNumberOfMessages", most, 1, 10)
	}
	if wait < 0 || wait > 20 {
		return nil, outOfRange("WaitTimeSeconds", wait, 0, 20)
	}
	until := time.Now().Add(time.Duration(wait) * time.Second)
	for {
		s.mu.Lock()
		q, refusal := s.queueOf(call)
		if refusal != nil {
			s.mu.Unlock()
			return nil, refusal
		}
		messages, next := s.take(q, call, most)
		changed := s.changed
		s.mu.Unlock()
		if len(messages) > 0 {
			return object{"Messages": messages}, nil
		}
		if next.IsZero() || next.After(until) {
			next = until
		}
		if !time.Now().Before(until) || !sleep(ctx, next, changed) {
			return object{}, nil
		}
	}
}

// sleep waits for a time or a change, and tells whether the caller is still there.
func sleep(ctx context.Context, until time.Time, changed <-chan struct{}) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

func outOfRange(name string, value, low, high int) *Fault {
	return &Fault{
		Code:    "InvalidParameterValueException",
		Message: fmt.Sprintf("Value %d for parameter %s is invalid. Reason: Must be between %d and %d, if provided.", value, name, low, high),
	}
}

// take receives what is visible, and tells when the next of the others will be;
// s.mu is held.
func (s *Server) take(q *queue, call Call, most int) (messages []any, next time.Time) {
	now := time.Now()
	s.redrive(q, now)
	for _, m := range q.messages {
		switch {
		case m.visible.After(now):
			if next.IsZero() || m.visible.Before(next) {
				next = m.visible
			}
		case len(messages) < most:
			m.received++
			if m.received == 1 {
				m.firstSeen = now
			}
			m.receipt = m.handle(m.received)
			m.visible = now.Add(s.hidesFor(call.Body))
			q.receipts[m.receipt] = m
			messages = append(messages, m.answer(call))
		}
	}
	return messages, next
}

// redrive moves what is to be received once too often.
func (s *Server) redrive(q *queue, now time.Time) {
	other := s.queues[q.deadLetters]
	if other == nil {
		return
	}
	q.messages = slices.DeleteFunc(q.messages, func(m *message) bool {
		dead := m.received >= q.maxReceives && !m.visible.After(now)
		if dead {
			other.messages = append(other.messages, &message{id: m.id, body: m.body, sent: m.sent})
		}
		return dead
	})
}

// hidesFor is the visibility timeout that a call asks for, or that the test set.
func (s *Server) hidesFor(body object) time.Duration {
	asked := time.Duration(number(body, "VisibilityTimeout", int(defaultVisibility/time.Second))) * time.Second
	if s.visibility != 0 && asked != 0 {
		return s.visibility
	}
	return asked
}

func (m *message) answer(call Call) object {
	out := object{"MessageId": m.id, "ReceiptHandle": m.receipt, "Body": m.body, "MD5OfBody": digest(m.body)}
	attributes := map[string]string{
		"ApproximateReceiveCount":          fmt.Sprint(m.received),
		"ApproximateFirstReceiveTimestamp": fmt.Sprint(m.firstSeen.UnixMilli()),
		"SentTimestamp":                    fmt.Sprint(m.sent.UnixMilli()),
		"SenderId":                         "AIDAEVENTS",
	}
	asked, given := append(texts(call.Body["AttributeNames"]), texts(call.Body["MessageSystemAttributeNames"])...), object{}
	for name, value := range attributes {
		if slices.Contains(asked, "All") || slices.Contains(asked, name) {
			given[name] = value
		}
	}
	if len(given) > 0 {
		out["Attributes"] = given
	}
	return out
}
