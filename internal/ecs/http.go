package ecs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

func newHTTPClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTimeout(callTimeout)
}

// httpClient is the HTTP client that a credentials block asks for.
func httpClient(c credentials) (*awshttp.BuildableClient, error) {
	client := newHTTPClient()
	if c.Client.ReadTimeout > 0 {
		client = client.WithTimeout(c.Client.ReadTimeout + max(c.Client.ConnectTimeout, 0))
	}
	if c.Client.ConnectTimeout > 0 {
		client = client.WithDialerOptions(func(d *net.Dialer) { d.Timeout = c.Client.ConnectTimeout })
	}
	if len(c.Client.Proxies) > 0 {
		client = client.WithTransportOptions(func(t *http.Transport) { t.Proxy = c.proxy })
	}
	settings, err := tlsSettings(c)
	if err != nil {
		return nil, err
	}
	return client.WithTransportOptions(func(t *http.Transport) {
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		for _, set := range settings {
			set(t.TLSClientConfig)
		}
	}), nil
}

// proxy is the block's proxy for the scheme, or none.
func (c credentials) proxy(r *http.Request) (*url.URL, error) {
	address := c.Client.Proxies[r.URL.Scheme]
	if address == "" {
		return nil, nil
	}
	return url.Parse(address)
}

func tlsSettings(c credentials) ([]func(*tls.Config), error) {
	var settings []func(*tls.Config)
	if c.SkipVerify {
		settings = append(settings, func(t *tls.Config) { t.InsecureSkipVerify = true }) // asked for in the credentials block
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA certificates: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA certificates: %s holds none", c.CAFile)
		}
		settings = append(settings, func(t *tls.Config) { t.RootCAs = pool })
	}
	if c.Client.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.Client.CertFile, c.Client.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		settings = append(settings, func(t *tls.Config) { t.Certificates = []tls.Certificate{pair} })
	}
	return settings, nil
}
