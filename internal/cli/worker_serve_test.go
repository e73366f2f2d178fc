package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"faber/internal/fake/fakeprefect"
)

// freePort is a port that nobody listens on for now.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// ask makes one GET on this machine, and says "" where nobody listens.
func ask(t *testing.T, port, path string) (code int, kind, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Get("http://127.0.0.1:" + port + path)
	if err != nil {
		return 0, "", ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(data)
}

// soon asks until it is so.
func soon(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain until %s", what)
		}
	}
}

// runWorker starts a worker and returns what it says, and what ends it.
func runWorker(t *testing.T, env map[string]string, args string) (talk *watched, stop func() int) {
	t.Helper()
	std, _ := testIO(t, env)
	talk = newWatched("Worker 'w' started!")
	std.Err, std.Out = talk, talk
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- Main(ctx, strings.Fields("worker start -p p -t process -n w "+args), std) }()
	return talk, func() int {
		cancel()
		return <-ended
	}
}

// startWorker starts worker w1 of pool p, of type process, waits until it says that it
// has started, and returns what it logs, what it writes on stdout, and what ends it.
func startWorker(t *testing.T, env map[string]string, more string, patience time.Duration) (talk *watched, out *bytes.Buffer, stop func() int) {
	t.Helper()
	std, _ := testIO(t, env)
	talk, out = newWatched("Worker 'w1' started!"), &bytes.Buffer{}
	std.Err, std.Out = talk, out
	ctx, terminate := context.WithCancel(t.Context())
	t.Cleanup(terminate)
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, strings.Fields("worker start --pool p --type process --name w1 "+more), std)
	}()
	select {
	case <-talk.seen:
	case <-time.After(patience):
		t.Fatalf("the worker did not start: %s", talk)
	}
	return talk, out, func() int {
		terminate()
		return <-ended
	}
}

// TestHealthFollowsThePolls has an API that answers everything and then holds
// on to every request: /health says 200 from the first moment, and 503 once
// there was no poll for thirty times the poll interval.
func TestHealthFollowsThePolls(t *testing.T) {
	server := fakeprefect.New()
	server.AddPool(fakeprefect.Pool{Name: "p", Type: "process"})
	var hangs atomic.Bool
	release := make(chan struct{})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hangs.Load() {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return
		}
		server.ServeHTTP(w, r)
	}))
	defer api.Close()
	defer close(release)
	port := freePort(t)
	talk, stop := runWorker(t, map[string]string{
		"PREFECT_API_URL": api.URL + "/api", "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1", "PREFECT_WORKER_WEBSERVER_PORT": port, "PREFECT_WORKER_QUERY_SECONDS": "0.05",
	}, "--with-healthcheck")
	defer stop()
	soon(t, "health is served", func() bool { code, _, _ := ask(t, port, "/health"); return code != 0 })
	if code, kind, body := ask(t, port, "/health"); code != http.StatusOK || kind != "application/json" || body != `{"message":"OK"}` {
		t.Errorf("at the start: %d %s %s", code, kind, body)
	}
	<-talk.seen
	hangs.Store(true)
	soon(t, "the worker is unhealthy", func() bool { code, _, _ := ask(t, port, "/health"); return code == http.StatusServiceUnavailable })
	if code, kind, body := ask(t, port, "/health"); code != http.StatusServiceUnavailable || kind != "application/json" || body != `{"message":"Worker may be unresponsive at this time"}` {
		t.Errorf("without polls: %d %s %s", code, kind, body)
	}
	if want := " | ERROR   | prefect.worker - Worker has not polled in the last "; !strings.Contains(talk.String(), want) || !strings.Contains(talk.String(), " seconds and should be restarted\n") {
		t.Errorf("no %q in\n%s", want, talk)
	}
}

// TestHealthBeforeTheWorker: a start that takes too long is unhealthy as well,
// unless the server asked for a pause.
func TestHealthBeforeTheWorker(t *testing.T) {
	for _, pause := range []string{"", "Prefect-Maintenance"} {
		t.Run("pause "+pause, func(t *testing.T) {
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/admin/version") {
					fmt.Fprint(w, `"3.8.8"`)
					return
				}
				w.Header().Set("Retry-After", "3600") // nothing else is answered before the test is over
				if pause != "" {
					w.Header().Set(pause, "true")
				}
				w.WriteHeader(http.StatusServiceUnavailable)
			}))
			defer api.Close()
			port := freePort(t)
			std, _ := testIO(t, map[string]string{
				"PREFECT_API_URL": api.URL + "/api", "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1", "PREFECT_WORKER_WEBSERVER_PORT": port, "PREFECT_WORKER_QUERY_SECONDS": "0.02",
			})
			talk := newWatched("never")
			std.Err = talk
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan int, 1)
			// Without a type the worker cannot even be made: the pool is asked first.
			go func() { ended <- Main(ctx, strings.Fields("worker start -p p -n w --with-healthcheck"), std) }()
			defer func() { cancel(); <-ended }()
			soon(t, "health is served", func() bool { code, _, _ := ask(t, port, "/health"); return code != 0 })
			begin := time.Now()
			if pause == "" {
				soon(t, "the start takes too long", func() bool { code, _, _ := ask(t, port, "/health"); return code == http.StatusServiceUnavailable })
				return
			}
			soon(t, "two windows have passed", func() bool { return time.Since(begin) > 1200*time.Millisecond })
			if code, _, _ := ask(t, port, "/health"); code != http.StatusOK {
				t.Errorf("in a pause: %d\n%s", code, talk)
			}
		})
	}
}

func TestMetricsAreServedWhenEnabled(t *testing.T) {
	server := fakeprefect.New()
	server.AddPool(fakeprefect.Pool{Name: "p", Type: "process"})
	api := httptest.NewServer(server)
	defer api.Close()
	for _, enabled := range []string{"false", "true"} {
		port := freePort(t)
		talk, stop := runWorker(t, map[string]string{"PREFECT_API_URL": api.URL + "/api", "PREFECT_CLIENT_METRICS_ENABLED": enabled, "PREFECT_CLIENT_METRICS_PORT": port}, "")
		<-talk.seen
		code, kind, body := ask(t, port, "/metrics")
		if enabled == "false" {
			if code != 0 {
				t.Errorf("served though not enabled: %d", code)
			}
			stop()
			continue
		}
		if code != http.StatusOK || !strings.HasPrefix(kind, "text/plain") {
			t.Errorf("%d %s", code, kind)
		}
		for _, name := range []string{
			"prefect_events_emitted_total", "prefect_events_observed_total", "prefect_event_websocket_connections_total", "prefect_event_websocket_checkpoints_total",
			"faber_loop_rounds_total", "process_", "go_",
		} {
			if !strings.Contains(body, "\n"+name) && !strings.Contains(body, "# TYPE "+name) {
				t.Errorf("no %s", name)
			}
		}
		if code := stop(); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
}
