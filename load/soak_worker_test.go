//go:build load

package load

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sample is how a worker is at one moment.
type sample struct {
	at              time.Time
	runs            int
	resident, heap  int64 // bytes
	goroutines      int
	inWork, tracked int
}

func (s sample) String() string {
	return fmt.Sprintf("%.1f MiB resident, %.1f MiB heap, %d goroutines, %d in work", mebibytes(s.resident), mebibytes(s.heap), s.goroutines, s.inWork)
}

// soaked is a worker in a process of its own.
type soaked struct {
	t     *testing.T
	cmd   *exec.Cmd
	url   string // of its health
	log   string // file
	ended chan error
}

// startSoaked starts the binary that FABER names, with nothing of this environment.
func startSoaked(t *testing.T, api, aws string, flags ...string) *soaked {
	t.Helper()
	faber := os.Getenv("FABER")
	if faber == "" {
		t.Fatal("FABER must name the binary: run `make load` or `make soak`")
	}
	port := freePort(t)
	home := t.TempDir()
	w := &soaked{t: t, url: fmt.Sprintf("http://127.0.0.1:%d", port), log: filepath.Join(home, "log"), ended: make(chan error, 1)}
	log, err := os.Create(w.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	w.cmd = exec.Command(faber, append([]string{
		"worker", "start", "-p", pool, "-t", "ecs", "-n", "soak", "--with-healthcheck",
		"--events-queue", queue,
	}, flags...)...)
	w.cmd.Env = []string{
		"HOME=" + home, "PREFECT_API_URL=" + api, "AWS_ENDPOINT_URL=" + aws, "AWS_REGION=eu-central-1",
		"AWS_ACCESS_KEY_ID=soak", "AWS_SECRET_ACCESS_KEY=soak-secret", "AWS_EC2_METADATA_DISABLED=true",
		"PREFECT_WORKER_WEBSERVER_HOST=127.0.0.1", "PREFECT_WORKER_WEBSERVER_PORT=" + strconv.Itoa(port),
	}
	w.cmd.Stdout, w.cmd.Stderr, w.cmd.Dir = log, log, home
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { w.ended <- w.cmd.Wait() }()
	t.Cleanup(func() { _ = w.cmd.Process.Kill() })
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := w.get("/readyz"); err == nil {
			return w
		}
		if time.Now().After(deadline) || !sleep(t.Context(), 100*time.Millisecond) {
			t.Fatalf("it does not start: %s", w.tail())
		}
	}
}

func (w *soaked) get(path string) (string, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(w.url + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}

func (w *soaked) status() string {
	text, _ := w.get("/status") // nothing is told then, and the log follows
	return text + "\n" + w.tail()
}

// tail is the end of its log.
func (w *soaked) tail() string { return tailOf(w.log) }

// sample asks the system for its memory and itself for the rest.
func (w *soaked) sample(t *testing.T) sample {
	t.Helper()
	s := sample{at: time.Now()}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("the worker has gone: %v: %s", err, w.tail())
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			s.resident = number(t, strings.Fields(rest)[0]) << 10
		}
	}
	text, err := w.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewBufferString(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "go_goroutines":
			s.goroutines = int(number(t, value))
		case "go_memstats_heap_inuse_bytes":
			s.heap = number(t, value)
		case "faber_flow_runs_in_work":
			s.inWork = int(number(t, value))
		case "faber_tracked_infrastructure":
			s.tracked = int(number(t, value))
		}
	}
	return s
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(value)
}

// stop ends it, and expects that it goes well.
func (w *soaked) stop() {
	w.t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		w.t.Error(err)
	}
	if err := <-w.ended; err != nil {
		w.t.Errorf("it ended with %v: %s", err, w.tail())
	}
}
