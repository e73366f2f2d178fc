package prefect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startPrefect starts a real server and returns its API URL. The executable is
// named by FABER_TEST_PREFECT; without it the test is skipped, but never in CI.
func startPrefect(t *testing.T, env ...string) string {
	t.Helper()
	executable := os.Getenv("FABER_TEST_PREFECT")
	if executable == "" {
		const reason = "FABER_TEST_PREFECT does not name a prefect executable"
		if os.Getenv("CI") == "true" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	home := t.TempDir()
	url := fmt.Sprintf("http://127.0.0.1:%d/api", port)
	server := exec.Command(executable, "server", "start", "--host", "127.0.0.1", "--port", fmt.Sprint(port), "--no-ui")
	server.Dir = home
	server.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "PREFECT_HOME=" + home, "PREFECT_API_URL=" + url,
		"PREFECT_SERVER_ANALYTICS_ENABLED=false", "PREFECT_SERVER_EPHEMERAL_ENABLED=false", "DO_NOT_TRACK=1",
	}, env...)
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, err := os.Create(filepath.Join(home, "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	server.Stdout, server.Stderr = output, output
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { _ = server.Wait(); close(gone) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-server.Process.Pid, syscall.SIGTERM)
		select {
		case <-gone:
		case <-time.After(15 * time.Second):
		}
		_ = syscall.Kill(-server.Process.Pid, syscall.SIGKILL)
		<-gone
		output.Close()
		if t.Failed() {
			text, _ := os.ReadFile(output.Name())
			t.Logf("server log:\n%s", text)
		}
	})
	return url
}

func realClient(t *testing.T, o Options) *Client {
	t.Helper()
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	o.CSRF, o.MaxRetries, o.JitterFactor = true, 5, 0.2
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// eventually waits for a condition of the real server, which offers no signal.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(within)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

func receive[T any](t *testing.T, from <-chan T, within time.Duration, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(within):
		t.Fatalf("not within %s: %s", within, what)
		panic("unreachable")
	}
}

const realTemplate = `{"job_configuration":{"command":"{{ command }}","cpu":512},"variables":{"type":"object","properties":{"command":{"type":"string"}}}}`

func TestRealServer(t *testing.T) {
	url := startPrefect(t, "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS=1",
		"PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS=1")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := realClient(t, Options{APIURL: url, WorkerName: "real worker"})
	eventually(t, 2*time.Minute, "server answers", func() bool { return c.CheckAccess(ctx) == nil })

	if version, err := c.Version(ctx); err != nil || !strings.HasPrefix(version, "3.") {
		t.Fatalf("version %q, %v", version, err)
	}
	if err := c.CheckVersion(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadWorkPool(ctx, "real pool"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("missing pool: %v", err)
	}
	pool := realChannel(t, ctx, c)
	realRun(t, ctx, c, pool)
	realObjects(t, ctx, c)
	realLease(t, ctx, c)
	realCleanup(t, ctx, c, pool)
}

// realChannel lets the hello create the pool, and checks heartbeats and snapshots.
func realChannel(t *testing.T, ctx context.Context, c *Client) WorkPool {
	t.Helper()
	snapshots := make(chan WorkPool, 10)
	channel := NewChannel(c, Hello{
		WorkerName: "real worker", WorkerType: "ecs", Pool: "real pool", Interval: time.Second, CreatePool: true,
		DefaultTemplate: json.RawMessage(realTemplate), HandledCleanup: []string{"cancelling_timeout_teardown.v1"}, MaxCleanup: 1,
	}, func(pool WorkPool) { snapshots <- pool })
	channel.OnCleanup(func(context.Context, Cleanup) string { return "" })
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- channel.Run(ctx) }()
	pool := receive(t, snapshots, 30*time.Second, "first snapshot")
	if pool.Name != "real pool" || pool.Type != "ecs" || !pool.IsSetUp() {
		t.Fatalf("pool made by the hello: %+v", pool)
	}
	if !strings.Contains(string(pool.BaseJobTemplate), `"cpu":512`) {
		t.Errorf("template is %s", pool.BaseJobTemplate)
	}
	<-channel.Ready()
	if !channel.Healthy() {
		t.Error("channel is not healthy")
	}

	last := map[time.Time]bool{}
	eventually(t, 30*time.Second, "three heartbeats of an ONLINE worker", func() bool {
		workers, err := c.Workers(ctx, "real pool")
		if err != nil {
			t.Fatal(err)
		}
		if len(workers) == 1 && workers[0].Name == "real worker" && workers[0].Status == "ONLINE" {
			last[*workers[0].LastHeartbeat] = true
		}
		return len(last) >= 3
	})
	edited := strings.Replace(realTemplate, "512", "1024", 1)
	if err := c.SetBaseJobTemplate(ctx, "real pool", json.RawMessage(edited)); err != nil {
		t.Fatal(err)
	}
	pool = receive(t, snapshots, 10*time.Second, "snapshot after an edit")
	if !strings.Contains(string(pool.BaseJobTemplate), `"cpu":1024`) {
		t.Errorf("edited template is %s", pool.BaseJobTemplate)
	}
	cancel()
	if err := receive(t, ended, 5*time.Second, "end of the channel"); err != nil {
		t.Fatal(err)
	}
	return pool
}

// realRun takes a deployed run from Scheduled to Completed as a worker would.
func realRun(t *testing.T, ctx context.Context, c *Client, pool WorkPool) {
	t.Helper()
	var flow, deployment, made struct{ ID string }
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(c.post(ctx, "/flows/", map[string]any{"name": "real flow"}, &flow))
	check(c.post(ctx, "/deployments/", map[string]any{
		"name": "real deployment", "flow_id": flow.ID, "work_pool_name": pool.Name, "job_variables": map[string]any{"cpu": 512},
	}, &deployment))

	events := make(chan Event, 100)
	subscribed, unsubscribe := context.WithCancel(ctx)
	over := make(chan error, 1)
	go func() {
		over <- c.Subscribe(subscribed, EventFilter{Prefixes: []string{"prefect."}, ResourceIDs: []string{"prefect.work-pool." + pool.ID}},
			func(e Event) { events <- e })
	}()
	check(c.post(ctx, "/deployments/"+deployment.ID+"/create_flow_run", map[string]any{"state": map[string]any{"type": "SCHEDULED"}}, &made))
	awaitEvent(t, events, "prefect.flow-run.Scheduled", "prefect.flow-run."+made.ID)

	runs, err := c.GetScheduledFlowRuns(ctx, pool.Name, nil, time.Now().Add(10*time.Second), 5)
	check(err)
	if len(runs) != 1 || runs[0].ID != made.ID || runs[0].StateType != StateScheduled || runs[0].Raw["id"] != made.ID || runs[0].DeploymentID != deployment.ID {
		t.Fatalf("scheduled runs: %+v", runs)
	}
	if _, err := c.GetScheduledFlowRuns(ctx, pool.Name, []string{"no such queue"}, time.Now(), 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing queue: %v", err)
	}
	queues, err := c.WorkQueues(ctx, pool.Name, nil)
	if err != nil || len(queues) != 1 || queues[0].Name != "default" {
		t.Errorf("queues %+v, %v", queues, err)
	}
	realStates(t, ctx, c, made.ID)
	realMarks(t, ctx, c, made.ID)

	sender := NewEvents(c)
	sent := sender.Emit(Event{
		Event:    "prefect.worker.started",
		Resource: Resource{"prefect.resource.id": "prefect.worker.ecs.real-worker"},
		Related:  []Resource{{"prefect.resource.id": "prefect.work-pool." + pool.ID, "prefect.resource.role": "work-pool"}},
	})
	sender.Close()
	if got := awaitEvent(t, events, "prefect.worker.started", "prefect.worker.ecs.real-worker"); got.ID != sent.ID {
		t.Errorf("event came back as %s, sent as %s", got.ID, sent.ID)
	}
	unsubscribe()
	check(receive(t, over, 5*time.Second, "end of the subscription"))
}

func awaitEvent(t *testing.T, events <-chan Event, name, resource string) Event {
	t.Helper()
	for {
		event := receive(t, events, 30*time.Second, name)
		if event.Event == name && event.Resource["prefect.resource.id"] == resource {
			return event
		}
	}
}

func realStates(t *testing.T, ctx context.Context, c *Client, run string) {
	t.Helper()
	propose := func(s State, want SetStateStatus) OrchestrationResult {
		t.Helper()
		result, err := c.SetFlowRunState(ctx, run, s, false)
		if err != nil || result.Status != want {
			t.Fatalf("%s %s: %+v, %v", s.Type, s.Name, result, err)
		}
		return result
	}
	claim := State{Type: StatePending, Name: "Pending", Message: "Claimed by faber worker real worker"}
	claim.Details.TransitionID = "7b0a3b4e-3b0d-4a57-8f7e-0c9ec35a6c01"
	first := propose(claim, StatusAccept)
	if again := propose(claim, StatusAccept); again.State.ID != first.State.ID {
		t.Errorf("the same proposal made two states: %s, %s", first.State.ID, again.State.ID)
	}
	if refused := propose(State{Type: StatePending, Name: "Pending"}, StatusAbort); refused.Details.Reason == "" {
		t.Error("abort without a reason")
	}
	propose(State{Type: StatePending, Name: "Submitting"}, StatusAccept)
	propose(State{Type: StateRunning, Name: "Running"}, StatusAccept)
	propose(State{Type: StateCompleted, Name: "Completed"}, StatusAccept)
	states, err := c.FlowRunStates(ctx, run)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, state := range states {
		names = append(names, state.Name)
	}
	if want := []string{"Scheduled", "Pending", "Submitting", "Running", "Completed"}; !slices.Equal(names, want) {
		t.Errorf("states %q, want %q", names, want)
	}
	if states[1].ID != first.State.ID || states[1].Message != claim.Message {
		t.Errorf("claim in the history: %+v", states[1])
	}
}

// realMarks checks what a worker leaves on a run: pid, labels and log lines.
func realMarks(t *testing.T, ctx context.Context, c *Client, run string) {
	t.Helper()
	pid := "cluster::arn"
	if err := c.SetInfrastructurePID(ctx, run, &pid); err != nil {
		t.Fatal(err)
	}
	if err := c.SetLabels(ctx, run, map[string]string{"prefect.worker.name": "real worker"}); err != nil {
		t.Fatal(err)
	}
	got, err := c.ReadFlowRun(ctx, run)
	if err != nil || got.InfrastructurePID != pid || got.State == nil || got.State.Type != StateCompleted {
		t.Fatalf("run %+v, %v", got, err)
	}
	if labels := got.Raw["labels"].(map[string]any); labels["prefect.worker.name"] != "real worker" {
		t.Errorf("labels %v", labels)
	}
	if err := c.SetInfrastructurePID(ctx, run, nil); err != nil {
		t.Fatal(err)
	}
	if got, err = c.ReadFlowRun(ctx, run); err != nil || got.InfrastructurePID != "" {
		t.Errorf("cleared pid is %q, %v", got.InfrastructurePID, err)
	}
	if found, err := c.FilterFlowRuns(ctx, map[string]any{"flow_runs": map[string]any{"id": map[string]any{"any_": []string{run}}}}); err != nil || len(found) != 1 {
		t.Errorf("filter: %+v, %v", found, err)
	}

	logger := NewFlowRunLogger(c, 0)
	logger.Log("prefect.flow_runs.worker", slog.LevelInfo, run, "one")
	logger.Log("prefect.flow_runs.worker", slog.LevelError, run, "two")
	logger.Log("prefect.flow_runs.worker", slog.LevelDebug, run, "unseen")
	if err := logger.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	var lines []Log
	if err := c.post(ctx, "/logs/filter", map[string]any{
		"logs": map[string]any{"flow_run_id": map[string]any{"any_": []string{run}}}, "sort": "TIMESTAMP_ASC",
	}, &lines); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 2 || lines[0].Message != "one" || lines[1].Message != "two" || lines[1].Level != 40 {
		t.Errorf("logs: %+v", lines)
	}
}

// realObjects covers the smaller reads and the REST way of keeping a pool.
func realObjects(t *testing.T, ctx context.Context, c *Client) {
	t.Helper()
	if _, err := c.CreateWorkPool(ctx, "rest pool", "process", nil); err != nil {
		t.Fatal(err)
	}
	var status *StatusError
	if _, err := c.CreateWorkPool(ctx, "rest pool", "process", nil); !errors.As(err, &status) || status.Code != 409 {
		t.Errorf("second pool of the name: %v", err)
	}
	if err := c.Heartbeat(ctx, "rest pool", "rest worker", 30*time.Second, nil); err != nil {
		t.Error(err)
	}
	if workers, err := c.Workers(ctx, "rest pool"); err != nil || len(workers) != 1 {
		t.Errorf("workers %+v, %v", workers, err)
	}
	if err := c.post(ctx, "/variables/", map[string]any{"name": "answer", "value": map[string]any{"n": 42}}, nil); err != nil {
		t.Fatal(err)
	}
	value, err := c.Variable(ctx, "answer")
	if err != nil || string(value.(json.RawMessage)) != `{"n":42}` {
		t.Errorf("variable %s, %v", value, err)
	}
	if _, err := c.BlockDocumentByName(ctx, "secret", "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing block: %v", err)
	}
}

// realLease renews a lease on a concurrency slot, as a worker does for a run
// that has not come to run yet.
func realLease(t *testing.T, ctx context.Context, c *Client) {
	t.Helper()
	if err := c.post(ctx, "/v2/concurrency_limits/", map[string]any{"name": "one at a time", "limit": 1}, nil); err != nil {
		t.Fatal(err)
	}
	var taken struct {
		LeaseID string `json:"lease_id"`
	}
	err := c.post(ctx, "/v2/concurrency_limits/increment-with-lease", map[string]any{"names": []string{"one at a time"}, "slots": 1, "mode": "concurrency", "lease_duration": 60}, &taken)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RenewConcurrencyLease(ctx, taken.LeaseID, 5*time.Minute); err != nil {
		t.Error(err)
	}
	if err := c.post(ctx, "/v2/concurrency_limits/decrement-with-lease", map[string]any{"lease_id": taken.LeaseID}, nil); err != nil {
		t.Fatal(err)
	}
	var status *StatusError
	if err := c.RenewConcurrencyLease(ctx, taken.LeaseID, 5*time.Minute); !errors.As(err, &status) || status.Code != 410 || IsTransient(err) {
		t.Errorf("a lease that was given back: %v", err)
	}
}

func TestRealServerWithAuthAndCSRF(t *testing.T) {
	url := startPrefect(t, "PREFECT_SERVER_API_AUTH_STRING=admin:pass", "PREFECT_SERVER_CSRF_PROTECTION_ENABLED=true",
		"PREFECT_API_AUTH_STRING=admin:pass")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := realClient(t, Options{APIURL: url, AuthString: "admin:pass"})
	eventually(t, 2*time.Minute, "server answers", func() bool { return c.CheckAccess(ctx) == nil })

	for name, o := range map[string]Options{
		"none": {APIURL: url}, "wrong": {APIURL: url, AuthString: "admin:no"}, "key": {APIURL: url, APIKey: "pnu_1"},
	} {
		var refused *AccessError
		if err := realClient(t, o).CheckAccess(ctx); !errors.As(err, &refused) || refused.Subject != "auth string" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.CreateWorkPool(ctx, "guarded", "process", nil); err != nil {
		t.Fatalf("a change with CSRF on: %v", err)
	}
	snapshots := make(chan WorkPool, 1)
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- NewChannel(c, Hello{WorkerName: "w", WorkerType: "process", Pool: "guarded", Interval: time.Second},
			func(p WorkPool) { snapshots <- p }).Run(running)
	}()
	receive(t, snapshots, 10*time.Second, "snapshot")
	stop()
	if err := receive(t, ended, 5*time.Second, "end of the channel"); err != nil {
		t.Error(err)
	}
	events := NewEvents(c)
	events.Emit(Event{Event: "faber.test", Resource: Resource{"prefect.resource.id": "faber.test"}})
	events.Close()
	if events.queued() != 0 || len(events.unconfirmed) != 0 {
		t.Error("event was not confirmed")
	}
	stranger := realClient(t, Options{APIURL: url, AuthString: "admin:no"})
	if err := stranger.Subscribe(ctx, EventFilter{}, func(Event) {}); err == nil {
		t.Error("subscribed with wrong credentials")
	}
	err := NewChannel(stranger, Hello{WorkerName: "w", WorkerType: "process", Pool: "guarded", Interval: time.Second}, func(WorkPool) {}).Run(ctx)
	if !errors.Is(err, ErrChannelDisabled) {
		t.Errorf("channel with wrong credentials: %v", err)
	}
}

// realCleanup lets a cancellation time out: the server hands what is left of
// the run to the worker over the channel.
func realCleanup(t *testing.T, ctx context.Context, c *Client, pool WorkPool) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, results := make(chan Cleanup, 10), []string{ReleaseHandlerFailed, ""}
	channel := NewChannel(c, Hello{
		WorkerName: "real worker", WorkerType: "ecs", Pool: pool.Name, Interval: 30 * time.Second,
		HandledCleanup: []string{"cancelling_timeout_teardown.v1"}, MaxCleanup: 1,
	}, func(WorkPool) {})
	channel.OnCleanup(func(_ context.Context, message Cleanup) string {
		messages <- message
		result := results[0]
		results = results[1:]
		return result
	})
	ended := make(chan error, 1)
	go func() { ended <- channel.Run(ctx) }()
	<-channel.Ready()

	var made struct{ ID string }
	deployments := []struct{ ID string }{}
	if err := c.post(ctx, "/deployments/filter", map[string]any{}, &deployments); err != nil || len(deployments) != 1 {
		t.Fatalf("deployments %v, %v", deployments, err)
	}
	if err := c.post(ctx, "/deployments/"+deployments[0].ID+"/create_flow_run", map[string]any{}, &made); err != nil {
		t.Fatal(err)
	}
	pid := "cluster::arn"
	if err := c.SetInfrastructurePID(ctx, made.ID, &pid); err != nil {
		t.Fatal(err)
	}
	for _, typ := range []StateType{StatePending, StateCancelling} {
		if result, err := c.SetFlowRunState(ctx, made.ID, State{Type: typ}, false); err != nil || result.Status != StatusAccept {
			t.Fatalf("%s: %+v, %v", typ, result, err)
		}
	}
	first := receive(t, messages, time.Minute, "cleanup")
	if first.FlowRunID != made.ID || first.InfrastructurePID != pid || first.Kind != "cancelling_timeout_teardown.v1" {
		t.Errorf("%+v", first)
	}
	if second := receive(t, messages, time.Minute, "cleanup again, after its release"); second.MessageID != first.MessageID || second.DeliveryCount <= first.DeliveryCount {
		t.Errorf("%+v after %+v", second, first)
	}
	run, err := c.ReadFlowRun(ctx, made.ID)
	if err != nil || run.StateType != StateCancelled {
		t.Errorf("run is %s, %v", run.StateType, err)
	}
	cancel()
	if err := receive(t, ended, 5*time.Second, "end of the channel"); err != nil {
		t.Error(err)
	}
}
