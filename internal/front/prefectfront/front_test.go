package prefectfront

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"faber/internal/front"
)

const (
	key       = "pnu_right"
	account   = "aaaaaaaa-0000-4000-8000-000000000001"
	workspace = "bbbbbbbb-0000-4000-8000-000000000001"
	workplace = "/api/accounts/" + account + "/workspaces/" + workspace
)

// bundle is a front before a fake server.
type bundle struct {
	front *Front
	url   string
	http  *http.Client
	// seen are the HTTP requests that reached the server; frames what its
	// sockets read.
	seen   chan *http.Request
	frames chan string
}

func setup(t *testing.T, o Options) *bundle {
	t.Helper()
	b := &bundle{
		http: &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		seen: make(chan *http.Request, 100), frames: make(chan string, 100),
	}
	server := httptest.NewServer(b)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	o.Server = u
	o.APIKeys = map[string][]Workspace{key: {{AccountID: account, AccountHandle: "acme", WorkspaceID: workspace, WorkspaceHandle: "main"}}, "pnu_nowhere": {}}
	b.front = New(o)
	srv := httptest.NewServer(b.front.Handler())
	b.url = srv.URL
	t.Cleanup(func() {
		b.http.CloseIdleConnections()
		srv.Close()
		b.front.Close()
		server.Close()
	})
	return b
}

// ServeHTTP is the fake server.
func (b *bundle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.seen <- r.Clone(context.Background())
	switch {
	case strings.HasSuffix(r.URL.Path, "/missing"):
		http.Error(w, `{"detail":"Not Found"}`, http.StatusNotFound)
	case r.Header.Get("Upgrade") != "":
		b.serveSocket(w, r)
	case strings.HasSuffix(r.URL.Path, "/moved"):
		w.Header().Set("Location", "http://"+r.Host+"/api/there/?a=b")
		w.WriteHeader(http.StatusTemporaryRedirect)
	default:
		_, _ = w.Write([]byte(`{"ok":true}`))
	}
}

// serveSocket does the server's handshake, then echoes. "bye" makes it close.
func (b *bundle) serveSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"prefect"}})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	ctx := r.Context()
	_, first, err := conn.Read(ctx)
	if err != nil {
		return
	}
	b.frames <- conn.Subprotocol() + " " + string(first)
	if conn.Write(ctx, websocket.MessageText, []byte(`{"type":"auth_success"}`)) != nil {
		return
	}
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			var end websocket.CloseError
			errors.As(err, &end)
			b.frames <- "closed " + end.Code.String() + " " + end.Reason
			return
		}
		b.frames <- string(data)
		if string(data) == "bye" {
			_ = conn.Close(websocket.StatusInternalError, "transient_server_error")
			return
		}
		if conn.Write(ctx, kind, data) != nil {
			return
		}
	}
}

func (b *bundle) get(t *testing.T, method, path, token string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := b.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, strings.TrimSpace(string(body))
}

func TestAccess(t *testing.T) {
	b := setup(t, Options{})
	elsewhere := "cccccccc-0000-4000-8000-000000000001"
	for _, tt := range []struct {
		name, path, token string
		status            int
		body              string
	}{
		{"right", workplace + "/flows/filter", key, 200, `{"ok":true}`},
		{"no key", workplace + "/flows/filter", "", 401, `{"detail":"Invalid authentication credentials"}`},
		{"wrong key", workplace + "/flows/filter", "pnu_wrong", 401, `{"detail":"Invalid authentication credentials"}`},
		{"unknown account", "/api/accounts/" + elsewhere + "/workspaces/" + workspace + "/flows/filter", key, 404, `{"detail":"Not Found"}`},
		{"unknown workspace", "/api/accounts/" + account + "/workspaces/" + elsewhere + "/flows/filter", key, 403, `{"detail":"Forbidden"}`},
		{"a key for nowhere", workplace + "/flows/filter", "pnu_nowhere", 404, `{"detail":"Not Found"}`},
		{"the server's own form", "/api/flows/filter", key, 404, `{"detail":"Not Found"}`},
		{"health", "/api/health", "", 200, `{"ok":true}`},
		{"workspaces of a wrong key", "/api/me/workspaces", "pnu_wrong", 401, `{"detail":"Invalid authentication credentials"}`},
		{"me of a wrong key", "/api/me/", "pnu_wrong", 401, `{"detail":"Invalid authentication credentials"}`},
		{"workspaces of a key for nowhere", "/api/me/workspaces", "pnu_nowhere", 200, `[]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if res, body := b.get(t, "GET", tt.path, tt.token); res.StatusCode != tt.status || body != tt.body {
				t.Errorf("%d %s, want %d %s", res.StatusCode, body, tt.status, tt.body)
			}
		})
	}
	_, body := b.get(t, "GET", "/api/me/workspaces", key)
	var places []map[string]string
	if err := json.Unmarshal([]byte(body), &places); err != nil || len(places) != 1 || places[0]["workspace_id"] != workspace || places[0]["account_handle"] != "acme" {
		t.Errorf("workspaces: %s %v", body, err)
	}
	for _, path := range []string{"/api/me", "/api/me/"} {
		if res, body := b.get(t, "GET", path, key); res.StatusCode != 200 || !strings.Contains(body, `"handle"`) {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
}

func TestRequestsReachTheServer(t *testing.T) {
	b := setup(t, Options{})
	for path, want := range map[string]string{
		"/flow_runs/filter?limit=2":       "/api/flow_runs/filter?limit=2",
		"/work_pools/a%2Fb%20c":           "/api/work_pools/a%2Fb%20c",
		"/":                               "/api/",
		"/collections/work_pool_types":    "/api/collections/views/aggregate-worker-metadata",
		"/deployments/name/flow/deploy-1": "/api/deployments/name/flow/deploy-1",
	} {
		b.get(t, "POST", workplace+path, key)
		got := <-b.seen
		if got.URL.RequestURI() != want {
			t.Errorf("%s became %s, want %s", path, got.URL.RequestURI(), want)
		}
		if got.Header.Get("Authorization") != "" {
			t.Error("the server saw the key")
		}
	}
	res, _ := b.get(t, "GET", workplace+"/moved", key)
	if want := b.url + workplace + "/there/?a=b"; res.Header.Get("Location") != want {
		t.Errorf("redirected to %s, want %s", res.Header.Get("Location"), want)
	}
}

func TestPassThrough(t *testing.T) {
	b := setup(t, Options{PassThrough: true})
	if res, body := b.get(t, "GET", "/api/flows/filter", "anything"); res.StatusCode != 200 || body != `{"ok":true}` {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if got := <-b.seen; got.Header.Get("Authorization") != "Bearer anything" || got.URL.Path != "/api/flows/filter" {
		t.Errorf("the server saw %s with %v", got.URL, got.Header)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, b.url+"/api/events/out", &websocket.DialOptions{HTTPClient: b.http, Subprotocols: []string{"prefect"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	exchange(t, conn, `{"type":"auth","token":null}`, `{"type":"auth_success"}`)
	exchange(t, conn, "hello", "hello")
}

// dial opens a socket as Cloud's clients do.
func (b *bundle) dial(t *testing.T, path, bearer string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	o := &websocket.DialOptions{HTTPClient: b.http, HTTPHeader: http.Header{}}
	if bearer != "" {
		o.HTTPHeader.Set("Authorization", "bearer "+bearer)
	} else {
		o.Subprotocols = []string{"prefect"}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, res, err := websocket.Dial(ctx, b.url+path, o)
	if err == nil {
		t.Cleanup(func() { _ = conn.CloseNow() })
	}
	return conn, res, err
}

func exchange(t *testing.T, conn *websocket.Conn, say, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(say)); err != nil {
		t.Fatal(err)
	}
	if _, data, err := conn.Read(ctx); err != nil || string(data) != want {
		t.Fatalf("read %q %v, want %q", data, err, want)
	}
}

func (b *bundle) frame(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-b.frames:
		if got != want {
			t.Errorf("the server read %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("the server did not read %q", want)
	}
}

const serverHandshake = `prefect {"type":"auth","token":null}`

func TestEventsIn(t *testing.T) {
	b := setup(t, Options{})
	for _, wrong := range []string{"pnu_wrong", ""} {
		if _, res, err := b.dial(t, workplace+"/events/in", wrong); err == nil || res.StatusCode != 401 {
			t.Errorf("key %q: %v", wrong, err)
		}
	}
	conn, _, err := b.dial(t, workplace+"/events/in", key)
	if err != nil {
		t.Fatal(err)
	}
	b.frame(t, serverHandshake)
	exchange(t, conn, `{"event":"e"}`, `{"event":"e"}`)
	b.frame(t, `{"event":"e"}`)

	// The pong is the server's.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	reading := conn.CloseRead(ctx)
	if err := conn.Ping(reading); err != nil {
		t.Errorf("ping: %v", err)
	}
	if err := conn.Close(websocket.StatusNormalClosure, "done"); err != nil {
		t.Errorf("close: %v", err)
	}
	b.frame(t, "closed StatusNormalClosure done")
}

func TestSocketsInBand(t *testing.T) {
	for _, path := range []string{"/events/out", "/work_pools/a%2Fb/workers/connect"} {
		b := setup(t, Options{})
		for _, first := range []string{`{"type":"auth","token":"pnu_wrong"}`, `{"type":"auth","token":null}`, `{"type":"hello"}`, `{"type":"auth","token":"pnu_nowhere"}`, `x`} {
			conn, _, err := b.dial(t, workplace+path, "")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := conn.Write(ctx, websocket.MessageText, []byte(first)); err != nil {
				t.Fatal(err)
			}
			_, _, err = conn.Read(ctx)
			cancel()
			var end websocket.CloseError
			if !errors.As(err, &end) || end.Code != websocket.StatusPolicyViolation || end.Reason != "authentication_failed" {
				t.Errorf("%s: %v", first, err)
			}
			<-b.seen
		}
		conn, _, err := b.dial(t, workplace+path, "")
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, conn, `{"type":"auth","token":"`+key+`"}`, `{"type":"auth_success"}`)
		b.frame(t, serverHandshake)
		if got := <-b.seen; got.URL.EscapedPath() != "/api"+path || got.Header.Get("Authorization") != "" {
			t.Errorf("the server saw %s with %v", got.URL, got.Header)
		}
		exchange(t, conn, "hello", "hello")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := conn.Write(ctx, websocket.MessageText, []byte("bye")); err != nil {
			t.Fatal(err)
		}
		_, _, err = conn.Read(ctx)
		var end websocket.CloseError
		if !errors.As(err, &end) || end.Code != websocket.StatusInternalError || end.Reason != "transient_server_error" {
			t.Errorf("the server's close arrives as %v", err)
		}
	}
}

func TestSocketRefusedByServer(t *testing.T) {
	b := setup(t, Options{})
	if _, res, err := b.dial(t, workplace+"/missing", ""); err == nil || res.StatusCode != 404 {
		t.Errorf("a route the server has not: %v", err)
	}
	b.front.o.Server.Host = "127.0.0.1:1"
	if _, res, err := b.dial(t, workplace+"/events/out", ""); err == nil || res.StatusCode != 502 {
		t.Errorf("a server that is away: %v", err)
	}
	if res, _ := b.get(t, "GET", workplace+"/flows/filter", key); res.StatusCode != 502 {
		t.Errorf("a server that is away: %d", res.StatusCode)
	}
	if res, _ := b.get(t, "GET", "/_front/health", ""); res.StatusCode != 503 {
		t.Errorf("health: %d", res.StatusCode)
	}
}

func TestSocketCut(t *testing.T) {
	b := setup(t, Options{})
	conn, _, err := b.dial(t, workplace+"/events/in", key)
	if err != nil {
		t.Fatal(err)
	}
	b.frame(t, serverHandshake)
	exchange(t, conn, "x", "x")
	b.frame(t, "x")
	if res, body := b.get(t, "DELETE", "/_front/sockets", ""); res.StatusCode != 200 || body != `{"closed":1}` {
		t.Errorf("cut: %d %s", res.StatusCode, body)
	}
	b.frame(t, "closed StatusCode(0) ")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := conn.Read(ctx); err == nil || websocket.CloseStatus(err) != -1 {
		t.Errorf("read: %v, want a broken connection", err)
	}
}

func TestOperationsAndFaults(t *testing.T) {
	b := setup(t, Options{})
	for path, want := range map[string]string{
		workplace + "/flow_runs/" + account + "/set_state":                    "POST /flow_runs/{id}/set_state",
		workplace + "/work_pools/my%20pool/get_scheduled_flow_runs":           "POST /work_pools/{name}/get_scheduled_flow_runs",
		workplace + "/work_pools/filter":                                      "POST /work_pools/filter",
		workplace + "/work_pools/p/queues/q":                                  "POST /work_pools/{name}/queues/{name}",
		workplace + "/block_types/slug/secret/block_documents/name/my-secret": "POST /block_types/slug/{name}/block_documents/name/{name}",
		"/api/me/workspaces":                                                  "POST /me/workspaces",
	} {
		b.get(t, "POST", path, key)
		calls := b.front.Ledger().Calls(front.Query{Limit: 1})
		if got := calls[0].Operation; got != want || calls[0].Service != "prefect" {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if _, err := b.front.Faults().Add(front.Fault{Operation: "POST /flow_runs/{id}/set_state", Status: 503, Code: "Busy", Message: "later"}); err != nil {
		t.Fatal(err)
	}
	if res, body := b.get(t, "POST", workplace+"/flow_runs/"+account+"/set_state", key); res.StatusCode != 503 || body != `{"detail":"Busy: later"}` {
		t.Errorf("fault: %d %s", res.StatusCode, body)
	}
}

func TestBlocksAreCut(t *testing.T) {
	for operation, want := range map[string]string{
		"POST /block_documents/": `{"data":"********","name":"b"}`,
		"POST /variables/":       `{"data":"********","name":"b"}`,
		"POST /flows/":           `{"name":"b","data":{"a":1}}`,
	} {
		body := []byte(`{"name":"b","data":{"a":1}}`)
		got := redact(nil, front.Op{Operation: operation}, body)
		var a, b any
		if json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
			t.Fatalf("%s", got)
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if !bytes.Equal(x, y) {
			t.Errorf("%s: %s, want %s", operation, x, y)
		}
	}
}
