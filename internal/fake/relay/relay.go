// Package relay stands between a worker and a real Prefect server in tests: it
// passes every call and every WebSocket frame on, remembers them, and spoils
// what a test wants spoilt. What it remembers is the witness of a test: it was
// on the wire.
package relay

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Exchange is one HTTP call and its answer.
type Exchange struct {
	At     time.Time // when the call came in
	Took   time.Duration
	Method string
	Path   string // escaped, without the query
	Query  string
	Header http.Header
	Body   []byte
	Status int // 0: not answered, or dropped
	Answer []byte
	// Spoilt says that the relay answered in the server's stead.
	Spoilt bool
}

// FromFlow says that a flow run's own process made the call, not the worker.
func (x Exchange) FromFlow() bool { return fromFlow(x.Header) }

func fromFlow(h http.Header) bool {
	return h.Get("X-Prefect-Flow-Id") != "" || h.Get("X-Prefect-Flow-Run-Id") != ""
}

// Answer is what the relay says in the server's stead.
type Answer struct {
	Delay  time.Duration
	Status int
	Header map[string]string
	Body   string
	// DropRequest resets the connection before the server saw the call;
	// DropReply after it took effect.
	DropRequest, DropReply bool
}

// Relay is a running relay. Make one with New. Safe for concurrent use.
type Relay struct {
	upstream *url.URL
	proxy    *httputil.ReverseProxy
	addr     string
	tls      bool

	mu        sync.Mutex
	server    *httptest.Server
	exchanges []*Exchange
	rules     []*rule
	sockets   []*Socket
	refusals  []*refusal
	filters   []*filter
	changed   chan struct{} // closed and replaced when anything was recorded
}

type rule struct {
	answer func(r *http.Request, body []byte) *Answer
}

// New starts a relay before upstream ("http://127.0.0.1:4200") on a port of its
// own on loopback. It ends with the test.
func New(t testing.TB, upstream string) *Relay { return start(t, upstream, false) }

// NewTLS is New with a self-signed certificate; see Certificate.
func NewTLS(t testing.TB, upstream string) *Relay { return start(t, upstream, true) }

func start(t testing.TB, upstream string, secure bool) *Relay {
	t.Helper()
	target, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{upstream: target, tls: secure, changed: make(chan struct{})}
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	r.proxy = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = target.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { panic(http.ErrAbortHandler) },
	}
	r.listen(t, "127.0.0.1:0")
	t.Cleanup(func() {
		r.Down()
		transport.CloseIdleConnections()
	})
	return r
}

func (r *Relay) listen(t testing.TB, addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	_ = server.Listener.Close()
	server.Listener = listener
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if r.tls {
		server.StartTLS()
	} else {
		server.Start()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server, r.addr = server, listener.Addr().String()
}

// URL is the relay's address without a path; it stays the same over Down and Up.
func (r *Relay) URL() string {
	if r.tls {
		return "https://" + r.addr
	}
	return "http://" + r.addr
}

// API is the URL of the Prefect API behind the relay.
func (r *Relay) API() string { return r.URL() + "/api" }

// workspacePath is where Prefect Cloud has the API of a workspace.
const workspacePath = "/accounts/5c6b0f5e-0d9d-4f0c-9d0e-7a1f3c2b4a10/workspaces/0e3f7a52-9a38-4a3b-8f5e-2d1c6b7a8f90"

// Workspace is the same API at an address of Cloud's form: what the relay was
// called with is recorded as if it had been API. A worker takes it for Cloud
// when its PREFECT_CLOUD_API_URL is API.
func (r *Relay) Workspace() string { return r.API() + workspacePath }

func cutWorkspace(u *url.URL) {
	u.Path = strings.Replace(u.Path, workspacePath, "", 1)
	u.RawPath = strings.Replace(u.RawPath, workspacePath, "", 1)
}

// Certificate is what a relay made with NewTLS presents.
func (r *Relay) Certificate() tls.Certificate { return r.server.TLS.Certificates[0] }

// Down refuses connections and cuts those that are open, as a server that died.
func (r *Relay) Down() {
	r.mu.Lock()
	server := r.server
	r.server = nil
	open := slices.Clone(r.sockets)
	r.mu.Unlock()
	if server == nil {
		return
	}
	_ = server.Listener.Close()
	for _, s := range open {
		s.Cut()
	}
	server.CloseClientConnections()
	server.Close()
}

// Up ends Down.
func (r *Relay) Up(t testing.TB) {
	t.Helper()
	r.listen(t, r.addr)
}

// Intercept lets answer decide about every call from now on: nil passes it on.
// Later rules are asked first. The returned function takes the rule away.
func (r *Relay) Intercept(answer func(r *http.Request, body []byte) *Answer) (remove func()) {
	added := &rule{answer}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules = append(r.rules, added)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.rules = slices.DeleteFunc(r.rules, func(other *rule) bool { return other == added })
	}
}

// InterceptWorker is Intercept for the worker's calls with this method and an
// address that ends in suffix. The first calls get the answers in turn, those
// after them pass; a single answer with times < 0 is given for ever.
func (r *Relay) InterceptWorker(method, suffix string, times int, answers ...Answer) (remove func()) {
	var mu sync.Mutex
	given := 0
	return r.Intercept(func(req *http.Request, _ []byte) *Answer {
		if req.Method != method || !strings.HasSuffix(req.URL.Path, suffix) || fromFlow(req.Header) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if times >= 0 && given >= times {
			return nil
		}
		answer := answers[min(given, len(answers)-1)]
		given++
		return &answer
	})
}

// Exchanges returns the calls for which every given condition holds, in the
// order in which they came in.
func (r *Relay) Exchanges(conditions ...func(Exchange) bool) []Exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Exchange
next:
	for _, x := range r.exchanges {
		for _, holds := range conditions {
			if !holds(*x) {
				continue next
			}
		}
		out = append(out, *x)
	}
	return out
}

// Calls is a condition: the worker's calls with this method and an address that
// ends in suffix. An empty method is any.
func Calls(method, suffix string) func(Exchange) bool {
	return func(x Exchange) bool {
		return (method == "" || x.Method == method) && strings.HasSuffix(x.Path, suffix) && !x.FromFlow()
	}
}

// Changed is closed when something new was recorded.
func (r *Relay) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// note records under the lock and tells who waits.
func (r *Relay) note(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Relay) serve(w http.ResponseWriter, req *http.Request) {
	cutWorkspace(req.URL)
	if strings.EqualFold(req.Header.Get("Upgrade"), "websocket") {
		r.serveSocket(w, req)
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	x := &Exchange{At: time.Now(), Method: req.Method, Path: req.URL.EscapedPath(), Query: req.URL.RawQuery, Header: req.Header.Clone(), Body: body}
	r.note(func() { r.exchanges = append(r.exchanges, x) })
	answer := r.decide(req, body)
	recorded := &recording{ResponseWriter: w}
	defer func() {
		r.note(func() {
			x.Status, x.Answer, x.Took, x.Spoilt = recorded.status, recorded.body.Bytes(), time.Since(x.At), answer != nil
		})
	}()
	if answer != nil {
		r.spoil(recorded, req, *answer)
		return
	}
	// The body is kept for tests to read: it must come in clear.
	req.Header.Del("Accept-Encoding")
	r.proxy.ServeHTTP(recorded, req)
}

func (r *Relay) decide(req *http.Request, body []byte) *Answer {
	r.mu.Lock()
	rules := slices.Clone(r.rules)
	r.mu.Unlock()
	for _, rule := range slices.Backward(rules) {
		if answer := rule.answer(req, body); answer != nil {
			return answer
		}
	}
	return nil
}

func (r *Relay) spoil(w *recording, req *http.Request, a Answer) {
	if a.Delay > 0 {
		timer := time.NewTimer(a.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case a.DropRequest:
		panic(http.ErrAbortHandler)
	case a.DropReply:
		r.proxy.ServeHTTP(httptest.NewRecorder(), req)
		panic(http.ErrAbortHandler)
	case a.Status == 0:
		r.proxy.ServeHTTP(w, req)
	default:
		for name, value := range a.Header {
			w.Header().Set(name, value)
		}
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(a.Status)
		_, _ = w.Write([]byte(a.Body))
	}
}

// recording keeps what was answered.
type recording struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *recording) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *recording) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.body.Write(p)
	return w.ResponseWriter.Write(p)
}

// Unwrap lets the proxy flush.
func (w *recording) Unwrap() http.ResponseWriter { return w.ResponseWriter }
