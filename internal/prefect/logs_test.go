package prefect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func sentLogs(t *testing.T, r request) []map[string]any {
	t.Helper()
	var lines []map[string]any
	if err := json.Unmarshal([]byte(r.body), &lines); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestLogsGoInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFake(t, map[string]http.HandlerFunc{"POST /api/logs/": status(201)})
		logger := NewFlowRunLogger(api.client(t, Options{}), 0)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- logger.Run(ctx) }()
		began := time.Now()
		logger.Log("prefect.flow_runs.worker", slog.LevelInfo, "run", "one")
		time.Sleep(time.Second)
		logger.Log("prefect.flow_runs.worker", slog.LevelWarn, "run", "two")
		logger.Log("prefect.flow_runs.worker", slog.LevelDebug, "run", "unseen")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		seen := api.seen()
		if len(seen) != 1 || seen[0].at.Sub(began) != 2*time.Second {
			t.Fatalf("%d requests, %v", len(seen), seen)
		}
		want := []map[string]any{
			{"name": "prefect.flow_runs.worker", "level": 20.0, "message": "one", "timestamp": "2000-01-01T00:00:00Z", "flow_run_id": "run", "task_run_id": nil},
			{"name": "prefect.flow_runs.worker", "level": 30.0, "message": "two", "timestamp": "2000-01-01T00:00:01Z", "flow_run_id": "run", "task_run_id": nil},
		}
		if diff := cmp.Diff(want, sentLogs(t, seen[0])); diff != "" {
			t.Error(diff)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestFullBatchesGoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFake(t, map[string]http.HandlerFunc{"POST /api/logs/": status(201)})
		logger := NewFlowRunLogger(api.client(t, Options{}), time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- logger.Run(ctx) }()
		began := time.Now()
		for i := range 4 {
			logger.Log("n", slog.LevelInfo, "run", fmt.Sprint(i, strings.Repeat("x", 900_000)))
		}
		synctest.Wait()
		seen := api.seen()
		if len(seen) != 2 || len(sentLogs(t, seen[0])) != 3 || time.Since(began) != 0 {
			t.Errorf("%d requests after %v", len(seen), time.Since(began))
		}
		for _, r := range seen {
			if len(r.body) > logsBatchSize-logMostBytes {
				t.Errorf("a body of %d bytes", len(r.body))
			}
		}
		cancel()
		<-ended
	})
}

func TestLongLinesAreCut(t *testing.T) {
	api := newFake(t, nil)
	long := strings.Repeat("é", 600_000)
	for name, test := range map[string]struct {
		options Options
		most    int
		text    string
		limit   int
	}{
		"server":       {Options{}, 0, long, 1_000_000},
		"cloud":        {Options{CloudAPIURL: "http://prefect.test/api"}, 0, long, 25_000},
		"setting":      {Options{}, 2000, long, 2000},
		"many escapes": {Options{}, 2000, strings.Repeat("\"\n", 2000), 2000},
	} {
		logger := NewFlowRunLogger(api.client(t, test.options), 0)
		logger.MaxLine = test.most
		logger.Log("n", slog.LevelInfo, "run", test.text)
		got := logger.lines[0]
		if size := encodedSize(got.Log); size > test.limit || size != got.size || !strings.HasSuffix(got.Message, logTruncatedMark) || !utf8.ValidString(got.Message) {
			t.Errorf("%s: %d bytes, thought to be %d", name, size, got.size)
		}
		if test.text == long && got.size < test.limit-100 {
			t.Errorf("%s: cut to %d bytes", name, got.size)
		}
		logger.Log("n", slog.LevelInfo, "run", "short")
		if logger.lines[1].Message != "short" {
			t.Errorf("%s: short line became %q", name, logger.lines[1].Message)
		}
	}
}

func TestBatchesAreAsLargeAsTheSettingsSay(t *testing.T) {
	api := newFake(t, map[string]http.HandlerFunc{"POST /api/logs/": status(201)})
	logger := NewFlowRunLogger(api.client(t, Options{}), 0)
	logger.MaxLine, logger.BatchSize = 2000, 10_000
	for range 100 {
		logger.Log("n", slog.LevelInfo, "run", strings.Repeat("x", 500))
	}
	if err := logger.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, r := range api.seen() {
		lines += len(sentLogs(t, r))
		if len(r.body) > 10_000 {
			t.Errorf("a body of %d bytes", len(r.body))
		}
	}
	if n := len(api.seen()); n < 7 || n > 12 || lines != 100 {
		t.Errorf("%d lines in %d requests", lines, n)
	}
	logger.BatchSize = 100 // a line of the allowed length must fit all the same
	if got := logger.batchBytes(); got != 2000 {
		t.Errorf("batches of %d bytes", got)
	}
}

func TestLogsWaitForTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newFake(t, map[string]http.HandlerFunc{"POST /api/logs/": answers(status(500), status(500), status(201))})
		var log strings.Builder
		logger := NewFlowRunLogger(api.client(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}), 0)
		logger.Log("n", slog.LevelInfo, "run", "one")
		var refused *StatusError
		if err := logger.Flush(t.Context()); !errors.As(err, &refused) {
			t.Error(err)
		}
		logger.Log("n", slog.LevelInfo, "run", "two")
		if err := logger.Flush(t.Context()); err == nil {
			t.Error("no error")
		}
		if err := logger.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		lines := sentLogs(t, api.seen()[2])
		if len(lines) != 2 || lines[0]["message"] != "one" || lines[1]["message"] != "two" {
			t.Errorf("%v", lines)
		}
		if strings.Count(log.String(), "level=WARN") != 1 {
			t.Errorf("log %s", &log)
		}
	})
}

func TestRefusedLogsAreLost(t *testing.T) {
	api := newFake(t, map[string]http.HandlerFunc{"POST /api/logs/": answers(status(422), status(201))})
	logger := NewFlowRunLogger(api.client(t, Options{}), 0)
	logger.Log("n", slog.LevelInfo, "run", "bad")
	if err := logger.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	logger.Log("n", slog.LevelInfo, "run", "good")
	if err := logger.Flush(t.Context()); err != nil || len(sentLogs(t, api.seen()[1])) != 1 {
		t.Errorf("%v %v", err, api.seen())
	}
}

func TestLogsAreBounded(t *testing.T) {
	api := newFake(t, nil)
	logger := NewFlowRunLogger(api.client(t, Options{}), 0)
	for i := range 50 {
		logger.Log("n", slog.LevelInfo, "run", fmt.Sprint(i, strings.Repeat("x", 900_000)))
	}
	if logger.bytes > logsQueueBytes || logger.lost == 0 || !strings.HasPrefix(logger.lines[len(logger.lines)-1].Message, "49x") {
		t.Errorf("%d bytes, %d lost", logger.bytes, logger.lost)
	}
}

func TestDisabledLogs(t *testing.T) {
	api := newFake(t, nil)
	logger := NewFlowRunLogger(api.client(t, Options{}), 0)
	logger.Disabled = true
	logger.Log("n", slog.LevelError, "run", "x")
	if err := logger.Flush(t.Context()); err != nil || len(api.seen()) != 0 {
		t.Errorf("%v, %v", err, api.seen())
	}
}

func TestPythonLevels(t *testing.T) {
	for level, want := range map[slog.Level]int{
		slog.LevelDebug: 10, slog.LevelInfo: 20, slog.LevelInfo + 1: 20, slog.LevelWarn: 30, slog.LevelError: 40, slog.LevelError + 4: 50,
	} {
		if got := pythonLevel(level); got != want {
			t.Errorf("%v: %d", level, got)
		}
	}
}

func TestWorkerIDGoesWithLogs(t *testing.T) {
	api := newFake(t, map[string]http.HandlerFunc{"POST /api/logs/": status(201)})
	c := api.client(t, Options{})
	c.setWorkerID("id")
	if err := c.SendLogs(t.Context(), []Log{{Message: "x"}}); err != nil || sentLogs(t, api.seen()[0])[0]["worker_id"] != "id" {
		t.Errorf("%v, %s", err, api.seen()[0].body)
	}
}
