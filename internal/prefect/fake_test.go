package prefect

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// memory is a network of one listener, made of pipes: time in a synctest
// bubble stands still while somebody waits on it, unlike with real sockets.
type memory struct {
	conns chan net.Conn
	down  chan struct{}
	once  sync.Once
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case conn := <-m.conns:
		return conn, nil
	case <-m.down:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.down) }); return nil }
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case m.conns <- far:
		return near, nil
	case <-m.down:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// request is what a fake server saw of one call.
type request struct {
	method, path string
	header       http.Header
	body         string
	at           time.Time
}

func (r request) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		t.Fatalf("body of %s %s: %v: %q", r.method, r.path, err, r.body)
	}
	return v
}

// fakeAPI is a Prefect API whose answers a test writes.
type fakeAPI struct {
	network *memory
	server  *http.Server
	wg      sync.WaitGroup

	mu       sync.Mutex
	requests []request
	routes   map[string]http.HandlerFunc // by "METHOD /path"
}

// newFake serves routes on a network in memory.
func newFake(t *testing.T, routes map[string]http.HandlerFunc) *fakeAPI {
	t.Helper()
	f := &fakeAPI{network: &memory{conns: make(chan net.Conn), down: make(chan struct{})}, routes: maps.Clone(routes)}
	f.server = &http.Server{Handler: f}
	f.wg.Go(func() { _ = f.server.Serve(f.network) })
	t.Cleanup(func() {
		_ = f.server.Close()
		f.wg.Wait()
	})
	return f
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	path := r.URL.RequestURI()
	f.mu.Lock()
	f.requests = append(f.requests, request{r.Method, path, r.Header.Clone(), string(body), time.Now()})
	route := f.routes[r.Method+" "+r.URL.EscapedPath()]
	f.mu.Unlock()
	if route == nil {
		reply(w, http.StatusNotFound, map[string]any{"detail": "Not Found"})
		return
	}
	route(w, r)
}

func (f *fakeAPI) seen() []request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// client returns a client of the fake; the zero MaxRetries means none.
func (f *fakeAPI) client(t *testing.T, o Options) *Client {
	t.Helper()
	if o.APIURL == "" {
		o.APIURL = "http://prefect.test/api"
	}
	o.Transport = &http.Transport{DialContext: f.network.dial}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

// answers gives one answer after the other, the last one for ever.
func answers(handlers ...http.HandlerFunc) http.HandlerFunc {
	var (
		mu   sync.Mutex
		next int
	)
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		handler := handlers[min(next, len(handlers)-1)]
		next++
		mu.Unlock()
		handler(w, r)
	}
}

func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		reply(w, code, map[string]any{"detail": http.StatusText(code)})
	}
}

func with(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, v) }
}

// peer is the server's end of a WebSocket.
type peer struct {
	t    *testing.T
	conn *websocket.Conn
	head http.Header
	at   time.Time
}

// sockets is a route that accepts upgrades and hands them to the test.
func sockets(t *testing.T) (http.HandlerFunc, <-chan *peer) {
	accepted := make(chan *peer, 100)
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols: []string{"prefect"},
			OnPingReceived: func(context.Context, []byte) bool {
				return r.Header.Get("X-Test-No-Pong") == ""
			},
		})
		if err != nil {
			return
		}
		accepted <- &peer{t, conn, r.Header.Clone(), time.Now()}
	}, accepted
}

func (p *peer) read() map[string]any {
	p.t.Helper()
	_, data, err := p.conn.Read(context.Background())
	if err != nil {
		p.t.Errorf("read from the client: %v", err)
		return nil
	}
	var v map[string]any
	if err := json.Unmarshal(data, &v); err != nil {
		p.t.Errorf("frame %q: %v", data, err)
	}
	return v
}

func (p *peer) write(v any) {
	p.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.conn.Write(context.Background(), websocket.MessageText, data); err != nil {
		p.t.Errorf("write to the client: %v", err)
	}
}

// login takes the auth frame, checks its token, and lets the client in.
func (p *peer) login(token any) {
	p.t.Helper()
	if frame := p.read(); frame["type"] != "auth" || frame["token"] != token {
		p.t.Errorf("auth frame %v, want token %v", frame, token)
	}
	p.write(map[string]any{"type": "auth_success"})
}

// hear reads until the client closes, and returns how it did.
func (p *peer) hear() websocket.CloseError {
	for {
		if _, _, err := p.conn.Read(context.Background()); err != nil {
			var closed websocket.CloseError
			if !errors.As(err, &closed) {
				p.t.Logf("the client went without a close frame: %v", err)
			}
			_ = p.conn.CloseNow()
			return closed
		}
	}
}
