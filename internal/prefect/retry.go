package prefect

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errRedirects ends a redirect loop; trying again would only run through it again.
var errRedirects = errors.New("stopped after 20 redirects")

// answer is a response, read to its end.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// send makes a request and repeats it as Prefect's client does: statuses that
// blame load or a gateway, and connections that broke. POST is repeated too;
// the calls of a worker bear it (a state proposal carries its transition id).
func (c *Client) send(ctx context.Context, method, path string, body []byte) (*answer, error) {
	token, err := c.csrfToken(ctx, method)
	if err != nil {
		return nil, err
	}
	for tries := 0; ; {
		got, err := c.try(ctx, method, path, body, token)
		if ctx.Err() != nil {
			return nil, &unreachableError{method, path, context.Cause(ctx)}
		}
		staleToken := got != nil && got.rejectsCSRF()
		if err == nil && !staleToken && !c.retryableStatus(got.code) {
			return got, nil
		}
		if err != nil && !c.retryableError(err) {
			return nil, &unreachableError{method, path, err}
		}
		maintenance := got != nil && got.header.Get("Prefect-Maintenance") == "true"
		if !maintenance {
			tries++
		}
		if tries > c.options.MaxRetries {
			if err != nil {
				return nil, &unreachableError{method, path, err}
			}
			return got, nil
		}
		if staleToken {
			if token, err = c.renewCSRFToken(ctx, token); err != nil {
				return nil, err
			}
		}
		wait := c.backoff(got, tries)
		if maintenance {
			c.resumeAt.Store(time.Now().Add(wait).UnixNano())
		}
		c.log.Debug("retrying a call to the Prefect API", "method", method, "path", path, "try", tries, "wait", wait, "error", err, "status", got.status())
		if err := sleep(ctx, wait); err != nil {
			return nil, &unreachableError{method, path, err}
		}
	}
}

// try makes one request. A connection that is not made is tried three times
// more, at once and after short waits: a restarting server is back by then.
func (c *Client) try(ctx context.Context, method, path string, body []byte, token string) (*answer, error) {
	for _, wait := range []time.Duration{0, 500 * time.Millisecond, time.Second} {
		got, err := c.once(ctx, method, c.api+path, body, token)
		if err == nil || !notConnected(err) || ctx.Err() != nil {
			return got, err
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
	return c.once(ctx, method, c.api+path, body, token)
}

// once makes one request to an absolute URL. It is repeated if the API refuses the
// credentials and there are others by now: the refused request had no effect.
func (c *Client) once(ctx context.Context, method, target string, body []byte, token string) (*answer, error) {
	by := c.credentials()
	got, err := c.exchange(ctx, method, target, body, token, by)
	if err == nil && got.code == http.StatusUnauthorized && c.renew(ctx, by) {
		return c.exchange(ctx, method, target, body, token, c.credentials())
	}
	return got, err
}

// exchange makes one request, nothing repeated.
func (c *Client) exchange(ctx context.Context, method, target string, body []byte, token string, by *Credentials) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.RequestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header = c.requestHeaders(by)
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host // a custom header: some gateways choose by it
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if id := c.WorkerID(); id != "" {
		request.Header.Set("X-Prefect-Worker-Id", id)
	}
	if token != "" {
		request.Header.Set("Prefect-Csrf-Token", token)
		request.Header.Set("Prefect-Csrf-Client", c.csrf.client)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	c.connected.Store(true)
	if response.StatusCode < http.StatusInternalServerError {
		c.answeredAt.Store(time.Now().UnixNano())
	}
	return &answer{response.StatusCode, response.Header, content}, nil
}

func (c *Client) retryableStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable:
		return true
	default:
		// 500 and 504 are not in the list, as in Prefect's client: the work may
		// have been done, and the caller knows better whether to repeat it.
		return slices.Contains(c.options.ExtraRetryCodes, code)
	}
}

// retryableError is asked about transport errors only. One that says that
// nobody listens is worth a retry only when somebody once did: else the URL is
// wrong, and the user should hear it at once.
func (c *Client) retryableError(err error) bool {
	if errors.Is(err, errRedirects) {
		return false
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	return !notConnected(err) || c.connected.Load()
}

// notConnected reports that no connection came about: refused, unknown host,
// or a TLS handshake that failed.
func notConnected(err error) bool {
	var (
		operation   *net.OpError
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		record      tls.RecordHeaderError
	)
	if errors.As(err, &operation) && operation.Op == "dial" {
		return true
	}
	return errors.As(err, &name) || errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &record)
}

func (a *answer) rejectsCSRF() bool {
	return a.code == http.StatusForbidden && bytes.Contains(a.body, []byte("Invalid CSRF token"))
}

func (a *answer) status() int {
	if a == nil {
		return 0
	}
	return a.code
}

// backoff is how long to wait before the next try: what the server asked for,
// or a power of two, both with jitter so that workers do not come back as one.
func (c *Client) backoff(got *answer, tries int) time.Duration {
	jitter := c.options.JitterFactor
	if got != nil {
		if after, ok := retryAfter(got.header, time.Now()); ok {
			seconds := after.Seconds()
			if jitter > 0 && seconds > 0 {
				seconds = exponentialWithin(seconds, seconds, seconds*(1+jitter), rand.Float64())
			}
			return inSeconds(seconds)
		}
	}
	seconds := math.Pow(2, float64(tries))
	if jitter > 0 {
		seconds = clampedExponential(seconds, jitter, rand.Float64())
	}
	return inSeconds(seconds)
}

// retryAfter reads a Retry-After header: seconds or a date, never negative.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil {
		at, err := http.ParseTime(value)
		if err != nil {
			return 0, false
		}
		seconds = at.Sub(now).Seconds()
	}
	if math.IsNaN(seconds) || math.IsInf(seconds, 0) {
		return 0, false
	}
	return inSeconds(max(0, seconds)), true
}

// clampedExponential draws from an exponential distribution around mean, cut
// to [mean·log2(2^(1+f)/(2^(1+f)−1)), mean·(1+f)], which keeps the mean. The
// quantile u is uniform in [0,1).
func clampedExponential(mean, factor, u float64) float64 {
	power := math.Pow(2, 1+factor)
	return exponentialWithin(mean, mean*math.Log2(power/(power-1)), mean*(1+factor), u)
}

// exponentialWithin is the u-th quantile of an exponential distribution cut to
// [lower, upper].
func exponentialWithin(mean, lower, upper, u float64) float64 {
	below := func(x float64) float64 { return 1 - math.Exp(-x/mean) }
	p := below(lower) + u*(below(upper)-below(lower))
	return min(max(-mean*math.Log(1-p), lower), upper)
}

func inSeconds(s float64) time.Duration {
	const most = float64(math.MaxInt64) / float64(time.Second) / 2
	return time.Duration(min(s, most) * float64(time.Second))
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// withoutURL strips the wrapper that repeats method and URL, which callers add
// themselves in a shorter form.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
