package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"faber/internal/image"
)

// engineClient speaks the few calls of the Docker Engine API that the stack
// needs; Podman serves them too. Docker's own client module would bring in more
// code than all of faber.
type engineClient struct {
	host string // unix:///… or tcp://…
	http *http.Client
}

func newEngineClient(host string) (*engineClient, error) {
	u, err := url.Parse(host)
	if err != nil {
		return nil, fmt.Errorf("parse the engine's address %s: %w", host, err)
	}
	network, address := "tcp", u.Host
	if u.Scheme == "unix" {
		network, address = "unix", u.Path
	}
	var dialer net.Dialer
	return &engineClient{host: host, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
		DisableKeepAlives: true, // calls are rare; no connection is to outlive one
	}}}, nil
}

// engineError is an answer of the engine that is no success.
type engineError struct {
	Status  int
	Message string
}

func (e *engineError) Error() string {
	return fmt.Sprintf("container engine: %s (HTTP %d)", e.Message, e.Status)
}

func (c *engineClient) call(ctx context.Context, method, path string, query url.Values, body io.Reader, out any) error {
	target := "http://engine" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return fmt.Errorf("container engine: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("container engine: %w", err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("container engine: %w", err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		return &engineError{Status: res.StatusCode, Message: strings.TrimSpace(string(data))}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

func (c *engineClient) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return c.call(ctx, http.MethodGet, "/_ping", nil, nil, nil)
}

type engineInfo struct {
	Architecture    string
	OperatingSystem string
	OSType          string
}

func (c *engineClient) info(ctx context.Context) (engineInfo, error) {
	var info engineInfo
	return info, c.call(ctx, http.MethodGet, "/info", nil, nil, &info)
}

// gateway is the address that the engine's default bridge has on this machine.
func (c *engineClient) gateway(ctx context.Context) (string, error) {
	var network struct {
		IPAM struct {
			Config []struct{ Gateway string }
		}
	}
	if err := c.call(ctx, http.MethodGet, "/networks/bridge", nil, nil, &network); err != nil {
		return "", err
	}
	for _, config := range network.IPAM.Config {
		if config.Gateway != "" && !strings.Contains(config.Gateway, ":") {
			return config.Gateway, nil
		}
	}
	return "", errors.New("the container engine's bridge has no IPv4 gateway")
}

func (c *engineClient) hasImage(ctx context.Context, name string) (bool, error) {
	err := c.call(ctx, http.MethodGet, "/images/"+name+"/json", nil, nil, nil)
	var answer *engineError
	if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// load streams an image into the engine under the given name.
func (c *engineClient) load(ctx context.Context, name string, img v1.Image) error {
	read, write := io.Pipe()
	go func() { write.CloseWithError(image.WriteArchive(name, img, write)) }()
	defer read.Close() // ends the writer when the engine stops reading
	if err := c.call(ctx, http.MethodPost, "/images/load", url.Values{"quiet": {"1"}}, read, nil); err != nil {
		return fmt.Errorf("load image %s: %w", name, err)
	}
	if known, err := c.hasImage(ctx, name); err != nil || !known {
		return fmt.Errorf("load image %s: the engine took it and does not have it: %w", name, err)
	}
	return nil
}

type container struct {
	ID      string
	Names   []string
	Image   string
	State   string
	Created int64 // Unix seconds
	Status  string
	Labels  map[string]string
}

// containers lists the containers, running or not, that carry a label.
func (c *engineClient) containers(ctx context.Context, label string) ([]container, error) {
	filters, err := json.Marshal(map[string][]string{"label": {label}})
	if err != nil {
		return nil, fmt.Errorf("encode filters: %w", err)
	}
	var list []container
	query := url.Values{"all": {"1"}, "filters": {string(filters)}}
	return list, c.call(ctx, http.MethodGet, "/containers/json", query, nil, &list)
}

func (c *engineClient) removeContainer(ctx context.Context, id string) error {
	err := c.call(ctx, http.MethodDelete, "/containers/"+id, url.Values{"force": {"1"}, "v": {"1"}}, nil, nil)
	var answer *engineError
	if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
		return nil
	}
	return err
}

// containerLogs returns the newest lines that a container wrote.
func (c *engineClient) containerLogs(ctx context.Context, id string, lines int) (string, error) {
	query := url.Values{"stdout": {"1"}, "stderr": {"1"}, "tail": {fmt.Sprint(lines)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/containers/"+id+"/logs?"+query.Encode(), nil)
	if err != nil {
		return "", fmt.Errorf("container engine: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return "", fmt.Errorf("container engine: %w", err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return "", fmt.Errorf("container engine: %w", err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		return "", &engineError{Status: res.StatusCode, Message: string(data)}
	}
	return demultiplex(data), nil
}

// demultiplex takes the frames of Docker's log stream apart: 8 bytes of header
// (stream, three zeros, big-endian length) before each piece.
func demultiplex(data []byte) string {
	var out bytes.Buffer
	for len(data) >= 8 && data[0] <= 2 && data[1] == 0 {
		size := int(data[4])<<24 | int(data[5])<<16 | int(data[6])<<8 | int(data[7])
		data = data[8:]
		if size > len(data) {
			size = len(data)
		}
		out.Write(data[:size])
		data = data[size:]
	}
	out.Write(data)
	return out.String()
}
