package prefect

import (
	"net"
	"net/http"
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
	return baseTransport(o)
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
