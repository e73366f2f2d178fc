//go:build load

package load

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// passage is between all clients and a real server, and notes what goes through.
type passage struct {
	url   string // with /api
	proxy *httputil.ReverseProxy
	polls moments

	mu     sync.Mutex
	counts map[string]int // by client, method and route
	busy   int            // answers that blame the load
	broken int            // answers of code 500
	slow   time.Duration  // the slowest answer
}

// newPassage leads to the server at an URL with /api.
func newPassage(t *testing.T, server string) *passage {
	target, err := url.Parse(strings.TrimSuffix(server, "/api"))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	p := &passage{counts: map[string]int{}, proxy: &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: transport,
	}}
	front := httptest.NewServer(p)
	t.Cleanup(func() {
		front.CloseClientConnections() // the worker's sockets
		front.Close()
		transport.CloseIdleConnections()
	})
	p.url = front.URL + "/api"
	return p
}

var anyID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

// client is the header by which the test's own clients name themselves. What has
// none is the worker's.
const client = "X-Load-Client"

// ServeHTTP implements http.Handler.
func (p *passage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		p.proxy.ServeHTTP(w, r)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/get_scheduled_flow_runs") {
		p.polls.now()
	}
	answer, began := &coded{ResponseWriter: w}, time.Now()
	p.proxy.ServeHTTP(answer, r)
	p.mu.Lock()
	defer p.mu.Unlock()
	who := r.Header.Get(client)
	if who == "" {
		who = "worker"
	}
	p.counts[who+" "+r.Method+" "+anyID.ReplaceAllString(strings.TrimPrefix(r.URL.Path, "/api"), "{id}")]++
	switch {
	case answer.code == http.StatusInternalServerError:
		p.broken++
	case answer.code > http.StatusInternalServerError:
		p.busy++
	}
	p.slow = max(p.slow, time.Since(began))
}

type coded struct {
	http.ResponseWriter

	code int
}

func (c *coded) WriteHeader(code int) {
	c.code = code
	c.ResponseWriter.WriteHeader(code)
}

// made is how many calls a client made.
func (p *passage) made(who string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for call, times := range p.counts {
		if strings.HasPrefix(call, who+" ") {
			n += times
		}
	}
	return n
}

// list tells which calls were made, the most frequent first.
func (p *passage) list(least int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var calls []string
	for call, n := range p.counts {
		if n >= least {
			calls = append(calls, fmt.Sprintf("%6d %s", n, call))
		}
	}
	slices.Sort(calls)
	slices.Reverse(calls)
	return strings.Join(calls, "\n")
}
