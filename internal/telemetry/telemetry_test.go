package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		name string
		log  func(*slog.Logger)
		want string
	}{
		{"plain", func(l *slog.Logger) { l.Info("hello") }, `\d\d:\d\d:\d\d\.\d{3} \| INFO    \| prefect\.worker - hello`},
		{"logger of the line", func(l *slog.Logger) { l.Warn("hi", LoggerKey, "prefect.flow_runs.worker") }, `.* \| WARNING \| prefect\.flow_runs\.worker - hi`},
		{"logger by With", func(l *slog.Logger) { l.With(LoggerKey, "a", "n", 1).Error("x", "m", "b c") }, `.* \| ERROR   \| a - x n=1 m="b c"`},
		{"groups", func(l *slog.Logger) { l.WithGroup("g").Info("x", slog.Group("h", "i", 2), "e", errors.New("bad")) }, `.* - x g\.h\.i=2 g\.e=bad`},
		{"below the level", func(l *slog.Logger) { l.Debug("x") }, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			tt.log(slog.New(NewHandler(&out, slog.LevelInfo, false)))
			if got := strings.TrimSuffix(out.String(), "\n"); !regexp.MustCompile("^" + tt.want + "$").MatchString(got) {
				t.Errorf("line %q", got)
			}
		})
	}
	t.Run("json", func(t *testing.T) {
		var out bytes.Buffer
		slog.New(NewHandler(&out, slog.LevelInfo, true)).Info("hello", "a", 1)
		if !strings.Contains(out.String(), `"msg":"hello","a":1`) {
			t.Errorf("line %q", out.String())
		}
	})
}

func TestParseLevel(t *testing.T) {
	for name, want := range map[string]slog.Level{
		"DEBUG": slog.LevelDebug, "info": slog.LevelInfo, "Warning": slog.LevelWarn, "ERROR": slog.LevelError, "CRITICAL": slog.LevelError + 4,
	} {
		if got, err := ParseLevel(name); err != nil || got != want {
			t.Errorf("ParseLevel(%q) = %v, %v", name, got, err)
		}
		if got := levelName(want); got != strings.ToUpper(name) {
			t.Errorf("levelName(%v) = %q", want, got)
		}
	}
	if _, err := ParseLevel("loud"); err == nil || !strings.Contains(err.Error(), "WARNING") {
		t.Errorf("err = %v", err)
	}
}

func TestServer(t *testing.T) {
	var live, ready error
	var accept string
	alive := func() error { return live }
	s, err := Listen("127.0.0.1:0", Health{
		Live:  func() error { return live },
		Alive: func() error { return alive() },
		Ready: func() error { return ready },
		Checks: func() []Check {
			late := Check{Name: "sweep", Age: 61 * time.Second, Every: 20 * time.Second, Problem: "late"}
			return []Check{{Name: "poll", Age: 1234 * time.Millisecond, Every: 10 * time.Second}, late}
		},
		Status:  func() string { return "poll: fine\n" },
		Metrics: NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string, wantCode int, want string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://"+s.Addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != wantCode || !strings.Contains(string(body), want) {
			t.Errorf("GET %s = %d %q", path, resp.StatusCode, body)
		}
	}
	get("/health", 200, `{"message":"OK"}`)
	get("/healthz", 200, "ok")
	get("/readyz", 200, "ok\npoll: 1.2s ago, every 10s\nsweep: 1m1s ago, every 20s: late\n")
	get("/status", 200, "poll: fine")
	get("/metrics", 200, "go_goroutines")
	live, ready = errors.New("no poll for 5m"), errors.New("pool unknown")
	get("/health", 503, `{"message":"Worker may be unresponsive at this time"}`)
	get("/healthz", 503, "no poll for 5m")
	get("/readyz", 503, "pool unknown\npoll: ")
	accept = "application/json"
	get("/readyz", 503, `{"ready":false,"problem":"pool unknown","checks":[{"name":"poll","ok":true,"age_seconds":1.234,"every_seconds":10},{"name":"sweep","ok":false,"age_seconds":61,"every_seconds":20,"problem":"late"}]}`)
	ready = nil
	get("/readyz", 200, `{"ready":true,"checks":[`)
	accept = ""
	alive = func() error { return errors.New("stuck") }
	live = nil
	get("/healthz", 503, "stuck")
	get("/health", 200, "OK")
	if _, err := Listen(s.Addr(), Health{}); err == nil {
		t.Error("a taken port was listened on")
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestMetricsServer(t *testing.T) {
	s, err := ListenMetrics("127.0.0.1:0", NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/metrics", "/"} { // Prefect's answers on any
		resp, err := client.Get("http://" + s.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") || !strings.Contains(string(body), "process_") {
			t.Errorf("GET %s = %s %q %v", path, resp.Status, body, err)
		}
	}
	if _, err := ListenMetrics(s.Addr(), NewRegistry()); err == nil || !strings.Contains(err.Error(), "listen for metrics") {
		t.Errorf("a taken port: %v", err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
