// Package prefect speaks to a Prefect 3 API, self-hosted or Cloud, the way
// Prefect's own client does: same headers, same retries, same sockets. It holds
// no policy of the worker's: it does not wait on a WAIT answer, does not decide
// what a failed call means for a run, and keeps nothing on disk.
package prefect

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Version is the Prefect release this client behaves like. The server reads it
// from the User-Agent, and it labels what the worker starts.
const Version = "3.8.8"

const (
	apiVersion      = "0.8.4"
	userAgent       = "prefect/" + Version + " (API " + apiVersion + ")"
	defaultCloudURL = "https://api.prefect.cloud/api"
	defaultTimeout  = 60 * time.Second
)

// Options configure a Client. Only APIURL is required.
type Options struct {
	APIURL      string
	CloudAPIURL string // default https://api.prefect.cloud/api
	APIKey      string
	AuthString  string // "user:password" of a self-hosted server; wins over APIKey

	// Renew reads the credentials anew. It is asked when the API has refused those in
	// use: once a minute at most, and once for all calls that wait for it. Nil means
	// that there is nowhere to read them.
	Renew func(ctx context.Context) (Credentials, error)

	// AccountID and WorkspaceID are named in messages only. When empty they are
	// read from a Cloud APIURL.
	AccountID   string
	WorkspaceID string

	CustomHeaders  map[string]string
	RequestTimeout time.Duration // of one try; default 60 s
	TLS            *tls.Config
	HTTP2          bool
	// Proxy picks the proxy of a request; nil is http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)

	MaxRetries      int // after the first try; 0 means none
	JitterFactor    float64
	ExtraRetryCodes []int // statuses to retry beside 408, 429, 502 and 503
	CSRF            bool

	WorkerName string // sent with every request, so that Prefect can attribute it
	Logger     *slog.Logger
	Transport  http.RoundTripper // nil means a pooled transport with the settings above
}

// String names the API: the other fields hold secrets.
func (o Options) String() string { return "client options for " + redactURL(o.APIURL) }

// GoString is String.
func (o Options) GoString() string { return o.String() }

// Client calls one Prefect API. It may be used from several goroutines.
type Client struct {
	options   Options
	api       string      // no trailing slash
	headers   http.Header // of every request, but for the credentials
	renewal   renewal
	log       *slog.Logger
	http      *http.Client
	sockets   *http.Client // for WebSocket upgrades: HTTP/1.1, no pool limit
	csrf      csrf
	connected atomic.Bool // one request got through: a refused connection is now worth a retry
	workerID  atomic.Pointer[string]
	// metadataSent says that the server was told what this worker is made of.
	metadataSent atomic.Bool
	metrics      metrics
	resumeAt     atomic.Int64 // end of the latest maintenance pause, Unix nanoseconds
	answeredAt   atomic.Int64 // when the latest answer came that is none of a server in trouble, likewise
}

// New checks the options and returns a client. It connects to nothing.
func New(o Options) (*Client, error) {
	parsed, err := url.Parse(o.APIURL)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
		return nil, fmt.Errorf("the Prefect API URL %q is not an http or https URL", redactURL(o.APIURL))
	}
	if o.CloudAPIURL == "" {
		o.CloudAPIURL = defaultCloudURL
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = defaultTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{options: o, api: strings.TrimRight(o.APIURL, "/"), log: o.Logger, metrics: newMetrics()}
	c.renewal.inUse.Store(&Credentials{APIKey: o.APIKey, AuthString: o.AuthString})
	c.headers = c.baseHeaders()
	c.http = &http.Client{Transport: newTransport(o), CheckRedirect: limitRedirects}
	c.sockets = &http.Client{Transport: newSocketTransport(o)}
	c.csrf = newCSRF(o.CSRF && !c.IsCloud())
	return c, nil
}

// APIURL is the URL that every path is appended to.
func (c *Client) APIURL() string { return c.api }

// IsCloud reports whether the API is Prefect Cloud's: its URL starts with the
// Cloud API's.
func (c *Client) IsCloud() bool {
	return strings.HasPrefix(c.api, strings.TrimRight(c.options.CloudAPIURL, "/"))
}

// MaintenanceUntil is the end of the latest pause that the server asked for
// with a maintenance header, zero when there was none. A worker in such a pause
// is healthy although it does not poll.
func (c *Client) MaintenanceUntil() time.Time {
	if at := c.resumeAt.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// LastAnswer is when the API answered last, other than that it cannot; zero when it
// never did.
func (c *Client) LastAnswer() time.Time {
	if at := c.answeredAt.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// WorkerID is the id that Cloud gave this worker, "" before and elsewhere.
func (c *Client) WorkerID() string {
	if id := c.workerID.Load(); id != nil {
		return *id
	}
	return ""
}

// Close lets go of idle connections. Calls under way are not touched.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	c.sockets.CloseIdleConnections()
}

func limitRedirects(_ *http.Request, via []*http.Request) error {
	if len(via) >= 20 {
		return errRedirects
	}
	return nil
}

func (c *Client) setWorkerID(id string) {
	if id != "" {
		c.workerID.Store(&id)
	}
}

// redactURL drops the user information of a URL that goes into a message.
func redactURL(raw string) string {
	parsed, err := url.Parse(raw)
	if err != nil || parsed.User == nil {
		return raw
	}
	parsed.User = url.User("********")
	return parsed.String()
}
