package prefect

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// newTransport is the pool for API calls. Idle connections go after 25 s:
// Cloud's load balancer drops them at 30 s, and a request must not race that.
func newTransport(o Options) http.RoundTripper {
	if o.Transport != nil {
		return o.Transport
	}
	t := baseTransport(o)
	t.MaxConnsPerHost = 16
	t.MaxIdleConnsPerHost = 8
	t.Protocols.SetHTTP2(o.HTTP2)
	return t
}

// newSocketTransport serves WebSocket upgrades, which need HTTP/1.1 and would
// each hold a place in the pool for hours.
func newSocketTransport(o Options) http.RoundTripper {
	if o.Transport != nil {
		return o.Transport
	}
	t := baseTransport(o)
	if strings.HasPrefix(o.APIURL, "http:") {
		tunnelled(t)
	}
	return t
}

// tunnelled makes sockets without TLS go through a proxy by CONNECT, as those
// with TLS do: a proxy that is asked for them as for a page drops the Upgrade.
func tunnelled(t *http.Transport) {
	proxy, direct := t.Proxy, t.DialContext
	through := func(addr string) (*url.URL, error) {
		return proxy(&http.Request{URL: &url.URL{Scheme: "http", Host: addr}})
	}
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		by, err := proxy(r)
		if err != nil || by == nil || !byConnect(by) {
			return by, err
		}
		return nil, nil
	}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		by, err := through(addr)
		if err != nil || by == nil || !byConnect(by) {
			return direct(ctx, network, addr)
		}
		return connect(ctx, t, direct, by, addr)
	}
}

// byConnect reports a proxy that speaks HTTP; others tunnel everything anyway.
func byConnect(by *url.URL) bool { return by.Scheme == "http" || by.Scheme == "https" }

// connect asks a proxy for a tunnel to addr.
func connect(ctx context.Context, t *http.Transport, direct func(context.Context, string, string) (net.Conn, error), by *url.URL, addr string) (net.Conn, error) {
	raw, err := direct(ctx, "tcp", withPort(by))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	conn := raw
	if by.Scheme == "https" {
		config := &tls.Config{}
		if t.TLSClientConfig != nil {
			config = t.TLSClientConfig.Clone()
		}
		config.ServerName = by.Hostname()
		conn = tls.Client(raw, config)
	}
	if err := openTunnel(conn, by, addr); err != nil {
		_ = conn.Close()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("proxy %s: %w", by.Host, err)}
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return conn, nil
}

func withPort(by *url.URL) string {
	if by.Port() != "" {
		return by.Host
	}
	return net.JoinHostPort(by.Hostname(), map[string]string{"http": "80", "https": "443"}[by.Scheme])
}

func openTunnel(conn net.Conn, by *url.URL, addr string) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{"User-Agent": {userAgent}}}
	if by.User != nil {
		password, _ := by.User.Password()
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(by.User.Username()+":"+password)))
	}
	if err := request.Write(conn); err != nil {
		return err
	}
	// The server does not speak before it is spoken to: nothing of its is lost
	// in the reader.
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT was answered with %s", response.Status)
	}
	return nil
}

func baseTransport(o Options) *http.Transport {
	proxy := o.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	dialer := &net.Dialer{Timeout: o.RequestTimeout, KeepAlive: 15 * time.Second}
	t := &http.Transport{
		Proxy:                 proxy,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   o.RequestTimeout,
		IdleConnTimeout:       25 * time.Second,
		ExpectContinueTimeout: time.Second,
		Protocols:             new(http.Protocols),
	}
	if o.TLS != nil {
		t.TLSClientConfig = o.TLS.Clone()
	}
	t.Protocols.SetHTTP1(true)
	return t
}
