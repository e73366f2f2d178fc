//go:build integration

package leastprivilege

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	fakes "faber/internal/fake/emulator"
	"faber/internal/front/awsfront"
)

const (
	account = "123456789012"
	region  = "us-east-1"
)

// emulator is an AWS behind a front: what the test calls itself goes past the
// front, so that the ledger holds what others called.
type emulator struct {
	ministack *url.URL
	front     *awsfront.Front
	url       string
}

// startEmulator starts ministack, and moto for what ministack has not. Without a
// container engine tasks are only marked as running, which is all that is needed.
func startEmulator(t *testing.T) *emulator {
	t.Helper()
	python := os.Getenv("FABER_TEST_MINISTACK")
	if python == "" && os.Getenv("CI") == "true" {
		t.Fatal("FABER_TEST_MINISTACK must name a python that has ministack and moto")
	}
	if python == "" {
		t.Skip("SKIP least privilege: FABER_TEST_MINISTACK does not name a python that has ministack and moto")
	}
	e := &emulator{}
	e.ministack = fakes.Ministack(t, python, patience)
	moto := fakes.Moto(t, python, patience)
	e.front = awsfront.New(awsfront.Options{Ministack: e.ministack, Moto: moto, AccountID: account, Region: region, LedgerSize: 60_000})
	server := httptest.NewServer(e.front.Handler())
	e.url = server.URL
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.front.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("front: %v", err)
		}
		e.front.Close()
		server.CloseClientConnections()
		server.Close()
	})
	return e
}

// patience is for machines with other things to do; nothing here is waited for in vain.
const patience = 3 * time.Minute

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not in %s: %s", patience, what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// do sends one request to the emulator, signed as the account, past the front.
func (e *emulator) do(t *testing.T, service, contentType, target, body string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.ministack.String()+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+account+"/20260101/"+region+"/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
	if target != "" {
		req.Header.Set("X-Amz-Target", target)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s %.300s: %s, %v\n%.500s", service, target, body, res.Status, err, data)
	}
	return data
}

// json calls a service that speaks JSON.
func (e *emulator) json(t *testing.T, service, target string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	data := e.do(t, service, "application/x-amz-json-1.1", target, string(body))
	if out == nil {
		return
	}
	if err := json.Unmarshal(data, out); err != nil {
		t.Fatalf("%s: %v in %.500s", target, err, data)
	}
}

// iam calls IAM and returns the texts of the elements of one name in its answer.
func (e *emulator) iam(t *testing.T, element, action string, parameters ...string) (texts []string) {
	t.Helper()
	form := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
	for i := 0; i < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	data := e.do(t, "iam", "application/x-www-form-urlencoded", "", form.Encode())
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatalf("%s: %v in %.500s", action, err, data)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == element {
			var text string
			if err := d.DecodeElement(&text, &start); err != nil {
				t.Fatalf("%s: %v in %.500s", action, err, data)
			}
			texts = append(texts, text)
		}
	}
}

// identity reads a role back, with all its policies and its boundary.
func (e *emulator) identity(t *testing.T, roleARN string) (i Identity, documents map[string]json.RawMessage) {
	t.Helper()
	role := roleARN[strings.LastIndexByte(roleARN, '/')+1:]
	documents = map[string]json.RawMessage{}
	take := func(name, text string) Policy {
		if decoded, err := url.QueryUnescape(text); err == nil && !strings.HasPrefix(strings.TrimSpace(text), "{") {
			text = decoded
		}
		p, err := Parse([]byte(text))
		if err != nil {
			t.Fatalf("%s, %s: %v\n%s", role, name, err, text)
		}
		documents[name] = json.RawMessage(text)
		return p
	}
	managed := func(arn string) Policy {
		version := e.iam(t, "DefaultVersionId", "GetPolicy", "PolicyArn", arn)[0]
		return take(arn[strings.LastIndexByte(arn, '/')+1:], e.iam(t, "Document", "GetPolicyVersion", "PolicyArn", arn, "VersionId", version)[0])
	}
	for _, name := range e.iam(t, "member", "ListRolePolicies", "RoleName", role) {
		i.Policies = append(i.Policies, take(name, e.iam(t, "PolicyDocument", "GetRolePolicy", "RoleName", role, "PolicyName", name)[0]))
	}
	for _, arn := range e.iam(t, "PolicyArn", "ListAttachedRolePolicies", "RoleName", role) {
		i.Policies = append(i.Policies, managed(arn))
	}
	if boundary := e.iam(t, "PermissionsBoundaryArn", "GetRole", "RoleName", role); len(boundary) > 0 {
		p := managed(boundary[0])
		i.Boundary = &p
	}
	return i, documents
}

// trust is a role's trust policy.
func (e *emulator) trust(t *testing.T, roleARN string) json.RawMessage {
	t.Helper()
	text, err := url.QueryUnescape(e.iam(t, "AssumeRolePolicyDocument", "GetRole", "RoleName", roleARN[strings.LastIndexByte(roleARN, '/')+1:])[0])
	if err != nil {
		t.Fatal(err)
	}
	return json.RawMessage(text)
}
