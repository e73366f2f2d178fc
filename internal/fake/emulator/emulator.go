// Package emulator starts the AWS emulators that others wrote, for tests: ministack
// and moto, each as a process of its own on loopback, without a container engine.
// ministack then only marks tasks as running.
package emulator

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Ministack starts ministack with a Python that has it, waits until it is healthy,
// within patience, and ends it with the test.
func Ministack(t testing.TB, python string, patience time.Duration) *url.URL {
	t.Helper()
	host, port := free(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), python, "-m", "hypercorn", "ministack.app:app", "--bind", net.JoinHostPort(host, port))
	cmd.Env = append(cmd.Environ(), "GATEWAY_PORT="+port, "DOCKER_HOST=unix:///nowhere/docker.sock", "IOT_MTLS_ENABLED=0", "SFTP_ENABLED=0")
	return start(t, cmd, &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}, "/_ministack/health", patience)
}

// Moto starts moto, likewise.
func Moto(t testing.TB, python string, patience time.Duration) *url.URL {
	t.Helper()
	host, port := free(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), python, "-m", "moto.server", "-H", host, "-p", port)
	return start(t, cmd, &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}, "/moto-api/", patience)
}

// free is an address that nobody listens on.
func free(t testing.TB) (host, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if host, port, err = net.SplitHostPort(l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	return host, port
}

func start(t testing.TB, cmd *exec.Cmd, at *url.URL, health string, patience time.Duration) *url.URL {
	t.Helper()
	cmd.Dir = t.TempDir()
	cmd.Env = append(cmd.Environ(), "HOME="+cmd.Dir, "TMPDIR="+cmd.Dir, "PYTHONDONTWRITEBYTECODE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it has children, which are to end with it
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, 5*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()                                      // it was killed
		if t.Failed() {
			t.Logf("emulator:\n%s", out.String()[max(0, out.Len()-4000):])
		}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for deadline := time.Now().Add(patience); ; <-time.After(100 * time.Millisecond) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at.String()+health, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return at
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the emulator does not answer within %s: %v", patience, err)
		}
	}
}
