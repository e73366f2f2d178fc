//go:build load

package load

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startServer starts a real Prefect server on the loopback, with a home and a
// database of its own, and returns its URL with /api.
func startServer(t *testing.T) string {
	t.Helper()
	program := os.Getenv("FABER_TEST_PREFECT")
	if _, err := exec.LookPath(program); program == "" || err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("FABER_TEST_PREFECT is %q and must name the prefect executable: run `make load`", program)
		}
		t.Skipf("no Prefect server: FABER_TEST_PREFECT is %q; `make load` installs one", program)
	}
	home := t.TempDir()
	// Prefect gives a database whose URL has ":memory:" in it a single connection.
	// With more of them a server that is written to from many sides hangs for its
	// busy time-out, each waiting for a lock that another one holds.
	data := filepath.Join(home, ":memory:")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	url := fmt.Sprintf("http://127.0.0.1:%d/api", port)
	log, err := os.Create(filepath.Join(home, "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "server", "start", "--host", "127.0.0.1", "--port", fmt.Sprint(port))
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "PREFECT_HOME=" + home, "PREFECT_SERVER_ANALYTICS_ENABLED=false",
		"PREFECT_SERVER_DATABASE_TIMEOUT=60", "PREFECT_LOGGING_LEVEL=WARNING",
		"PREFECT_SERVER_DATABASE_CONNECTION_URL=sqlite+aiosqlite:///" + filepath.Join(data, "prefect.db"),
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = log.Close()
		if t.Failed() {
			t.Logf("the server's log ends with:\n%s", tailOf(log.Name()))
		}
	})
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(4 * time.Minute); ; {
		if response, err := client.Get(url + "/health"); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return url
			}
		}
		if time.Now().After(deadline) || !sleep(t.Context(), 100*time.Millisecond) {
			t.Fatalf("the Prefect server does not answer:\n%s", tailOf(log.Name()))
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// tailOf is the end of a log.
func tailOf(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data[max(0, len(data)-4000):]))
}
