package awsfront

import (
	"context"
	"crypto/md5" //nolint:gosec // SQS's own check of a body
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"faber/internal/front"
)

// messages is what the front does to messages on their way to who receives them:
// it lets rules strike them, and puts invented ends of tasks into the events that
// tell of them. It acts on what is received and not on what is sent, so that it
// does not matter who sends.
type messages struct {
	f *Front

	// Held while a batch is looked through, calls to the queue included: a copy
	// that was just sent must not be received as a message of its own before it
	// is known as a copy.
	mu      sync.Mutex
	decided map[string]*decision // by queue and message id
	// behind are the messages that wait for a later one of the same task.
	behind map[string][]message
}

// decision is what was decided on a message when it was first received. SQS
// brings a message again until it is deleted.
type decision struct {
	fault front.Fault // zero: none
	at    time.Time
}

// maxDecided is beyond how many decisions the old ones are forgotten: after a
// while nothing comes again.
const (
	maxDecided   = 20_000
	decidedLife  = time.Hour
	reorderWait  = 30 * time.Second
	maxInvisible = 12 * time.Hour // by SQS
)

func newMessages(f *Front) *messages {
	return &messages{f: f, decided: map[string]*decision{}, behind: map[string][]message{}}
}

// receiveMessage lets the front's rules have every message first. When none is
// left and the caller would have waited, it waits on.
func (f *Front) receiveMessage(x *exchange) (*answer, error) {
	in := map[string]any{}
	if json.Unmarshal(x.body, &in) != nil {
		return x.wait(x.body) // The older protocol: nothing that is known here.
	}
	wait, _ := in["WaitTimeSeconds"].(float64)
	until := time.Now().Add(time.Duration(wait) * time.Second)
	for {
		body, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		a, err := x.wait(body)
		if err != nil || !a.ok() {
			return a, err
		}
		came, left := 0, 0
		a = a.edit(func(v map[string]any) {
			list, _ := v["Messages"].([]any)
			came = len(list)
			if came == 0 {
				return
			}
			kept := f.messages.pass(x.scope, str(in["QueueUrl"]), list)
			left = len(kept)
			v["Messages"] = kept
		})
		rest := math.Floor(time.Until(until).Seconds())
		if left > 0 || came == 0 || rest < 1 {
			return a, nil
		}
		in["WaitTimeSeconds"] = rest
	}
}

// message is one message as it was received.
type message struct {
	scope   scope
	queue   string
	id      string
	receipt string
	body    string
	task    string
}

// pass returns the messages that come through, as they come through.
func (m *messages) pass(s scope, queue string, list []any) []any {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := []any{}
	for _, item := range list {
		raw, ok := item.(map[string]any)
		if !ok {
			continue
		}
		one := message{scope: s, queue: queue, id: str(raw["MessageId"]), receipt: str(raw["ReceiptHandle"]), body: str(raw["Body"])}
		subject := one.subject()
		one.task = subject.Task
		m.f.see(one, subject)
		body, comes := m.decide(one, subject)
		if !comes {
			continue
		}
		if told, ok := m.f.retell(body); ok {
			body = told
		}
		if body != one.body {
			sum := md5.Sum([]byte(body)) //nolint:gosec // the same
			raw["Body"], raw["MD5OfBody"] = body, hex.EncodeToString(sum[:])
		}
		kept = append(kept, raw)
		m.overtaken(one)
	}
	return kept
}

// subject is a message as rules see it.
func (one message) subject() front.Subject {
	var e struct {
		Detail struct {
			TaskArn    string `json:"taskArn"`
			LastStatus string `json:"lastStatus"`
		} `json:"detail"`
	}
	s := front.Subject{Op: front.Op{Service: "events", Operation: "Receive"}, Path: one.queue, Body: []byte(one.body)}
	if json.Unmarshal(s.Body, &e) == nil {
		s.Task, s.LastStatus = e.Detail.TaskArn, e.Detail.LastStatus
	}
	s.Runs = front.RunsIn("", s.Body)
	return s
}

// see takes note of the task that an event is about.
func (f *Front) see(one message, s front.Subject) {
	if s.Task == "" {
		return
	}
	run := ""
	if len(s.Runs) > 0 {
		run = s.Runs[0]
	}
	f.tasks.see(one.scope, s.Task, run)
}

// decide lets a rule strike a message when it comes for the first time, and does
// what was decided. It returns the body, and whether the message comes at all.
func (m *messages) decide(one message, s front.Subject) (string, bool) {
	key := one.queue + " " + one.id
	d := m.decided[key]
	first := d == nil
	if first {
		if len(s.Runs) == 0 && s.Task != "" {
			s.Runs = m.f.tasks.runsOf([]string{s.Task})
		}
		d = &decision{at: time.Now()}
		d.fault, _ = m.f.gate.Faults().TakeEvent(s)
		m.remember(key, d)
		m.record(one, s, d.fault)
	}
	switch d.fault.Event {
	case front.EventDrop:
		m.ask(one, "DeleteMessage", map[string]any{"ReceiptHandle": one.receipt}, nil)
		return "", false
	case front.EventLate, front.EventReorder:
		// One that waits for a later one is overtaken by the next, whatever that is to suffer.
		overtakes := d.fault.Event == front.EventReorder && len(m.behind[one.task]) > 0
		if first && !overtakes {
			return one.body, !m.withhold(one, d.fault)
		}
	case front.EventDouble:
		if first {
			m.double(one)
		}
	case front.EventMangle:
		return mangled(one.body, d.fault), true
	}
	return one.body, true
}

func (m *messages) remember(key string, d *decision) {
	if len(m.decided) >= maxDecided {
		for k, old := range m.decided {
			if time.Since(old.at) > decidedLife {
				delete(m.decided, k)
			}
		}
	}
	m.decided[key] = d
}

// record puts a message that was struck into the ledger.
func (m *messages) record(one message, s front.Subject, fault front.Fault) {
	if fault.ID == "" {
		return
	}
	call := front.Call{
		Time: time.Now().UTC(), Service: s.Service, Operation: s.Operation, Path: one.queue, Runs: s.Runs,
		Request: front.LedgerBody(front.Redact(s.Body)), Fault: fault.ID, Effect: front.EffectYes,
	}
	if len(s.Runs) > 0 {
		call.Run = s.Runs[0]
	}
	if fault.Event == front.EventDrop {
		call.Effect = front.EffectNo
	}
	ledger := m.f.gate.Ledger()
	ledger.End(ledger.Begin(call), 0, 0)
	m.f.log.Info("injecting a fault", "front", "aws", "fault", fault.ID, "event", fault.Event, "task", s.Task, "status", s.LastStatus)
}

// withhold hides a message in its queue for a while. It comes again then, its
// receive count one higher than it would be.
func (m *messages) withhold(one message, f front.Fault) bool {
	d := time.Duration(f.Delay)
	if d == 0 {
		d = reorderWait
	}
	if !m.hide(one, min(d, maxInvisible)) {
		return false
	}
	if f.Event == front.EventReorder && one.task != "" {
		m.behind[one.task] = append(m.behind[one.task], one)
	}
	return true
}

func (m *messages) hide(one message, d time.Duration) bool {
	seconds := int(math.Ceil(d.Seconds()))
	return m.ask(one, "ChangeMessageVisibility", map[string]any{"ReceiptHandle": one.receipt, "VisibilityTimeout": seconds}, nil)
}

// overtaken lets the messages come that waited for one of their task to pass.
func (m *messages) overtaken(by message) {
	waiting := m.behind[by.task]
	if by.task == "" || len(waiting) == 0 {
		return
	}
	delete(m.behind, by.task)
	if slices.ContainsFunc(waiting, func(one message) bool { return one.queue == by.queue && one.id == by.id }) {
		return // Its time was over before another one came.
	}
	for _, one := range waiting {
		m.hide(one, 0)
	}
}

// double sends a copy, which comes as a message of its own.
func (m *messages) double(one message) {
	var out struct {
		MessageID string `json:"MessageId"`
	}
	if m.ask(one, "SendMessage", map[string]any{"MessageBody": one.body}, &out) {
		m.remember(one.queue+" "+out.MessageID, &decision{at: time.Now()})
	}
}

// ask makes a call at the queue of a message and reports whether it went well.
func (m *messages) ask(one message, operation string, in map[string]any, out any) bool {
	ctx, cancel := context.WithTimeout(m.f.life, 10*time.Second)
	defer cancel()
	in["QueueUrl"] = one.queue
	err := m.f.callAs(ctx, one.scope, m.f.o.Ministack, "sqs", sqsTarget+operation, in, out)
	if err != nil && !errors.Is(err, context.Canceled) {
		m.f.log.Warn("a message cannot be spoilt as its rule says", "operation", operation, "queue", one.queue, "error", err)
	}
	return err == nil
}

// mangled is what a message becomes: the text of the rule, or its first half.
func mangled(body string, f front.Fault) string {
	if f.Body != "" {
		return f.Body
	}
	return body[:len(body)/2]
}

// retell puts the invented end of a task into the event that tells of its end.
func (f *Front) retell(body string) (string, bool) {
	var e map[string]any
	if json.Unmarshal([]byte(body), &e) != nil {
		return "", false
	}
	detail, ok := e["detail"].(map[string]any)
	if !ok || detail["stoppedReason"] == nil || !f.tasks.tell(detail) {
		return "", false
	}
	told, err := json.Marshal(e)
	return string(told), err == nil
}
