package prefectfront

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"faber/internal/front"
)

// plain tries the front before a server that keeps its own form: no keys, no
// accounts, sockets included.
func plain(t *testing.T, server *url.URL, dir string) {
	t.Helper()
	f := New(Options{Server: server, PassThrough: true})
	t.Cleanup(f.Close)
	srv := httptest.NewServer(f.Handler())
	t.Cleanup(srv.Close)
	r := &realStack{root: srv.URL + "/api", api: srv.URL + "/api", front: f, dir: dir}
	t.Run("events out", func(t *testing.T) { r.subscribe(t) })
	t.Run("a caller dies when its proposal is accepted", func(t *testing.T) {
		id := r.scheduledRun(t)
		if _, err := f.Faults().Add(front.Fault{ID: "claimed", Route: "POST /flow_runs/{id}/set_state", Run: id, Hold: front.HoldAfter, Count: 1}); err != nil {
			t.Fatal(err)
		}
		ctx, kill := context.WithCancel(t.Context())
		dead := make(chan error, 1)
		go func() { dead <- r.propose(ctx, id) }()
		limit, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := f.Holds().Await(limit, "claimed", 1); err != nil {
			t.Fatal(err)
		}
		kill()
		if err := <-dead; err == nil {
			t.Error("the dead got an answer")
		}
		if err := f.Holds().AwaitNone(limit, ""); err != nil {
			t.Fatal(err)
		}
		run := r.post(t, "/flow_runs/filter", map[string]any{"flow_runs": map[string]any{"id": map[string]any{"any_": []string{id}}}}).([]any)[0].(map[string]any)
		if run["state_type"] != "PENDING" {
			t.Errorf("the run is %v", run["state_type"])
		}
		if err := r.propose(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		calls := f.Ledger().Calls(front.Query{Run: id, Operation: "POST /flow_runs/{id}/set_state"})
		if len(calls) != 2 || calls[0].Effect != front.EffectYes || calls[0].Status != 0 || calls[1].Effect != front.EffectNo || calls[1].Status >= 300 {
			t.Errorf("one accepted and one refused proposal: %+v", calls)
		}
	})
}

// scheduledRun makes a deployment and a run of it that nobody has claimed.
func (r *realStack) scheduledRun(t *testing.T) string {
	t.Helper()
	flow := r.post(t, "/flows/", map[string]any{"name": "greet"}).(map[string]any)
	deployment := r.post(t, "/deployments/", map[string]any{"name": "d", "flow_id": flow["id"], "path": r.dir, "entrypoint": "flow.py:greet"}).(map[string]any)
	run := r.post(t, "/deployments/"+deployment["id"].(string)+"/create_flow_run", map[string]any{}).(map[string]any)
	return run["id"].(string)
}

// propose proposes Pending.
func (r *realStack) propose(ctx context.Context, id string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.api+"/flow_runs/"+id+"/set_state", strings.NewReader(`{"state":{"type":"PENDING","name":"Pending"}}`))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
