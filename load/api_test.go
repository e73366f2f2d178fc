//go:build load

package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

type object = map[string]any

// api asks a real Prefect server as Prefect's own client does.
type api struct {
	t       *testing.T
	url     string // with /api
	who     string // see client
	http    *http.Client
	refused atomic.Int64 // proposals that were not accepted
}

// newAPI makes so many calls at once at most.
func newAPI(t *testing.T, url, who string, most int) *api {
	transport := &http.Transport{MaxConnsPerHost: most, MaxIdleConnsPerHost: most}
	t.Cleanup(transport.CloseIdleConnections)
	return &api{t: t, url: url, who: who, http: &http.Client{Timeout: 90 * time.Second, Transport: transport}}
}

// call asks until there is an answer: the server answers 503 while its SQLite file
// is busy.
func (a *api) call(ctx context.Context, method, path string, body, into any) error {
	for {
		code, answer, err := a.once(ctx, method, path, body)
		switch {
		case err != nil, code == http.StatusServiceUnavailable:
			if !sleep(ctx, 500*time.Millisecond) {
				return fmt.Errorf("%s %s: %w", method, path, context.Cause(ctx))
			}
		case code >= http.StatusBadRequest:
			return fmt.Errorf("%s %s: %d %s", method, path, code, answer)
		case into == nil:
			return nil
		default:
			return json.Unmarshal(answer, into)
		}
	}
}

func (a *api) once(ctx context.Context, method, path string, body any) (int, []byte, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	if body == nil {
		data = nil
	}
	request, err := http.NewRequestWithContext(ctx, method, a.url+path, bytes.NewReader(data))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	// The server takes the release out of it: it treats old clients otherwise.
	request.Header.Set("User-Agent", "prefect/3.8.8 (API 0.8.4)")
	request.Header.Set(client, a.who)
	response, err := a.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// must is call for the test itself.
func (a *api) must(method, path string, body, into any) {
	a.t.Helper()
	if err := a.call(a.t.Context(), method, path, body, into); err != nil {
		a.t.Fatal(err)
	}
}

// propose proposes a state and reports whether it was accepted.
func (a *api) propose(ctx context.Context, run string, state object) (bool, error) {
	var said struct {
		Status string `json:"status"`
	}
	if err := a.call(ctx, http.MethodPost, "/flow_runs/"+run+"/set_state", object{"state": state}, &said); err != nil {
		return false, err
	}
	if said.Status != "ACCEPT" {
		a.refused.Add(1)
	}
	return said.Status == "ACCEPT", nil
}

// Become is what a flow run's process says of it. It begins by reading the run.
func (a *api) Become(run, stateType, name string) error {
	ctx := a.t.Context()
	if stateType == "RUNNING" {
		if err := a.call(ctx, http.MethodGet, "/flow_runs/"+run, nil, nil); err != nil {
			return ended(ctx, err)
		}
	}
	_, err := a.propose(ctx, run, object{"type": stateType, "name": name})
	return ended(ctx, err)
}

// ended is nil when the test is over: then nothing has failed.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
