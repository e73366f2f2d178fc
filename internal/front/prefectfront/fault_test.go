package prefectfront

import (
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"faber/internal/front"
)

const run = "dddddddd-0000-4000-8000-000000000001"

// post makes a call as Cloud's clients do and returns its status.
func (b *bundle) post(t *testing.T, path, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := b.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res
}

// A route is written once, whatever form of address its callers use.
func TestRoutes(t *testing.T) {
	for _, form := range []struct {
		prefix string
		o      Options
	}{{workplace, Options{}}, {"/api", Options{PassThrough: true}}} {
		b := setup(t, form.o)
		if _, err := b.front.Faults().Add(
			front.Fault{ID: "state", Route: "POST /flow_runs/{id}/set_state", Status: 503},
			front.Fault{ID: "poll", Route: "* /work_pools/{name}/get_scheduled_flow_runs", Throttle: true},
			front.Fault{ID: "socket", Route: "WS /events/*", Status: 403},
			front.Fault{ID: "run", Run: run, Status: 500},
		); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			path, body string
			status     int
		}{
			{"/flow_runs/" + run + "/set_state", "{}", 503},
			{"/flow_runs/" + run + "/set_state/", "{}", 500},
			{"/flow_runs/" + run, "{}", 500},
			{"/flow_runs/filter", `{"flow_runs":{"id":{"any_":["` + strings.ToUpper(run) + `"]}}}`, 500},
			{"/flow_runs/filter", `{}`, 200},
			{"/work_pools/p/get_scheduled_flow_runs", "{}", 429},
			{"/work_pools/p/queues", "{}", 200},
		} {
			res := b.post(t, form.prefix+tt.path, tt.body)
			if res.StatusCode != tt.status {
				t.Errorf("%s: %d, want %d", tt.path, res.StatusCode, tt.status)
			}
			if got := res.Header.Get("Retry-After"); (got == "1") != (tt.status == 429) {
				t.Errorf("%s: Retry-After %q", tt.path, got)
			}
		}
		_, res, err := websocket.Dial(t.Context(), b.url+form.prefix+"/events/out", &websocket.DialOptions{HTTPClient: b.http})
		if err == nil || res.StatusCode != 403 {
			t.Errorf("socket: %v %v", res, err)
		}
		calls := b.front.Ledger().Calls(front.Query{Run: run})
		if len(calls) != 4 || calls[0].Fault != "state" || calls[3].Fault != "run" || calls[3].Effect != front.EffectNo {
			t.Errorf("ledger: %+v", calls)
		}
	}
}

func TestEffectsOfTheAWSFrontAreRefused(t *testing.T) {
	b := setup(t, Options{})
	for _, f := range []front.Fault{
		{Event: front.EventDrop}, {Hide: front.Forever}, {Stop: &front.Stop{Code: "x"}}, {Failures: []front.Failure{{Reason: "x"}}}, {Task: "t", Throttle: true},
	} {
		if _, err := b.front.Faults().Add(f); err == nil || !strings.Contains(err.Error(), "AWS front") {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

// A socket can be held while it opens, and opens when it is released.
func TestSocketIsHeld(t *testing.T) {
	b := setup(t, Options{PassThrough: true})
	if _, err := b.front.Faults().Add(front.Fault{ID: "s", Route: "WS /events/out", Hold: front.HoldAfter}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	opened := make(chan *websocket.Conn, 1)
	go func() {
		conn, _, err := websocket.Dial(ctx, b.url+"/api/events/out", &websocket.DialOptions{HTTPClient: b.http, Subprotocols: []string{"prefect"}})
		if err != nil {
			t.Error(err)
		}
		opened <- conn
	}()
	if _, err := b.front.Holds().Await(ctx, "s", 1); err != nil {
		t.Fatal(err)
	}
	if n := len(b.seen); n != 0 {
		t.Errorf("%d calls reached the server", n)
	}
	b.front.Holds().Release("s")
	conn := <-opened
	defer conn.CloseNow()
	exchange(t, conn, `{"type":"auth","token":null}`, `{"type":"auth_success"}`)
}

// Whether a proposed state was accepted stands in the answer, not in its status.
func TestVerdicts(t *testing.T) {
	zipped := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		return b.String()
	}
	answers := map[string]struct {
		status        int
		body, zip     string
		effect        front.Effect
		want, encoded string
	}{
		"accept":  {status: 201, body: `{"status":"ACCEPT","state":{}}`, effect: front.EffectYes},
		"reject":  {status: 200, body: `{"status":"REJECT"}`, effect: front.EffectNo},
		"abort":   {status: 200, body: `{"status":"ABORT"}`, effect: front.EffectNo},
		"wait":    {status: 200, body: `{"status":"WAIT"}`, effect: front.EffectNo},
		"zipped":  {status: 200, body: zipped(`{"status":"WAIT"}`), zip: "gzip", effect: front.EffectNo},
		"unknown": {status: 200, body: `{}`, effect: front.EffectYes},
		"broken":  {status: 200, body: `{"status":`, effect: front.EffectYes},
		"no run":  {status: 404, body: `{"status":"ACCEPT"}`, effect: front.EffectNo},
		"failed":  {status: 500, body: `oops`, effect: front.EffectUnknown},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := answers[strings.Split(r.URL.Path, "/")[3]]
		if a.zip != "" {
			w.Header().Set("Content-Encoding", a.zip)
		}
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(a.body))
	}))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := New(Options{Server: u, PassThrough: true})
	defer f.Close()
	for name, a := range answers {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/api/flow_runs/"+url.PathEscape(name)+"/set_state", strings.NewReader("{}"))
		r.Header.Set("Accept-Encoding", "gzip") // so that it passes as it is
		f.Handler().ServeHTTP(w, r)
		calls := f.Ledger().Calls(front.Query{Limit: 1})
		if w.Code != a.status || w.Body.String() != a.body || calls[0].Effect != a.effect {
			t.Errorf("%s: %d %q, effect %s", name, w.Code, w.Body, calls[0].Effect)
		}
	}
	if data := unzipped([]byte("no gzip"), http.Header{"Content-Encoding": {"gzip"}}); len(data) != 0 {
		t.Errorf("what is no gzip: %s", data)
	}
}
