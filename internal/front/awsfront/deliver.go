package awsfront

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"faber/internal/front"
)

const (
	eventsTarget = "AWSEvents."
	sqsTarget    = "AmazonSQS."
	// maxAttempts at a queue that does not answer, one a poll.
	maxAttempts = 100
)

// deliveries brings events to the queues that rules name. It belongs to the
// goroutine of the watch.
//
// ministack delivers what PutEvents takes, but PutEvents refuses the source
// aws.ecs, as it does on AWS: only the service itself may send it.
type deliveries struct {
	f       *Front
	fresh   []event // not routed yet
	waiting []delivery
	sent    int
	warned  map[string]bool
}

// delivery is one event on its way to one queue.
type delivery struct {
	rule     string
	queue    string // ARN
	group    string // of a FIFO queue
	id       string
	body     string
	due      time.Time
	attempts int
	asked    bool // the fault table was
}

func newDeliveries(f *Front) *deliveries {
	return &deliveries{f: f, warned: map[string]bool{}}
}

// send delivers events, and what waits from earlier. Events are not lost to an
// emulator that is away: they wait.
func (d *deliveries) send(ctx context.Context, events []event) error {
	d.fresh = append(d.fresh, events...)
	if len(d.fresh) > 0 {
		rules, err := d.rules(ctx)
		if err != nil {
			return err
		}
		for _, e := range d.fresh {
			d.route(e, rules)
		}
		d.fresh = nil
	}
	var failed error
	still := []delivery{}
	for _, m := range d.waiting {
		if time.Now().Before(m.due) {
			still = append(still, m)
			continue
		}
		again, err := d.attempt(ctx, m)
		failed = errors.Join(failed, err)
		if again != nil {
			still = append(still, *again)
		}
	}
	d.waiting = still
	return failed
}

// rule is an enabled rule with a pattern.
type rule struct {
	name    string
	pattern *Pattern
	targets []ruleTarget
}

type ruleTarget struct {
	ID               string `json:"Id"`
	Arn              string
	Input            string
	InputPath        string
	InputTransformer json.RawMessage
	SqsParameters    struct{ MessageGroupId string }
}

// rules reads the default bus's rules anew each time: Terraform changes them
// under way, and they are few.
func (d *deliveries) rules(ctx context.Context) ([]rule, error) {
	var rules []rule
	in := map[string]any{}
	for {
		var out struct {
			Rules []struct {
				Name, State, EventPattern string
			}
			NextToken string
		}
		if err := d.f.call(ctx, d.f.o.Ministack, "events", eventsTarget+"ListRules", in, &out); err != nil {
			return nil, err
		}
		for _, r := range out.Rules {
			if !strings.HasPrefix(r.State, "ENABLED") || r.EventPattern == "" {
				continue
			}
			pattern, err := ParsePattern([]byte(r.EventPattern))
			if err != nil {
				d.warnOnce("rule "+r.Name+" cannot be matched", err)
				continue
			}
			targets, err := d.targets(ctx, r.Name)
			if err != nil {
				return nil, err
			}
			rules = append(rules, rule{r.Name, pattern, targets})
		}
		if out.NextToken == "" {
			return rules, nil
		}
		in["NextToken"] = out.NextToken
	}
}

func (d *deliveries) targets(ctx context.Context, name string) ([]ruleTarget, error) {
	var out struct{ Targets []ruleTarget }
	err := d.f.call(ctx, d.f.o.Ministack, "events", eventsTarget+"ListTargetsByRule", map[string]any{"Rule": name}, &out)
	return out.Targets, err
}

// route puts an event in the way of every queue whose rule it matches.
func (d *deliveries) route(e event, rules []rule) {
	body, err := json.Marshal(e)
	if err != nil {
		d.f.log.Error("encode event", "error", err)
		return
	}
	for _, r := range rules {
		if !r.pattern.Match(body) {
			continue
		}
		for _, t := range r.targets {
			if !strings.HasPrefix(t.Arn, "arn:aws:sqs:") {
				d.warnOnce("target "+t.Arn+" of rule "+r.name+" is skipped", errors.New("only queues are delivered to"))
				continue
			}
			message, err := t.message(body)
			if err != nil {
				d.warnOnce("target "+t.ID+" of rule "+r.name+" is skipped", err)
				continue
			}
			m := delivery{rule: r.name, queue: t.Arn, group: t.SqsParameters.MessageGroupId, id: e.ID, body: message}
			d.waiting = append(d.waiting, m)
			d.sent++
			if n := d.f.o.DuplicateEvery; n > 0 && d.sent%n == 0 {
				d.waiting = append(d.waiting, m)
			}
		}
	}
}

// message is the body for a target: the event, a part of it, or a constant.
func (t ruleTarget) message(event []byte) (string, error) {
	switch {
	case len(t.InputTransformer) > 0 && string(t.InputTransformer) != "null" && string(t.InputTransformer) != "{}":
		return "", errors.New("input transformers are not supported")
	case t.Input != "":
		return t.Input, nil
	case t.InputPath == "" || t.InputPath == "$":
		return string(event), nil
	}
	var v any
	if err := json.Unmarshal(event, &v); err != nil {
		return "", err
	}
	path, ok := strings.CutPrefix(t.InputPath, "$.")
	if !ok || strings.ContainsAny(path, "[]*") {
		return "", fmt.Errorf("input path %q is not supported", t.InputPath)
	}
	for name := range strings.SplitSeq(path, ".") {
		object, ok := v.(map[string]any)
		if !ok {
			return "", fmt.Errorf("input path %q leads nowhere", t.InputPath)
		}
		v = object[name]
	}
	part, err := json.Marshal(v)
	return string(part), err
}

// attempt sends one message. It returns the delivery again when it must wait.
func (d *deliveries) attempt(ctx context.Context, m delivery) (*delivery, error) {
	op := front.Op{Service: "events", Operation: "Deliver"}
	call := front.Call{Time: time.Now().UTC(), Service: op.Service, Operation: op.Operation, Path: m.queue, Request: front.LedgerBody(front.Redact([]byte(m.body)))}
	if !m.asked {
		m.asked = true
		if fault, ok := d.f.gate.Faults().Take(front.Subject{Op: op, Path: m.queue, Body: []byte(m.body), Runs: front.RunsIn("", []byte(m.body))}); ok {
			call.Fault = fault.ID
			if fault.Drop != "" || fault.Status != 0 || fault.Code != "" {
				d.f.gate.Ledger().End(d.f.gate.Ledger().Begin(call), 0, 0)
				return nil, nil
			}
			m.due = time.Now().Add(time.Duration(fault.Delay))
			return &m, nil
		}
	}
	id := d.f.gate.Ledger().Begin(call)
	status, err := d.sendMessage(ctx, m)
	d.f.gate.Ledger().End(id, status, time.Since(call.Time))
	if err == nil {
		return nil, nil
	}
	m.attempts++
	var refused *APIError
	if errors.As(err, &refused) && refused.Status < 500 || m.attempts >= maxAttempts {
		d.f.log.Warn("event is lost", "rule", m.rule, "queue", m.queue, "error", err)
		return nil, nil
	}
	return &m, err
}

func (d *deliveries) sendMessage(ctx context.Context, m delivery) (int, error) {
	part := strings.Split(m.queue, ":") // arn:aws:sqs:region:account:name
	if len(part) != 6 {
		return 400, &APIError{Operation: "SendMessage", Status: 400, Code: "InvalidAddress", Message: m.queue}
	}
	var queue struct{ QueueUrl string }
	err := d.f.call(ctx, d.f.o.Ministack, "sqs", sqsTarget+"GetQueueUrl", map[string]any{"QueueName": part[5]}, &queue)
	if err != nil {
		return statusIn(err), err
	}
	in := map[string]any{"QueueUrl": queue.QueueUrl, "MessageBody": m.body}
	if m.group != "" {
		in["MessageGroupId"], in["MessageDeduplicationId"] = m.group, m.id
	}
	if err := d.f.call(ctx, d.f.o.Ministack, "sqs", sqsTarget+"SendMessage", in, nil); err != nil {
		return statusIn(err), err
	}
	return 200, nil
}

func statusIn(err error) int {
	var refused *APIError
	if errors.As(err, &refused) {
		return refused.Status
	}
	return 0
}

func (d *deliveries) warnOnce(what string, err error) {
	if !d.warned[what] {
		d.warned[what] = true
		d.f.log.Warn(what, "error", err)
	}
}
