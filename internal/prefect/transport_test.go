package prefect

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// realAPI is a Prefect API on a real port that answers the version and keeps
// what it saw, sockets included.
type realAPI struct {
	server *httptest.Server

	mu   sync.Mutex
	seen []*http.Request
}

func newRealAPI(t *testing.T, start func(*httptest.Server)) *realAPI {
	t.Helper()
	a := &realAPI{}
	a.server = httptest.NewUnstartedServer(a)
	a.server.EnableHTTP2 = true
	start(a.server)
	t.Cleanup(a.server.Close)
	return a
}

func (a *realAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.seen = append(a.seen, r)
	a.mu.Unlock()
	if r.URL.Path != "/api/events/out" {
		reply(w, http.StatusOK, Version)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"prefect"}})
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	for range 2 { // the token, then the filter
		if _, _, err := conn.Read(r.Context()); err != nil {
			return
		}
		if err := conn.Write(r.Context(), websocket.MessageText, []byte(`{"type":"auth_success"}`)); err != nil {
			return
		}
	}
	_ = conn.Write(r.Context(), websocket.MessageText, []byte(`{"type":"event","event":{"id":"e","event":"x","occurred":"2026-01-01T00:00:00Z","resource":{}}}`))
	_, _, _ = conn.Read(r.Context())
}

func (a *realAPI) requests() []*http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.seen)
}

// callBoth makes one call over HTTP and receives one event over a socket.
func callBoth(t *testing.T, o Options) (call, socket error) {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, call = c.Version(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	received := false
	s, err := c.dial(ctx, "/events/out", c.eventsOutLogin)
	if err != nil {
		return call, err
	}
	defer s.close(websocket.StatusNormalClosure, "")
	if err := s.write(ctx, map[string]any{"type": "filter"}); err != nil {
		return call, err
	}
	for !received {
		frame, err := s.read(ctx)
		if err != nil {
			return call, err
		}
		received = strings.Contains(string(frame), `"event"`)
	}
	return call, nil
}

// proxy is a forward proxy: it tunnels by CONNECT, forwards everything else,
// and drops hop-by-hop headers, Upgrade among them, as proxies do.
type proxy struct {
	t        *testing.T
	server   *httptest.Server
	password string
	target   string // where every name leads

	mu   sync.Mutex
	seen []string
	wg   sync.WaitGroup
}

func newProxy(t *testing.T, target string) *proxy {
	p := &proxy{t: t, target: target}
	p.server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.server.Close()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.seen = append(p.seen, r.Method+" "+r.Host)
	p.mu.Unlock()
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte(p.password)); p.password != "" && r.Header.Get("Proxy-Authorization") != want {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	if r.Method == http.MethodConnect {
		p.tunnel(w)
		return
	}
	out := r.Clone(r.Context())
	out.RequestURI, out.URL.Host = "", p.target
	for _, name := range []string{"Connection", "Upgrade", "Proxy-Authorization"} {
		out.Header.Del(name)
	}
	response, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}

func (p *proxy) tunnel(w http.ResponseWriter) {
	far, err := net.Dial("tcp", p.target)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	// Before the connection is taken over: after that the server's Close does not
	// wait for this any more.
	p.wg.Add(2)
	near, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		p.wg.Add(-2)
		p.t.Error(err)
		return
	}
	_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	relay := func(from, to net.Conn) {
		defer p.wg.Done()
		_, _ = io.Copy(to, from)
		_ = to.Close()
		_ = from.Close()
	}
	go relay(near, far)
	go relay(far, near)
}

func (p *proxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

func TestProxy(t *testing.T) {
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			start := (*httptest.Server).Start
			if scheme == "https" {
				start = (*httptest.Server).StartTLS
			}
			api := newRealAPI(t, start)
			p := newProxy(t, api.server.Listener.Addr().String())
			p.password = "user:hush"
			by, err := url.Parse(p.server.URL)
			if err != nil {
				t.Fatal(err)
			}
			by.User = url.UserPassword("user", "hush")
			// A name that only the proxy can resolve: nothing goes past it.
			o := Options{APIURL: scheme + "://prefect.invalid/api", Proxy: http.ProxyURL(by), TLS: &tls.Config{InsecureSkipVerify: true}}
			call, socket := callBoth(t, o)
			if call != nil || socket != nil {
				t.Fatalf("call %v, socket %v", call, socket)
			}
			want := []string{"GET prefect.invalid", "CONNECT prefect.invalid:80"}
			if scheme == "https" {
				want = []string{"CONNECT prefect.invalid:443", "CONNECT prefect.invalid:443"}
			}
			if got := p.requests(); !slices.Equal(got, want) {
				t.Errorf("the proxy saw %q, want %q", got, want)
			}

			by.User = nil
			call, socket = callBoth(t, o)
			if call == nil || socket == nil || strings.Contains(call.Error()+socket.Error(), "hush") {
				t.Errorf("without a password: call %v, socket %v", call, socket)
			}
			if !strings.Contains(socket.Error(), "Proxy Authentication Required") {
				t.Errorf("the socket's error does not name the reason: %v", socket)
			}
		})
	}
}

func TestNoProxyGoesDirect(t *testing.T) {
	api := newRealAPI(t, (*httptest.Server).Start)
	asked := 0
	call, socket := callBoth(t, Options{APIURL: api.server.URL + "/api", Proxy: func(r *http.Request) (*url.URL, error) {
		asked++
		if r.URL.Host != strings.TrimPrefix(api.server.URL, "http://") || r.URL.Scheme != "http" {
			return nil, errors.New("asked for " + r.URL.String())
		}
		return nil, nil
	}})
	if call != nil || socket != nil || asked == 0 {
		t.Errorf("call %v, socket %v, asked %d times", call, socket, asked)
	}
}

// TestTLSOfCallsAndSockets: what is trusted for the one is trusted for the other.
func TestTLSOfCallsAndSockets(t *testing.T) {
	api := newRealAPI(t, (*httptest.Server).StartTLS)
	trusted := api.server.Client().Transport.(*http.Transport).TLSClientConfig
	for name, test := range map[string]struct {
		options Options
		ok      bool
		proto   string
	}{
		"self-signed":      {Options{}, false, ""},
		"certificate file": {Options{TLS: &tls.Config{RootCAs: trusted.RootCAs}}, true, "HTTP/1.1"},
		"skip verify":      {Options{TLS: &tls.Config{InsecureSkipVerify: true}}, true, "HTTP/1.1"},
		"HTTP/2":           {Options{TLS: &tls.Config{RootCAs: trusted.RootCAs}, HTTP2: true}, true, "HTTP/2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(api.requests())
			test.options.APIURL = api.server.URL + "/api"
			call, socket := callBoth(t, test.options)
			if (call == nil) != test.ok || (socket == nil) != test.ok {
				t.Fatalf("call %v, socket %v", call, socket)
			}
			if !test.ok {
				for _, err := range []error{call, socket} {
					if !strings.Contains(err.Error(), "certificate") {
						t.Errorf("the error does not name the certificate: %v", err)
					}
				}
				return
			}
			seen := api.requests()[before:]
			if len(seen) != 2 || seen[0].Proto != test.proto || seen[1].Proto != "HTTP/1.1" {
				t.Errorf("seen %d requests: %s", len(seen), seen[0].Proto)
			}
		})
	}
}

// TestCustomHeadersGoWithCallsAndSockets looks at what a server gets.
func TestCustomHeadersGoWithCallsAndSockets(t *testing.T) {
	api := newRealAPI(t, (*httptest.Server).Start)
	call, socket := callBoth(t, Options{APIURL: api.server.URL + "/api", APIKey: "k", WorkerName: "w", CustomHeaders: map[string]string{
		"X-Gate": "open", "CF-Access-Client-Id": "id", "Host": "prefect.corp", "User-Agent": "curl", "Prefect-Csrf-Token": "x", "Sec-WebSocket-Key": "x", "Connection": "x",
	}})
	if call != nil || socket != nil {
		t.Fatalf("call %v, socket %v", call, socket)
	}
	for i, r := range api.requests() {
		for name, want := range map[string]string{"X-Gate": "open", "CF-Access-Client-Id": "id", "User-Agent": userAgent, "Prefect-Csrf-Token": ""} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("request %d: %s is %q, want %q", i, name, got, want)
			}
		}
	}
	if r := api.requests()[0]; r.Host != "prefect.corp" || r.Header.Get("X-Prefect-Worker-Name") != "w" {
		t.Errorf("call to %s with %v", r.Host, r.Header)
	}
	if r := api.requests()[1]; r.Host == "prefect.corp" {
		t.Error("the host of a socket was changed, which Prefect's own client protects")
	}
}
