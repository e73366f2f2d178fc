//go:build integration

package infra

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// containerEngine is that of the local stack, by Docker's API, which Podman serves
// as well. It starts containers from the image that the stack made for flow runs:
// a small Debian.
type containerEngine struct {
	http  *http.Client
	image string
}

// output is what a container wrote.
type output struct{ stdout, stderr string }

func (o output) all() string { return o.stdout + o.stderr }

// engineOf finds the engine of the stack that FABER_DEV_DIR and FABER_DEV_NAME
// name, by the file in which the stack keeps what it has.
func engineOf(t *testing.T) *containerEngine {
	t.Helper()
	file := filepath.Join(os.Getenv("FABER_DEV_DIR"), os.Getenv("FABER_DEV_NAME"), "state.json")
	var state struct {
		Engine    struct{ Host string }
		FlowImage string `json:"flow_image"`
	}
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &state)
	}
	if err != nil || state.Engine.Host == "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s names no container engine: %v", file, err)
		}
		t.Skipf("SKIP the pipeline in containers: %s names no engine: %v", file, err)
	}
	host, err := url.Parse(state.Engine.Host)
	if err != nil {
		t.Fatal(err)
	}
	network, address := "tcp", host.Host
	if host.Scheme == "unix" {
		network, address = "unix", host.Path
	}
	c := &containerEngine{image: state.FlowImage, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, address)
		},
		DisableKeepAlives: true,
	}}}
	if c.image == "" {
		t.Fatalf("%s names no image", file)
	}
	return c
}

func (c *containerEngine) call(t *testing.T, method, path string, body, into any) []byte {
	t.Helper()
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, "http://engine"+path, payload)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s %s: %s %s: %v", method, path, res.Status, data, err)
	}
	if into != nil {
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

// run starts a container, waits for its end and removes it. It shares the
// machine's network, where the emulator listens.
func (c *containerEngine) run(t *testing.T, dir, script string, env, binds []string) (int, output) {
	t.Helper()
	var made struct{ ID string }
	c.call(t, http.MethodPost, "/containers/create", map[string]any{
		"Image": c.image, "Entrypoint": []string{"/bin/sh", "-c"}, "Cmd": []string{script}, "Env": env, "WorkingDir": dir, "User": "0",
		"HostConfig": map[string]any{"Binds": binds, "NetworkMode": "host"},
	}, &made)
	defer c.call(t, http.MethodDelete, "/containers/"+made.ID+"?force=1", nil, nil)
	c.call(t, http.MethodPost, "/containers/"+made.ID+"/start", nil, nil)
	var ended struct{ StatusCode int }
	c.call(t, http.MethodPost, "/containers/"+made.ID+"/wait", nil, &ended)
	return ended.StatusCode, demultiplex(c.call(t, http.MethodGet, "/containers/"+made.ID+"/logs?stdout=1&stderr=1", nil, nil))
}

// demultiplex takes the frames of Docker's log apart: stream, three zeros, length.
func demultiplex(data []byte) output {
	var streams [3]strings.Builder
	for len(data) >= 8 && data[0] <= 2 {
		size := min(int(binary.BigEndian.Uint32(data[4:8])), len(data)-8)
		streams[data[0]].Write(data[8 : 8+size])
		data = data[8+size:]
	}
	return output{stdout: streams[1].String(), stderr: streams[2].String()}
}
