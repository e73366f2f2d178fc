package awsfront

import (
	"bytes"
	"encoding/xml"
	"regexp"
	"strings"
	"sync"
)

// pending are the ARNs of subscriptions by e-mail. On AWS such a one is pending
// until somebody follows the link in a mail; here nobody gets a mail, and
// ministack takes it for confirmed.
type pending struct {
	mu   sync.Mutex
	arns map[string]bool
}

func newPending() *pending { return &pending{arns: map[string]bool{}} }

func (p *pending) has(arn string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.arns[arn]
}

// subscribe answers "pending confirmation" in the place of an ARN, unless the
// caller asked for it (Subscribe, ReturnSubscriptionArn).
func (f *Front) subscribe(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return x.forward()
	}
	a, err := x.forward()
	if err != nil || !a.ok() || !strings.HasPrefix(form.Get("Protocol"), "email") {
		return a, err
	}
	var out struct {
		ARN string `xml:"SubscribeResult>SubscriptionArn"`
	}
	if err := xml.Unmarshal(a.body, &out); err != nil {
		return a, nil //nolint:nilerr // it names no subscription
	}
	f.pending.mu.Lock()
	f.pending.arns[out.ARN] = true
	f.pending.mu.Unlock()
	if form.Get("ReturnSubscriptionArn") == "true" {
		return a, nil
	}
	body := bytes.ReplaceAll(a.body, []byte(out.ARN), []byte("pending confirmation"))
	return &answer{status: a.status, header: a.header, body: body}, nil
}

var confirmation = regexp.MustCompile(`(<key>(?:PendingConfirmation|ConfirmationWasAuthenticated)</key>\s*<value>)(true|false)(</value>)`)

func (f *Front) getSubscriptionAttributes(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return x.forward()
	}
	a, err := x.forward()
	if err != nil || !f.pending.has(form.Get("SubscriptionArn")) {
		return a, err
	}
	body := confirmation.ReplaceAllFunc(a.body, func(entry []byte) []byte {
		part := confirmation.FindSubmatch(entry)
		value := "false"
		if bytes.Contains(part[1], []byte("PendingConfirmation")) {
			value = "true"
		}
		return bytes.Join([][]byte{part[1], part[3]}, []byte(value))
	})
	return &answer{status: a.status, header: a.header, body: body}, nil
}

// listSubscriptions shows no ARN of what is pending, as AWS does.
func (f *Front) listSubscriptions(x *exchange) (*answer, error) {
	a, err := x.forward()
	if err != nil {
		return nil, err
	}
	f.pending.mu.Lock()
	defer f.pending.mu.Unlock()
	body := a.body
	for arn := range f.pending.arns {
		body = bytes.ReplaceAll(body, []byte("<SubscriptionArn>"+arn+"<"), []byte("<SubscriptionArn>PendingConfirmation<"))
	}
	return &answer{status: a.status, header: a.header, body: body}, nil
}

// unsubscribe refuses what is pending, in AWS's words: "You can't delete a
// subscription that's pending confirmation. After 48 hours, Amazon SNS deletes
// it" (developer guide, Deleting a subscription and topic). With its topic it
// goes at once.
func (f *Front) unsubscribe(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return x.forward()
	}
	if f.pending.has(form.Get("SubscriptionArn")) {
		return nil, &refusal{
			code:    "InvalidParameter",
			message: "Invalid parameter: SubscriptionArn Reason: Cannot unsubscribe a subscription that is pending confirmation",
		}
	}
	return x.forward()
}
