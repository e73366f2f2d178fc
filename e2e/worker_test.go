//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// hostWorker is a worker on this machine.
type hostWorker struct {
	cmd  *exec.Cmd
	out  syncBuffer
	done chan error
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (w *hostWorker) output() string { return w.out.String() }

// cleanEnv is this process's environment without what would configure a worker.
func cleanEnv() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "PREFECT_") && !strings.HasPrefix(entry, "FABER_") && !strings.HasPrefix(entry, "AWS_") {
			env = append(env, entry)
		}
	}
	return env
}

func (s *stack) awsEnv() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.awsURL(), "AWS_ACCESS_KEY_ID=" + account,
		"AWS_SECRET_ACCESS_KEY=test", "AWS_REGION=" + region,
	}
}

// cloudAs is the environment of somebody who uses the API that plays Cloud.
// Containers would not reach it under this address: flow runs get their own.
func (s *stack) cloudAs(key, accountID, workspace string) []string {
	var env []string
	for name, value := range map[string]string{
		"PREFECT_CLOUD_API_URL": s.cloudURL(), "PREFECT_API_KEY": key,
		"PREFECT_ACCOUNT_ID": accountID, "PREFECT_WORKSPACE_ID": workspace,
	} {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// startWorker starts a worker with the right Cloud credentials and waits until
// it is online. Its home is empty, so that no profile of this machine matters.
func (s *stack) startWorker(t *testing.T, kind, workPool string, more []string) *hostWorker {
	t.Helper()
	name := "e2e-" + workPool
	w := &hostWorker{done: make(chan error, 1)}
	w.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), s.faber, "worker", "start", "--pool", workPool, "--type", kind, "--name", name)
	w.cmd.Env = append(cleanEnv(), s.cloudAs(canary, s.state.AccountID, s.state.WorkspaceID)...)
	w.cmd.Env = append(w.cmd.Env, "HOME="+t.TempDir())
	w.cmd.Env = append(w.cmd.Env, more...)
	w.cmd.Stdout, w.cmd.Stderr = &w.out, &w.out
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { w.done <- w.cmd.Wait() }()
	t.Cleanup(func() {
		w.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("worker %s:\n%s", name, w.output())
		}
	})
	eventually(t, 30*time.Second, "worker "+name+" is ONLINE", func() bool { return s.online(t, workPool, name) })
	return w
}

func (s *stack) online(t *testing.T, workPool, name string) bool {
	t.Helper()
	if status, _ := s.callAPI(t, http.MethodGet, "/work_pools/"+workPool, nil); status == http.StatusNotFound {
		return false // the worker has yet to make it
	}
	var workers []struct{ Name, Status string }
	s.api(t, http.MethodPost, "/work_pools/"+workPool+"/workers/filter", map[string]any{}, &workers)
	for _, w := range workers {
		if w.Name == name && w.Status == "ONLINE" {
			return true
		}
	}
	return false
}

// stop sends SIGTERM; the worker must end by itself with code 0.
func (w *hostWorker) stop(t *testing.T) {
	t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-w.done:
		if err != nil {
			t.Errorf("the worker ended with %v\n%s", err, w.output())
		}
	case <-time.After(60 * time.Second):
		t.Errorf("the worker does not end\n%s", w.output())
	}
}

// testCloudShape tries the credentials of Prefect Cloud, right and wrong.
func (s *stack) testCloudShape(t *testing.T) {
	s.startWorker(t, "process", "cloud-shape", nil).stop(t)
	other := "11111111-2222-4333-8444-555555555555"
	for name, c := range map[string]struct {
		env  []string
		want []string
	}{
		"wrong key":       {s.cloudAs("pnu_wrong_0123456789", s.state.AccountID, s.state.WorkspaceID), []string{"PREFECT_API_KEY"}},
		"wrong workspace": {s.cloudAs(canary, s.state.AccountID, other), []string{"PREFECT_WORKSPACE_ID", other}},
		"wrong account":   {s.cloudAs(canary, other, s.state.WorkspaceID), []string{"PREFECT_ACCOUNT_ID", other}},
		"missing account": {s.cloudAs(canary, "", s.state.WorkspaceID), []string{"PREFECT_ACCOUNT_ID"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			cmd := exec.CommandContext(t.Context(), s.faber, "worker", "start", "--pool", "cloud-shape", "--type", "process")
			cmd.Env = append(append(cleanEnv(), c.env...), "HOME="+t.TempDir())
			cmd.Stdout, cmd.Stderr = &out, &out
			begun := time.Now()
			err := cmd.Run()
			t.Logf("%v after %.1f s:\n%s", err, time.Since(begun).Seconds(), out.String())
			if err == nil {
				t.Error("the worker ended with code 0")
			}
			checkOneError(t, out.String(), c.want)
		})
	}
}

// checkOneError holds that there is one message with a hint, that it names the
// faulty one, and that no key is in it.
func checkOneError(t *testing.T, text string, want []string) {
	t.Helper()
	if n := strings.Count(text, "error:"); n != 1 {
		t.Errorf("%d error messages", n)
	}
	if !strings.Contains(text, "hint:") {
		t.Error("no hint")
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not named", w)
		}
	}
	for _, key := range []string{canary, "pnu_wrong"} {
		if strings.Contains(text, key) {
			t.Error("the key is printed")
		}
	}
}

// testProcessWorker runs the same flows as children of a worker on this machine.
func (s *stack) testProcessWorker(t *testing.T) {
	const local = "local-processes"
	flows, err := filepath.Abs("../internal/dev/flows")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, "cache", "python-prefect", "bin") + string(os.PathListSeparator) + os.Getenv("PATH")
	w := s.startWorker(t, "process", local, []string{"PATH=" + path})
	id := s.startRun(t, s.deploy(t, "hello", "local", local, flows, nil), nil)
	eventually(t, 90*time.Second, "the run is over", func() bool { return s.flowRun(t, id).StateType == "COMPLETED" })
	s.checkHistory(t, id)

	id = s.startRun(t, s.deploy(t, "sleep", "local", local, flows, nil), map[string]any{"seconds": 300})
	eventually(t, 90*time.Second, "the run is Running", func() bool { return s.flowRun(t, id).StateType == "RUNNING" })
	pid := s.flowRun(t, id).PID
	w.stop(t)
	if state := s.flowRun(t, id); state.StateType == "RUNNING" || state.StateType == "PENDING" {
		t.Errorf("after the worker's end the run is %s", state.StateType)
	} else {
		t.Logf("after the worker's end the run is %s: %s", state.StateName, state.State.Message)
	}
	var number int
	if _, err := fmt.Sscan(pid, &number); err != nil || number == 0 {
		t.Fatalf("infrastructure_pid %q is no process", pid)
	}
	if alive(number) {
		t.Errorf("the child %d outlived the worker", number)
	}
}
