// Package prefectfront stands before a self-hosted Prefect server and gives it
// the outside of Prefect Cloud: accounts and workspaces in the address, API keys
// as bearer tokens, the /me routes, and Cloud's way to open sockets. Workers and
// flow runs that are configured for Cloud work against it unchanged.
//
// It can also just pass everything on, for callers that cannot reach a server on
// loopback, and then only the ledger and the faults are its own.
package prefectfront

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"faber/internal/front"
)

// Workspace is a place an API key gives access to.
type Workspace struct {
	AccountID       string
	AccountHandle   string
	WorkspaceID     string
	WorkspaceHandle string
}

// Options of a Front.
type Options struct {
	// Server is the address of the server, without /api.
	Server *url.URL
	// APIKeys lists the workspaces of every key. All of them are the same server.
	APIKeys map[string][]Workspace
	// PassThrough serves the server as it is, under its own paths and without keys.
	PassThrough bool
	Logger      *slog.Logger
	// LedgerSize is how many calls are remembered; 0 means 4096.
	LedgerSize int
}

// Front is the front. Make one with New and serve its Handler.
type Front struct {
	o         Options
	log       *slog.Logger
	gate      *front.Gate
	transport *http.Transport
	proxy     *httputil.ReverseProxy
}

// New returns a front; it makes no calls yet.
func New(o Options) *Front {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Front{o: o, log: o.Logger}
	f.transport = &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: front.IdleTimeout}
	f.proxy = f.newProxy()
	f.gate = front.NewGate(front.Options{
		Name: "prefect", Logger: o.Logger, LedgerSize: o.LedgerSize,
		Classify: classify, Locate: locate, Check: CheckFault, Throttled: throttled, Refuse: refuse, Redact: redact, Probe: f.probe,
	})
	return f
}

// Handler serves the API, and the door at /_front/.
func (f *Front) Handler() http.Handler {
	if f.o.PassThrough {
		return f.gate.Wrap(f.proxy)
	}
	return f.gate.Wrap(f.cloud())
}

// Faults is the table of faults to inject, as POST /_front/faults fills it.
func (f *Front) Faults() *front.Faults { return f.gate.Faults() }

// Ledger is what was called.
func (f *Front) Ledger() *front.Ledger { return f.gate.Ledger() }

// Holds are the calls that a fault holds at a break-point.
func (f *Front) Holds() *front.Holds { return f.gate.Holds() }

// Close cuts held calls and drops idle connections to the server.
func (f *Front) Close() {
	f.gate.Close()
	f.transport.CloseIdleConnections()
}

// prefixKey carries the part of the address that is Cloud's alone, so that
// redirects can be given it back.
type prefixKey struct{}

// newProxy passes requests on. Who asked is the front's business: the server
// sees no credentials.
func (f *Front) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport:     f.transport,
		FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(f.o.Server)
			p.Out.Host = p.In.Host
			if !f.o.PassThrough {
				p.Out.Header.Del("Authorization")
			}
		},
		ModifyResponse: func(res *http.Response) error {
			noteVerdict(res)
			return restorePrefix(res)
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, context.Canceled) {
				return
			}
			f.log.Warn("Prefect server does not answer", "url", f.o.Server.String(), "error", err)
			writeError(w, http.StatusBadGateway, "the server behind does not answer")
		},
	}
}

// restorePrefix mends redirects, which the server makes from the path it saw.
func restorePrefix(res *http.Response) error {
	prefix, _ := res.Request.Context().Value(prefixKey{}).(string)
	location, err := url.Parse(res.Header.Get("Location"))
	if prefix == "" || err != nil {
		return nil // Nothing to mend, or nothing that can be mended.
	}
	if rest, ok := strings.CutPrefix(location.Path, "/api/"); ok {
		location.Path = prefix + rest
		res.Header.Set("Location", location.String())
	}
	return nil
}

// probe asks the server for its health.
func (f *Front) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.o.Server.JoinPath("/api/health").String(), nil)
	if err != nil {
		return err
	}
	res, err := f.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /api/health: %s", res.Status)
	}
	return nil
}
