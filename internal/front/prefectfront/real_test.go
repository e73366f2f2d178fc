package prefectfront

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

const (
	realKey       = "pnu_0123456789abcdef"
	realAccount   = "11111111-1111-4111-8111-111111111111"
	realWorkspace = "22222222-2222-4222-8222-222222222222"
)

// TestRealServer runs flows by the real Python client, configured for Cloud,
// through the front against a real self-hosted server.
func TestRealServer(t *testing.T) {
	prefect := os.Getenv("FABER_TEST_PREFECT")
	if prefect == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("FABER_TEST_PREFECT must name the prefect executable")
		}
		t.Skip("FABER_TEST_PREFECT does not name the prefect executable")
	}
	server := startPrefect(t, prefect)
	f := New(Options{
		Server:  server,
		APIKeys: map[string][]Workspace{realKey: {{AccountID: realAccount, AccountHandle: "acme", WorkspaceID: realWorkspace, WorkspaceHandle: "main"}}},
	})
	t.Cleanup(f.Close)
	srv := httptest.NewServer(f.Handler())
	t.Cleanup(srv.Close)
	r := &realStack{prefect: prefect, root: srv.URL + "/api", api: srv.URL + "/api/accounts/" + realAccount + "/workspaces/" + realWorkspace, front: f, dir: t.TempDir()}
	script := "from prefect import flow, get_run_logger\nfrom prefect.events import emit_event\n\n@flow\ndef greet():\n    get_run_logger().info('hello from the flow')\n    emit_event(event='greeted', resource={'prefect.resource.id': 'greeter'})\n\nif __name__ == '__main__':\n    greet()\n"
	if err := os.WriteFile(filepath.Join(r.dir, "flow.py"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}

	t.Run("plain script", func(t *testing.T) {
		r.run(t, filepath.Join(filepath.Dir(prefect), "python"), "flow.py")
		runs := r.post(t, "/flow_runs/filter", map[string]any{"sort": "START_TIME_DESC", "limit": 1}).([]any)
		r.verify(t, runs[0].(map[string]any)["id"].(string))
	})
	t.Run("execute a pending run", func(t *testing.T) {
		id := r.pendingRun(t)
		r.run(t, prefect, "flow-run", "execute", id)
		r.verify(t, id)
	})
	t.Run("workspaces of the command line", func(t *testing.T) {
		out := r.run(t, prefect, "cloud", "workspace", "ls")
		if !strings.Contains(out, "acme/main") {
			t.Errorf("workspace ls shows %q", out)
		}
	})
	t.Run("events out", func(t *testing.T) { r.subscribe(t) })
	t.Run("plain", func(t *testing.T) { plain(t, server, r.dir) })
	t.Run("wrong token on events out", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		conn := r.dial(t, ctx, "/events/out")
		defer conn.CloseNow()
		send(t, ctx, conn, map[string]any{"type": "auth", "token": "wrong"})
		if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("got %v, want a policy violation", err)
		}
	})
}

type realStack struct {
	prefect, root, api, dir string
	front                   *Front
}

func (r *realStack) env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "PREFECT_HOME=" + r.dir, "PREFECT_SERVER_ANALYTICS_ENABLED=false", "DO_NOT_TRACK=1",
		"PREFECT_API_URL=" + r.api, "PREFECT_CLOUD_API_URL=" + r.root, "PREFECT_API_KEY=" + realKey,
	}
}

// run runs a command as a flow container would, and fails on any complaint.
func (r *realStack) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = r.dir, r.env()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", filepath.Base(name), err, &out, &errs)
	}
	if regexp.MustCompile(`ERROR|WARN|Traceback|Exception`).Match(errs.Bytes()) {
		t.Errorf("%s complains:\n%s", filepath.Base(name), &errs)
	}
	return out.String()
}

// post calls the server, again while its SQLite file is busy: it says 503 then.
func (r *realStack) post(t *testing.T, path string, body any) any {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		status, answer := r.try(t, path, data)
		if status == http.StatusServiceUnavailable && time.Now().Before(deadline) {
			continue
		}
		var v any
		if err := json.Unmarshal(answer, &v); err != nil || status >= 300 {
			t.Fatalf("POST %s: %d %s %v", path, status, answer, err)
		}
		return v
	}
}

func (r *realStack) try(t *testing.T, path string, data []byte) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.api+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+realKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if answer, err = io.ReadAll(res.Body); err != nil {
		t.Fatalf("POST %s: %s %v", path, res.Status, err)
	}
	return res.StatusCode, answer
}

// pendingRun makes a deployment and a run of it that a worker has claimed.
func (r *realStack) pendingRun(t *testing.T) string {
	t.Helper()
	id := r.scheduledRun(t)
	r.post(t, "/flow_runs/"+id+"/set_state", map[string]any{"state": map[string]any{"type": "PENDING", "name": "Pending"}})
	return id
}

// verify waits for what arrives after the client is gone: logs and events are
// written by the server in its own time.
func (r *realStack) verify(t *testing.T, id string) {
	t.Helper()
	run := r.post(t, "/flow_runs/filter", map[string]any{"flow_runs": map[string]any{"id": map[string]any{"any_": []string{id}}}}).([]any)[0].(map[string]any)
	if run["state_type"] != "COMPLETED" {
		t.Errorf("flow run is %v, want COMPLETED", run["state_type"])
	}
	eventually(t, "log line", func() bool {
		logs, err := json.Marshal(r.post(t, "/logs/filter", map[string]any{"logs": map[string]any{"flow_run_id": map[string]any{"any_": []string{id}}}}))
		return err == nil && bytes.Contains(logs, []byte("hello from the flow"))
	})
	eventually(t, "event of the flow", func() bool {
		events, err := json.Marshal(r.post(t, "/events/filter", map[string]any{"filter": map[string]any{
			"event": map[string]any{"name": []string{"greeted"}}, "related": map[string]any{"id": []string{"prefect.flow-run." + id}},
		}}))
		return err == nil && bytes.Contains(events, []byte("greeter"))
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("no %s", what)
		}
	}
}

func (r *realStack) dial(t *testing.T, ctx context.Context, path string) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(ctx, strings.Replace(r.api, "http", "ws", 1)+path, &websocket.DialOptions{Subprotocols: []string{"prefect"}})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func send(t *testing.T, ctx context.Context, conn *websocket.Conn, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Write(ctx, websocket.MessageText, data); err != nil {
		t.Fatal(err)
	}
}

// subscribe opens /events/out as a worker does, and sees a run being made.
func (r *realStack) subscribe(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn := r.dial(t, ctx, "/events/out")
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	send(t, ctx, conn, map[string]any{"type": "auth", "token": realKey})
	if _, data, err := conn.Read(ctx); err != nil || !bytes.Contains(data, []byte("auth_success")) {
		t.Fatalf("handshake: %s %v", data, err)
	}
	send(t, ctx, conn, map[string]any{"type": "filter", "backfill": false, "filter": map[string]any{
		"event": map[string]any{"prefix": []string{"prefect.flow-run."}},
		// The default ends now.
		"occurred": map[string]any{"since": time.Now().UTC(), "until": time.Now().UTC().Add(time.Hour)},
	}})
	id := r.pendingRun(t)
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			t.Fatalf("no event of run %s: %v", id, err)
		}
		if bytes.Contains(data, []byte("prefect.flow-run."+id)) {
			break
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("close: %v", err)
	}
}

// startPrefect starts a server of its own, with an empty database.
func startPrefect(t *testing.T, prefect string) *url.URL {
	t.Helper()
	home := t.TempDir()
	port := freePort(t)
	cmd := exec.Command(prefect, "server", "start", "--host", "127.0.0.1", "--port", fmt.Sprint(port))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "PREFECT_HOME=" + home, "PREFECT_SERVER_ANALYTICS_ENABLED=false", "DO_NOT_TRACK=1", "PREFECT_UI_ENABLED=false", "PREFECT_SERVER_UI_ENABLED=false"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The server runs its services in children of its own.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait()
		http.DefaultClient.CloseIdleConnections()
		if t.Failed() {
			t.Logf("server:\n%s", &out)
		}
	})
	u := &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}
	waitFor(t, u.String()+"/api/health", 90*time.Second)
	return u
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func waitFor(t *testing.T, address string, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		res, err := http.Get(address)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s does not come up: %v", address, err)
		}
	}
}
