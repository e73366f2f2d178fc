package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// watched is a writer that tells when a text has been written.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	seen chan struct{}
}

func newWatched(want string) *watched { return &watched{want: want, seen: make(chan struct{})} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := strings.Contains(w.text.String(), w.want)
	w.text.Write(p)
	if !before && strings.Contains(w.text.String(), w.want) {
		close(w.seen)
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// realPrefect is a Prefect server of its own for one test.
type realPrefect struct {
	t          *testing.T
	executable string
	api        string
}

// startPrefect starts the server that FABER_TEST_PREFECT names.
func startPrefect(t *testing.T) *realPrefect {
	t.Helper()
	executable := os.Getenv("FABER_TEST_PREFECT")
	if executable == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("FABER_TEST_PREFECT is not set: CI must run this test against a real Prefect server")
		}
		t.Skip("FABER_TEST_PREFECT is not set: name the prefect executable to run against a real Prefect server")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()

	home := t.TempDir()
	log, err := os.Create(filepath.Join(home, "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command(executable, "server", "start", "--host", "127.0.0.1", "--port", fmt.Sprint(port))
	server.Env = append(os.Environ(), "PREFECT_HOME="+home, "PREFECT_SERVER_ANALYTICS_ENABLED=false")
	server.Stdout, server.Stderr = log, log
	server.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-server.Process.Pid, syscall.SIGKILL)
		_ = server.Wait()
		_ = log.Close()
	})
	p := &realPrefect{t: t, executable: executable, api: fmt.Sprintf("http://127.0.0.1:%d/api", port)}
	p.until(time.Minute, "the server answers", func() bool {
		resp, err := http.Get(p.api + "/health")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// in is the same server for a subtest.
func (p *realPrefect) in(t *testing.T) *realPrefect {
	return &realPrefect{t: t, executable: p.executable, api: p.api}
}

// until asks again and again: a real server gives no other sign.
func (p *realPrefect) until(limit time.Duration, what string, reached func() bool) {
	p.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !reached() {
		select {
		case <-tick.C:
		case <-deadline:
			p.t.Fatalf("waited %s in vain until %s", limit, what)
		}
	}
}

func (p *realPrefect) call(method, path string, body, into any) {
	p.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	// The server answers 503 while its SQLite file is busy.
	p.until(30*time.Second, method+" "+path+" succeeds", func() bool { return p.try(method, path, data, into) })
}

// try makes one call. It reports false when it is worth another try.
func (p *realPrefect) try(method, path string, data []byte, into any) bool {
	p.t.Helper()
	req, err := http.NewRequest(method, p.api+path, bytes.NewReader(data))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	// The server drops connections that were idle for 5 s, perhaps just as one is used
	// again, and what was posted then cannot be told from what was lost.
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusServiceUnavailable {
		return false
	}
	if err != nil || resp.StatusCode >= 300 {
		p.t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, answer, err)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			p.t.Fatal(err)
		}
	}
	return true
}

// start deploys a flow of testdata and creates a run of it.
func (p *realPrefect) start(flow string) (runID string) { return p.startWith(flow, nil) }

func (p *realPrefect) startWith(flow string, parameters map[string]any) (runID string) {
	p.t.Helper()
	dir, err := filepath.Abs("testdata/worker")
	if err != nil {
		p.t.Fatal(err)
	}
	var made struct{ ID string }
	p.call("POST", "/flows/", map[string]any{"name": flow}, &made)
	p.call("POST", "/deployments/", map[string]any{
		"name": "d", "flow_id": made.ID, "work_pool_name": "p", "path": dir, "entrypoint": "flows.py:" + flow,
		"pull_steps": []any{map[string]any{"prefect.deployments.steps.set_working_directory": map[string]any{"directory": dir}}},
	}, &made)
	if parameters == nil {
		parameters = map[string]any{}
	}
	p.call("POST", "/deployments/"+made.ID+"/create_flow_run", map[string]any{"state": map[string]any{"type": "SCHEDULED"}, "parameters": parameters}, &made)
	return made.ID
}

type seenState struct {
	Name, Message string
	Timestamp     time.Time
}

func (p *realPrefect) states(runID string) []seenState {
	p.t.Helper()
	var states []seenState
	p.call("GET", "/flow_run_states/?flow_run_id="+runID, nil, &states)
	slices.SortFunc(states, func(a, b seenState) int { return a.Timestamp.Compare(b.Timestamp) })
	return states
}

// reaches waits for a state of a run and returns all its states.
func (p *realPrefect) reaches(runID string, names ...string) []seenState {
	p.t.Helper()
	var states []seenState
	p.until(90*time.Second, "the run is "+strings.Join(names, " or "), func() bool {
		states = p.states(runID)
		return slices.Contains(names, states[len(states)-1].Name)
	})
	return states
}

func TestWorkerAgainstARealServer(t *testing.T) {
	p := startPrefect(t)
	env := map[string]string{
		"PREFECT_API_URL": p.api, "PREFECT_HOME": t.TempDir(),
		"PATH": filepath.Dir(p.executable) + string(filepath.ListSeparator) + os.Getenv("PATH"),
	}
	talk, _, stop := startWorker(t, env, "--limit 3", 30*time.Second)

	t.Run("a good run", func(t *testing.T) {
		p := p.in(t)
		id := p.start("ok")
		var names []string
		for _, s := range p.reaches(id, "Completed", "Crashed", "Failed") {
			names = append(names, s.Name)
		}
		if want := []string{"Scheduled", "Pending", "Submitting", "Running", "Completed"}; !slices.Equal(names, want) {
			t.Errorf("history %q", names)
		}
	})
	t.Run("a process that dies", func(t *testing.T) {
		p := p.in(t)
		states := p.reaches(p.start("die"), "Completed", "Crashed", "Failed")
		last := states[len(states)-1]
		if last.Name != "Crashed" || !strings.Contains(last.Message, "7") {
			t.Errorf("last state %+v", last)
		}
	})
	t.Run("shutdown with a run under way", func(t *testing.T) {
		p := p.in(t)
		id := p.start("long")
		p.reaches(id, "Running")
		var run struct {
			InfrastructurePID string `json:"infrastructure_pid"`
		}
		p.call("GET", "/flow_runs/"+id, nil, &run)
		begin := time.Now()
		if code := stop(); code != exitOK {
			t.Errorf("exit code %d", code)
		}
		if took := time.Since(begin); took > 25*time.Second {
			t.Errorf("the shutdown took %s", took)
		}
		states := p.states(id)
		if last := states[len(states)-1]; last.Name != "Crashed" {
			t.Errorf("last state %+v", last)
		}
		if left := flowProcesses(t, id); len(left) > 0 {
			t.Errorf("processes %v of the run are left", left)
		}
	})
	if t.Failed() {
		t.Log(talk)
	}
}

// flowProcesses lists processes that carry the run's id in their environment.
func flowProcesses(t *testing.T, runID string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, []byte("PREFECT__FLOW_RUN_ID="+runID)) {
			found = append(found, file)
		}
	}
	return found
}
