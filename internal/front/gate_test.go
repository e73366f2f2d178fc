package front

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle is a gate before an upstream that counts its calls and echoes bodies.
type bundle struct {
	gate  *Gate
	url   string
	calls *atomic.Int32
	http  *http.Client
}

func setup(t *testing.T, o Options) *bundle {
	t.Helper()
	b := &bundle{calls: &atomic.Int32{}, http: &http.Client{Transport: &http.Transport{}}}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.calls.Add(1)
		if r.Header.Get("Upgrade") != "" {
			echoSocket(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(body)
	}))
	target, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}
	if o.Classify == nil {
		o.Classify = func(r *http.Request, _ []byte) Op { return Op{Service: "svc", Operation: r.Header.Get("X-Op")} }
	}
	b.gate = NewGate(o)
	srv := httptest.NewServer(b.gate.Wrap(proxy))
	b.url = srv.URL
	t.Cleanup(func() {
		b.http.CloseIdleConnections()
		srv.Close()
		transport.CloseIdleConnections()
		upstream.Close()
	})
	return b
}

func echoSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	for {
		kind, data, err := conn.Read(r.Context())
		if err != nil || conn.Write(r.Context(), kind, data) != nil {
			return
		}
	}
}

// do makes a call and returns its status and body.
func (b *bundle) do(t *testing.T, method, path, op, body string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Op", op)
	res, err := b.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return res.StatusCode, string(data), err
}

// leave makes a call that ends with ctx.
func (b *bundle) leave(ctx context.Context, t *testing.T) error {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+"/", strings.NewReader("x"))
	if err != nil {
		return err
	}
	res, err := b.http.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func (b *bundle) must(t *testing.T, method, path, op, body string, want int) string {
	t.Helper()
	status, text, err := b.do(t, method, path, op, body)
	if err != nil || status != want {
		t.Fatalf("%s %s: %d %q %v, want %d", method, path, status, text, err, want)
	}
	return text
}

func TestPassesBodiesOfAnySize(t *testing.T) {
	b := setup(t, Options{})
	for _, size := range []int{0, 1, maxHeldBody, maxHeldBody + 1, 3 * maxHeldBody} {
		body := strings.Repeat("x", size)
		if got := b.must(t, "PUT", "/big", "Put", body, 202); got != body {
			t.Errorf("%d bytes became %d", size, len(got))
		}
		// Once more in chunks, whose length is not told beforehand.
		req, err := http.NewRequestWithContext(t.Context(), "PUT", b.url+"/big", io.MultiReader(strings.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || string(got) != body {
			t.Errorf("%d bytes in chunks became %d: %v", size, len(got), err)
		}
	}
}

func TestFaultEffects(t *testing.T) {
	tests := map[string]struct {
		fault     string
		status    int
		body      string
		broken    bool
		effective int32
	}{
		"status alone":     {`{"status":503}`, 503, "", false, 0},
		"status and body":  {`{"status":429,"body":"{\"a\":1}"}`, 429, `{"a":1}`, false, 0},
		"success and body": {`{"status":200,"body":"{\"tasks\":[]}"}`, 200, `{"tasks":[]}`, false, 0},
		"error by code":    {`{"code":"Throttled","message":"slow down"}`, 400, "Throttled: slow down\n", false, 0},
		"drop the request": {`{"drop":"request"}`, 0, "", true, 0},
		"drop the reply":   {`{"drop":"reply"}`, 0, "", true, 1},
		"delay":            {`{"delay":"1ms"}`, 202, "hello", false, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := setup(t, Options{})
			b.must(t, "POST", "/_front/faults", "", tt.fault, 201)
			status, body, err := b.do(t, "POST", "/x", "Op", "hello")
			if (err != nil) != tt.broken {
				t.Fatalf("error %v, want broken %v", err, tt.broken)
			}
			if tt.broken && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
				t.Errorf("error %v is neither a reset nor an end", err)
			}
			if status != tt.status || body != tt.body {
				t.Errorf("got %d %q, want %d %q", status, body, tt.status, tt.body)
			}
			if n := b.calls.Load(); n != tt.effective {
				t.Errorf("the call took effect %d times, want %d", n, tt.effective)
			}
			calls := b.gate.Ledger().Calls(Query{})
			if len(calls) != 1 || calls[0].Fault != "fault-1" || calls[0].Status != tt.status {
				t.Errorf("ledger: %+v", calls)
			}
		})
	}
}

func TestFaultSelection(t *testing.T) {
	b := setup(t, Options{})
	b.must(t, "POST", "/_front/faults", "", `[
		{"id":"once","operation":"A","skip":1,"count":1,"status":500},
		{"id":"by path","service":"svc","path":"^/only/","status":501},
		{"id":"by body","request":"flow-run-7","status":502}
	]`, 201)
	for i, want := range []int{202, 500, 202} {
		if status, _, _ := b.do(t, "POST", "/", "A", ""); status != want {
			t.Errorf("call %d of A: %d, want %d", i+1, status, want)
		}
	}
	b.must(t, "POST", "/only/this", "B", "", 501)
	b.must(t, "POST", "/not/only/this", "B", "", 202)
	b.must(t, "POST", "/", "B", `{"run":"flow-run-7"}`, 502)
	var table struct{ Faults []Fault }
	if err := json.Unmarshal([]byte(b.must(t, "GET", "/_front/faults", "", "", 200)), &table); err != nil {
		t.Fatal(err)
	}
	for _, f := range table.Faults {
		if f.Hits != 1 {
			t.Errorf("fault %q has %d hits, want 1", f.ID, f.Hits)
		}
	}
	b.must(t, "DELETE", "/_front/faults/by%20path", "", "", 204)
	b.must(t, "DELETE", "/_front/faults/by%20path", "", "", 404)
	b.must(t, "POST", "/only/this", "B", "", 202)
	b.must(t, "DELETE", "/_front/faults", "", "", 204)
	b.must(t, "POST", "/", "B", `{"run":"flow-run-7"}`, 202)
}

func TestProbability(t *testing.T) {
	faults := NewFaults()
	if _, err := faults.Add(Fault{Status: 500, Probability: 0.25}); err != nil {
		t.Fatal(err)
	}
	draw := 0.0
	faults.rules[0].draw = func() float64 { return draw }
	for _, tt := range []struct {
		draw float64
		want bool
	}{{0, true}, {0.2, true}, {0.25, false}, {0.9, false}} {
		draw = tt.draw
		if _, got := faults.Take(Subject{Path: "/"}); got != tt.want {
			t.Errorf("draw %v: %v, want %v", tt.draw, got, tt.want)
		}
	}
}

func TestFaultsRefused(t *testing.T) {
	b := setup(t, Options{})
	for _, fault := range []string{
		``, `{}`, `[]x`, `{"status":99}`, `{"drop":"both"}`, `{"drop":"reply","status":500}`, `{"status":500,"probability":2}`,
		`{"status":500,"path":"("}`, `{"status":500,"opperation":"RunTask"}`, `{"delay":"soon"}`, `{"status":500,"count":-1}`,
		`[{"status":500},{"status":1}]`,
	} {
		b.must(t, "POST", "/_front/faults", "", fault, 400)
	}
	if n := len(b.gate.Faults().List()); n != 0 {
		t.Errorf("%d faults in the table", n)
	}
}

func TestLedger(t *testing.T) {
	b := setup(t, Options{LedgerSize: 3})
	for _, op := range []string{"A", "B", "C", "D"} {
		b.must(t, "POST", "/p/"+op, op, `{"password":"hunter2","n":1}`, 202)
	}
	var out struct {
		Calls []Call
		Last  int64
	}
	ask := func(query string) []string {
		t.Helper()
		if err := json.Unmarshal([]byte(b.must(t, "GET", "/_front/ledger"+query, "", "", 200)), &out); err != nil {
			t.Fatal(err)
		}
		ops := []string{}
		for _, c := range out.Calls {
			ops = append(ops, c.Operation)
			if !c.Done || c.Duration <= 0 || c.Method != "POST" || string(c.Request) != `{"n":1,"password":"********"}` {
				t.Errorf("call: %+v %s", c, c.Request)
			}
		}
		return ops
	}
	for query, want := range map[string]string{
		"": "B C D", "?operation=C": "C", "?service=other": "", "?since=3": "D", "?limit=2": "C D", "?status=500": "", "?status=202&limit=1": "D", "?path=/p/B": "B",
	} {
		if got := strings.Join(ask(query), " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	if out.Last != 4 {
		t.Errorf("last is %d, want 4", out.Last)
	}
	b.must(t, "GET", "/_front/ledger?limit=x", "", "", 400)
}

func TestHealth(t *testing.T) {
	var down error
	b := setup(t, Options{Name: "f", Probe: func(context.Context) error { return down }})
	b.must(t, "GET", "/_front/health", "", "", 200)
	down = errors.New("gone")
	if text := b.must(t, "GET", "/_front/health", "", "", 503); !strings.Contains(text, "gone") {
		t.Errorf("health tells %q", text)
	}
	b.must(t, "GET", "/_front/nothing", "", "", 404)
}

func TestSocketsPassAndAreCut(t *testing.T) {
	b := setup(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, b.url+"/ws", &websocket.DialOptions{HTTPClient: b.http})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, data, err := conn.Read(ctx); err != nil || string(data) != "hello" {
		t.Fatalf("read %q, %v", data, err)
	}
	if text := b.must(t, "DELETE", "/_front/sockets", "", "", 200); strings.TrimSpace(text) != `{"closed":1}` {
		t.Errorf("cut: %s", text)
	}
	if _, _, err := conn.Read(ctx); err == nil || websocket.CloseStatus(err) != -1 {
		t.Errorf("read after the cut: %v, want a broken connection", err)
	}
	_, res, err := func() (*websocket.Conn, *http.Response, error) {
		b.must(t, "POST", "/_front/faults", "", `{"path":"/ws","status":403}`, 201)
		return websocket.Dial(ctx, b.url+"/ws", &websocket.DialOptions{HTTPClient: b.http})
	}()
	if err == nil || res == nil || res.StatusCode != 403 {
		t.Errorf("upgrade with a fault: %v %v", res, err)
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		``:                       ``,
		`{"SecretString":"s"}`:   `{"SecretString":"********"}`,
		`{"clientToken":"keep"}`: `{"clientToken":"keep"}`,
		`{"SecretId":"keep"}`:    `{"SecretId":"keep"}`,
		`{"env":{"PREFECT_API_KEY":"k","A":"b"},"n":12345678901234567890}`: `{"env":{"A":"b","PREFECT_API_KEY":"********"},"n":12345678901234567890}`,
		`{"environment":[{"name":"DB_PASSWORD","value":"p"}]}`:             `{"environment":[{"name":"DB_PASSWORD","value":"********"}]}`,
		`[{"token":"t"},{"token":null}]`:                                   `[{"token":"********"},{"token":null}]`,
		`Action=CreateUser&Password=p&UserName=u`:                          `Action=CreateUser&Password=%2A%2A%2A%2A%2A%2A%2A%2A&UserName=u`,
		"\x1f\x8b zipped": `(not kept: neither JSON nor a form)`,
	} {
		if got := Redact([]byte(in)); string(got) != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

func TestLedgerKeepsValidJSON(t *testing.T) {
	for _, in := range [][]byte{[]byte("a\xffb"), []byte(`{ "a": 1 }`), bytes.Repeat([]byte(`x`), 2*maxLedgerBody), []byte(`["` + strings.Repeat("y", 2*maxLedgerBody) + `"]`)} {
		if out := LedgerBody(in); !json.Valid(out) || len(out) > 2*maxLedgerBody {
			t.Errorf("%.20q… became %.20q…", in, out)
		}
	}
}
