// Package awsfront is one AWS endpoint before two emulators: ministack, which
// runs ECS tasks as real containers, and moto, for the services that ministack
// has not. It routes by the scope a request is signed for, makes the emulators
// answer as AWS does where faber or Terraform depends on it, and emits the ECS
// events that neither of them emits.
//
// What it remembers is in memory, as the emulators' state is: restart all
// together.
package awsfront

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"faber/internal/front"
)

// Options of a Front.
type Options struct {
	// Ministack and Moto are the emulators' addresses. Without Moto, what only
	// moto serves is refused.
	Ministack, Moto *url.URL
	// AccountID is twelve digits. The emulators take an access key of twelve
	// digits for the account, so callers sign with it as their access key; what
	// is signed otherwise belongs to the emulators' default account, and its
	// tasks cause no events.
	AccountID string
	// Region whose tasks are watched, and whose rules are served.
	Region string
	Logger *slog.Logger

	// PollInterval of the task watch; 0 means 250 ms. A watch that takes longer
	// than that is followed by a pause as long as it took.
	PollInterval time.Duration
	// DuplicateEvery sends every n-th event twice, as EventBridge may; 0 never.
	DuplicateEvery int
	// LedgerSize is how many calls are remembered; 0 means 4096.
	LedgerSize int
	// MissingFor is how long a new task is unknown to ECS; see SetMissingFor.
	MissingFor time.Duration
	// Quotas are what callers are held to; nil means none. See Published.
	Quotas Quotas
}

// Front is the endpoint. Make one with New, serve its Handler, and Run it.
type Front struct {
	o       Options
	log     *slog.Logger
	gate    *front.Gate
	proxies map[upstream]*httputil.ReverseProxy
	client  *http.Client
	patches map[front.Op]patch

	tokens   *tokens
	services *memory
	targets  *scalableTargets
	policies *policies
	builds   *memory
	// roles is held while moto has a copy of a role.
	roles       sync.Mutex
	composites  *compositeAlarms
	connections *connections
	costTags    *costTags
	parts       *vpcParts
	prefixLists *prefixLists
	pending     *pending

	emptySecrets *emptySecrets
	identities   *identityProviders

	tasks    *tasks
	messages *messages
	quotas   *quotas
	watch    *watch
	*future
}

// New returns a front; it makes no calls yet.
func New(o Options) *Front {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.PollInterval <= 0 {
		o.PollInterval = 250 * time.Millisecond
	}
	f := &Front{
		o: o, log: o.Logger,
		client:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: front.IdleTimeout}},
		proxies: map[upstream]*httputil.ReverseProxy{},
		future:  newFuture(),
		tokens:  newTokens(time.Now), services: newServices(), targets: newScalableTargets(), policies: newPolicies(), builds: newBuildProjects(),
		composites: newCompositeAlarms(), connections: newConnections(), costTags: newCostTags(), parts: newVPCParts(), prefixLists: newPrefixLists(), pending: newPending(), identities: newIdentityProviders(),
	}
	f.emptySecrets = newEmptySecrets()
	f.tasks, f.messages, f.quotas = newTasks(f, o.MissingFor), newMessages(f), newQuotas(o.Quotas, time.Now)
	f.watch = newWatch(f)
	f.patches = f.patchTable()
	for u, target := range map[upstream]*url.URL{ministack: o.Ministack, moto: o.Moto} {
		if target != nil {
			f.proxies[u] = f.proxy(target)
		}
	}
	f.gate = front.NewGate(front.Options{
		Name: "aws", Logger: o.Logger, LedgerSize: o.LedgerSize,
		Classify: classify, Runs: f.runs, Throttled: throttled, Refuse: refuse, Probe: f.probe,
		Changed: f.tasks.reconsider,
	})
	f.openDoor()
	return f
}

// Handler serves the AWS endpoint, and the door at /_front/.
func (f *Front) Handler() http.Handler { return f.gate.Wrap(http.HandlerFunc(f.serve)) }

// Faults is the table of faults to inject, as POST /_front/faults fills it.
// Events are subject to it too, as service "events", operation "Deliver".
func (f *Front) Faults() *front.Faults { return f.gate.Faults() }

// Ledger is what was called.
func (f *Front) Ledger() *front.Ledger { return f.gate.Ledger() }

// Holds are the calls that a fault holds at a break-point.
func (f *Front) Holds() *front.Holds { return f.gate.Holds() }

// Close cuts held calls, forgets what was to come, and drops idle connections to the emulators.
func (f *Front) Close() {
	f.gate.Close()
	f.close()
	f.client.CloseIdleConnections()
}

func (f *Front) serve(w http.ResponseWriter, r *http.Request) {
	s := scopeOf(r)
	to := f.route(s.service)
	proxy := f.proxies[to]
	if proxy == nil {
		writeError(w, r, http.StatusNotImplemented, "NotImplemented", fmt.Sprintf("%s is served by %s, which is not running", s.service, to), nil)
		return
	}
	body, err := front.HoldBody(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	op := classify(r, body)
	if refused := f.quotas.admit(op); refused != "" {
		front.EntryOf(r.Context()).SetRefusedBy(refused)
		own := throttled(op)
		writeError(w, r, own.Status, own.Code, own.Message, nil)
		return
	}
	if p, ok := f.patches[op]; ok && body != nil {
		f.servePatched(w, r, p, to, s, body)
		return
	}
	proxy.ServeHTTP(w, r)
}

// proxy passes requests on as they came: the Host stays, since queue addresses
// and the like are made from it.
func (f *Front) proxy(target *url.URL) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: f.client.Transport,
		// Log tails and the like arrive as they are sent.
		FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, context.Canceled) {
				return
			}
			f.log.Warn("emulator does not answer", "url", target.String(), "error", err)
			writeError(w, r, http.StatusBadGateway, "ServiceUnavailable", "the emulator does not answer: "+err.Error(), nil)
		},
	}
}

// probe asks the emulators whether they live.
func (f *Front) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var errs []error
	for name, u := range map[string]*url.URL{
		"ministack": joined(f.o.Ministack, "/_ministack/health"),
		"moto":      joined(f.o.Moto, "/moto-api/"),
	} {
		if u == nil {
			continue
		}
		if err := f.ping(ctx, u); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (f *Front) ping(ctx context.Context, u *url.URL) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	res, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		return fmt.Errorf("GET %s: %s", u.Path, res.Status)
	}
	return nil
}

func joined(u *url.URL, path string) *url.URL {
	if u == nil {
		return nil
	}
	return u.JoinPath(path)
}
