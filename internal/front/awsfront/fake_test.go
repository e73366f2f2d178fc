package awsfront

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// fakeAWS is an emulator whose answers a test sets, by operation. It records
// the calls it got.
type fakeAWS struct {
	url *url.URL

	mu      sync.Mutex
	answers map[string]func(in map[string]any) (int, any)
	calls   []string
	bodies  map[string][]map[string]any
}

func newFakeAWS(t *testing.T) *fakeAWS {
	t.Helper()
	e := &fakeAWS{answers: map[string]func(map[string]any) (int, any){}, bodies: map[string][]map[string]any{}}
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	e.url = u
	return e
}

func (e *fakeAWS) on(operation string, answer func(in map[string]any) (int, any)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answers[operation] = answer
}

// says makes an operation succeed with a constant.
func (e *fakeAWS) says(operation, answer string) {
	e.on(operation, func(map[string]any) (int, any) { return 200, json.RawMessage(answer) })
}

// xmlBody is an answer in the query protocol.
type xmlBody string

// saysXML makes an operation of the query protocol succeed with a constant.
func (e *fakeAWS) saysXML(operation, answer string) {
	e.on(operation, func(map[string]any) (int, any) { return 200, xmlBody(answer) })
}

func (e *fakeAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	in := map[string]any{}
	_ = json.Unmarshal(body, &in)
	if form, err := url.ParseQuery(string(body)); err == nil && form.Get("Action") != "" {
		for name := range form {
			in[name] = form.Get(name)
		}
	}
	operation := classify(r, body).Operation
	e.mu.Lock()
	e.calls = append(e.calls, operation)
	e.bodies[operation] = append(e.bodies[operation], in)
	answer := e.answers[operation]
	e.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(w, "%s %s host=%s", r.Method, r.URL.RequestURI(), r.Host)
		return
	}
	status, v := answer(in)
	if text, ok := v.(xmlBody); ok {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, string(text))
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (e *fakeAWS) count(operation string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.bodies[operation])
}

// last is the newest body of an operation.
func (e *fakeAWS) last(operation string) map[string]any {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := e.bodies[operation]
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// fakeStack is the front before two fakes.
type fakeStack struct {
	front           *Front
	ministack, moto *fakeAWS
	url             string
	http            *http.Client
}

func newFakeStack(t *testing.T, o Options) *fakeStack {
	t.Helper()
	s := &fakeStack{ministack: newFakeAWS(t), moto: newFakeAWS(t), http: &http.Client{Transport: &http.Transport{}}}
	o.Ministack, o.Moto, o.AccountID, o.Region = s.ministack.url, s.moto.url, "123456789012", "us-east-1"
	s.front = New(o)
	srv := httptest.NewServer(s.front.Handler())
	s.url = srv.URL
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		srv.Close()
		s.front.Close()
	})
	return s
}

// request is a request as an SDK would sign it.
func (s *fakeStack) request(t *testing.T, service, target, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", target)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=123456789012/20260101/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
	return req
}

// call makes a call and returns its status and decoded answer.
func (s *fakeStack) call(t *testing.T, service, target, body string) (int, map[string]any) {
	t.Helper()
	res, err := s.http.Do(s.request(t, service, target, body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil && !bytes.HasPrefix(data, []byte("POST")) {
		t.Fatalf("%s: %s: %v", target, data, err)
	}
	return res.StatusCode, out
}

// form makes a call in the query protocol and returns its status and answer. The
// parameters are given as name=value.
func (s *fakeStack) form(t *testing.T, service, action string, parameters ...string) (int, string) {
	t.Helper()
	form := url.Values{"Action": {action}}
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		form.Set(name, value)
	}
	req := s.request(t, service, "", form.Encode())
	req.Header.Del("X-Amz-Target")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

// formOK is a call that must succeed.
func (s *fakeStack) formOK(t *testing.T, service, action string, parameters ...string) string {
	t.Helper()
	status, body := s.form(t, service, action, parameters...)
	if status != 200 {
		t.Fatalf("%s: %d %s", action, status, body)
	}
	return body
}

// callOK is a call that must succeed.
func (s *fakeStack) callOK(t *testing.T, service, target, body string) map[string]any {
	t.Helper()
	status, out := s.call(t, service, target, body)
	if status != 200 {
		t.Fatalf("%s: %d %v", target, status, out)
	}
	return out
}

// contains tells what an answer lacks, or has too much.
func contains(t *testing.T, what, body string, want ...string) {
	t.Helper()
	for _, text := range want {
		if forbidden, ok := strings.CutPrefix(text, "!"); ok {
			if strings.Contains(body, forbidden) {
				t.Errorf("%s has %q: %s", what, forbidden, body)
			}
		} else if !strings.Contains(body, text) {
			t.Errorf("%s has no %q: %s", what, text, body)
		}
	}
}
