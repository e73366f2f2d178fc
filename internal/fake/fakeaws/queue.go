package fakeaws

import (
	"crypto/md5" //nolint:gosec // SQS sends it
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// defaultVisibility is how long a received message is hidden when neither the
// call nor the test says so.
const defaultVisibility = 30 * time.Second

type queue struct {
	sent     int
	messages []*message
	deleted  []*message
	receipts map[string]*message // all receipt handles ever given

	forgetful bool // keeps nothing of what was deleted

	deadLetters string // the queue for what was received too often; "" is none
	maxReceives int
}

type message struct {
	id, body  string
	sent      time.Time
	receipt   string // the newest: it alone deletes
	received  int
	firstSeen time.Time
	visible   time.Time // not before
}

// handle is the receipt handle that the n-th receive gave.
func (m *message) handle(n int) string { return fmt.Sprintf("%s#%d", m.id, n) }

// AddQueue creates an empty queue, and returns its URL.
func (s *Server) AddQueue(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[name] = &queue{receipts: map[string]*message{}, forgetful: s.forgetful}
	s.wake()
	return s.queueURL(name)
}

// Redrive has a queue move messages to another one that were received so often and
// not deleted, when they are to be received once more.
func (s *Server) Redrive(name, deadLetters string, maxReceives int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[name].deadLetters, s.queues[name].maxReceives = deadLetters, maxReceives
}

// RemoveQueue deletes a queue.
func (s *Server) RemoveQueue(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.queues, name)
	s.wake()
}

func (s *Server) queueURL(name string) string { return s.URL + "/" + Account + "/" + name }

// VisibilityTimeout is how long a received message is hidden, whatever the calls
// and the queues say, so that a test can wait for it to come again. Only a
// visibility of zero, which gives a message back at once, stays what it is.
func (s *Server) VisibilityTimeout(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.visibility = d
}

// Send puts messages into a queue.
func (s *Server) Send(name string, bodies ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(name, bodies)
}

func (s *Server) send(name string, bodies []string) {
	q := s.queues[name]
	if q == nil {
		s.t.Errorf("fakeaws has no queue %s to send to", name)
		return
	}
	for _, body := range bodies {
		q.put(body)
	}
	s.wake()
}

func (q *queue) put(body string) *message {
	q.sent++
	m := &message{id: fmt.Sprintf("00000000-0000-4000-9000-%012d", q.sent), body: body, sent: time.Now()}
	q.messages = append(q.messages, m)
	return m
}

// Queued counts the messages in a queue, those that are received and not yet
// deleted included.
func (s *Server) Queued(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.queues[name]; q != nil {
		return len(q.messages)
	}
	return 0
}

// Deleted returns the bodies of the messages that were deleted from a queue, in
// that order.
func (s *Server) Deleted(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	if q := s.queues[name]; q != nil {
		for _, m := range q.deleted {
			out = append(out, m.body)
		}
	}
	return out
}

// Received tells how often each message that is in a queue was received, oldest
// message first.
func (s *Server) Received(name string) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []int
	if q := s.queues[name]; q != nil {
		for _, m := range q.messages {
			out = append(out, m.received)
		}
	}
	return out
}

// TimesReceived tells how often the message with a body was received, also after
// it was deleted.
func (s *Server) TimesReceived(name, body string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.queues[name]; q != nil {
		for _, m := range slices.Concat(q.messages, q.deleted) {
			if m.body == body {
				return m.received
			}
		}
	}
	return 0
}

// queueOf finds the queue that a call is for; s.mu is held.
func (s *Server) queueOf(call Call) (*queue, *Fault) {
	if q := s.queues[lastPart(text(call.Body, "QueueUrl"))]; q != nil {
		return q, nil
	}
	return nil, noQueue()
}

func noQueue() *Fault {
	return &Fault{Code: "QueueDoesNotExist", Message: "The specified queue does not exist."}
}

func (s *Server) getQueueURL(call Call) (any, *Fault) {
	name := text(call.Body, "QueueName")
	if s.queues[name] == nil {
		return nil, noQueue()
	}
	return object{"QueueUrl": s.queueURL(name)}, nil
}

func (s *Server) getQueueAttributes(call Call) (any, *Fault) {
	q, refusal := s.queueOf(call)
	if refusal != nil {
		return nil, refusal
	}
	hidden := 0
	for _, m := range q.messages {
		if time.Now().Before(m.visible) {
			hidden++
		}
	}
	all := map[string]string{
		"QueueArn":                              arn("sqs", lastPart(text(call.Body, "QueueUrl"))),
		"ApproximateNumberOfMessages":           fmt.Sprint(len(q.messages) - hidden),
		"ApproximateNumberOfMessagesNotVisible": fmt.Sprint(hidden),
		"ApproximateNumberOfMessagesDelayed":    "0",
		"VisibilityTimeout":                     fmt.Sprint(int(defaultVisibility / time.Second)),
		"MessageRetentionPeriod":                "345600",
		"ReceiveMessageWaitTimeSeconds":         "0",
	}
	asked, out := texts(call.Body["AttributeNames"]), object{}
	for name, value := range all {
		if slices.Contains(asked, "All") || slices.Contains(asked, name) {
			out[name] = value
		}
	}
	return object{"Attributes": out}, nil
}

func (s *Server) sendMessage(call Call) (any, *Fault) {
	q, refusal := s.queueOf(call)
	if refusal != nil {
		return nil, refusal
	}
	body := text(call.Body, "MessageBody")
	if body == "" {
		return nil, &Fault{Code: "MissingParameter", Message: "The request must contain the parameter MessageBody."}
	}
	return object{"MessageId": q.put(body).id, "MD5OfMessageBody": digest(body)}, nil
}

func digest(body string) string {
	sum := md5.Sum([]byte(body)) //nolint:gosec // SQS sends it
	return hex.EncodeToString(sum[:])
}

// inFlight finds the message that a receipt handle was given for.
func (q *queue) inFlight(receipt string) (*message, *Fault) {
	if m := q.receipts[receipt]; m != nil {
		return m, nil
	}
	return nil, &Fault{Code: "ReceiptHandleIsInvalid", Message: fmt.Sprintf("The input receipt handle %q is not a valid receipt handle.", receipt)}
}

// delete takes a message out. An older receipt handle is accepted and changes
// nothing.
func (q *queue) delete(receipt string) *Fault {
	m, refusal := q.inFlight(receipt)
	if refusal != nil {
		return refusal
	}
	at := slices.Index(q.messages, m)
	if at < 0 || m.receipt != receipt {
		return nil
	}
	q.messages = slices.Delete(q.messages, at, at+1)
	if !q.forgetful {
		q.deleted = append(q.deleted, m)
		return nil
	}
	for n := range m.received {
		delete(q.receipts, m.handle(n+1))
	}
	return nil
}

func (s *Server) deleteMessage(call Call) (any, *Fault) {
	q, refusal := s.queueOf(call)
	if refusal == nil {
		refusal = q.delete(text(call.Body, "ReceiptHandle"))
	}
	return object{}, refusal
}

func (s *Server) deleteMessages(call Call) (any, *Fault) {
	return s.batch(call, func(q *queue, entry object) *Fault { return q.delete(text(entry, "ReceiptHandle")) })
}

// hide changes how long a message stays away from here on.
func (s *Server) hide(q *queue, entry object) *Fault {
	m, refusal := q.inFlight(text(entry, "ReceiptHandle"))
	switch {
	case refusal != nil:
		return refusal
	case !slices.Contains(q.messages, m) || time.Now().After(m.visible):
		return &Fault{Code: "MessageNotInflight", Message: "The message referred to is not in flight."}
	}
	m.visible = time.Now().Add(s.hidesFor(entry))
	return nil
}

func (s *Server) changeVisibility(call Call) (any, *Fault) {
	q, refusal := s.queueOf(call)
	if refusal == nil {
		refusal = s.hide(q, call.Body)
	}
	return object{}, refusal
}

func (s *Server) changeVisibilities(call Call) (any, *Fault) { return s.batch(call, s.hide) }

// batch performs something for up to ten entries, each of which succeeds or
// fails by itself.
func (s *Server) batch(call Call, perform func(*queue, object) *Fault) (any, *Fault) {
	q, refusal := s.queueOf(call)
	if refusal != nil {
		return nil, refusal
	}
	entries := objects(call.Body["Entries"])
	switch {
	case len(entries) == 0:
		return nil, &Fault{Code: "EmptyBatchRequest", Message: "There should be at least one entry in the request."}
	case len(entries) > 10:
		return nil, &Fault{Code: "TooManyEntriesInBatchRequest", Message: "Maximum number of entries per request are 10."}
	}
	var ids []string
	for _, entry := range entries {
		if slices.Contains(ids, text(entry, "Id")) {
			return nil, &Fault{Code: "BatchEntryIdsNotDistinct", Message: "Id " + text(entry, "Id") + " repeated."}
		}
		ids = append(ids, text(entry, "Id"))
	}
	done, failed := []any{}, []any{}
	for _, entry := range entries {
		if refusal := perform(q, entry); refusal != nil {
			_, code := sqsCodes(refusal.Code)
			failed = append(failed, object{"Id": entry["Id"], "SenderFault": true, "Code": strings.TrimPrefix(code, "AWS.SimpleQueueService."), "Message": refusal.Message})
			continue
		}
		done = append(done, object{"Id": entry["Id"]})
	}
	return object{"Successful": done, "Failed": failed}, nil
}
