//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// canary is the API key given to the stack. It must be found nowhere but in the
// secret, the stack's own credentials file and the memory of those who use it.
const canary = "pnu_canary_5f0e7c1b9a3d4826"

// stackName may be that of a stack which is up for other tests.
var stackName = cmp.Or(os.Getenv("FABER_DEV_NAME"), "e2e")

const (
	pool    = "fargate"
	region  = "us-east-1"
	account = "123456789012"
)

// stack is the local stack under test.
type stack struct {
	ctx   context.Context //nolint:containedctx // one for all calls of faber
	faber string
	dir   string
	state struct {
		Ports struct {
			Prefect, Cloud, AWS int
		}
		Engine struct {
			Host   string
			Own    bool
			Bridge string
		}
		Processes   map[string]struct{ PID int }
		WorkerImage string `json:"worker_image"`
		Cluster     string
		Service     string
		FlowLogs    string `json:"flow_logs"`
		AccountID   string `json:"account_id"`
		WorkspaceID string `json:"workspace_id"`
	}
}

func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{ctx: t.Context(), faber: os.Getenv("FABER"), dir: os.Getenv("FABER_DEV_DIR")}
	if s.faber == "" || s.dir == "" {
		t.Fatal("FABER (the binary) and FABER_DEV_DIR are not set: run `make e2e`")
	}
	return s
}

// command is a call of faber for this stack.
func (s *stack) command(ctx context.Context, args ...string) *exec.Cmd {
	if args[0] == "dev" {
		args = append([]string{"dev", "--dir", s.dir, "--name", stackName}, args[1:]...)
	}
	cmd := exec.CommandContext(ctx, s.faber, args...)
	cmd.Env = append(os.Environ(), "FABER_DEV_API_KEY="+canary)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

// run calls faber and returns its stdout; it must succeed.
func (s *stack) run(t *testing.T, args ...string) string {
	t.Helper()
	out, errOut, code := s.try(t, args...)
	if code != 0 {
		t.Fatalf("faber %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	t.Logf("faber %s\n%s%s", strings.Join(args, " "), errOut, out)
	return out
}

// try calls faber and returns what it printed and its exit code.
func (s *stack) try(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := s.command(s.ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("faber %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

func (s *stack) load(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, stackName, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &s.state); err != nil {
		t.Fatal(err)
	}
}

func (s *stack) prefectURL() string {
	return fmt.Sprintf("http://127.0.0.1:%d/api", s.state.Ports.Prefect)
}

// cloudURL is the root of the API that plays Prefect Cloud.
func (s *stack) cloudURL() string {
	return fmt.Sprintf("http://127.0.0.1:%d/api", s.state.Ports.Cloud)
}

func (s *stack) awsURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.state.Ports.AWS) }

// api calls the Prefect server itself, past every front. The server answers 503
// while its SQLite database is busy; such a call had no effect.
func (s *stack) api(t *testing.T, method, path string, in, out any) {
	t.Helper()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			t.Fatal(err)
		}
	}
	var status int
	var data []byte
	eventually(t, 20*time.Second, "the Prefect server's database is free", func() bool {
		status, data = s.callAPI(t, method, path, body)
		return status != http.StatusServiceUnavailable
	})
	if status >= 400 {
		t.Fatalf("%s %s: %d: %.500s", method, path, status, data)
	}
	if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			t.Fatalf("%s %s: %v: %.500s", method, path, err, data)
		}
	}
}

// direct keeps no connection: the servers close one that is idle for 5 s, and a call
// that meets the closing is lost.
var direct = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func (s *stack) callAPI(t *testing.T, method, path string, body []byte) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.prefectURL()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := direct.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, data
}

// Clients of the emulator.

func (s *stack) keys() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(account, "test", "")
}

func (s *stack) ecs() *ecs.Client {
	return ecs.New(ecs.Options{Region: region, BaseEndpoint: aws.String(s.awsURL()), Credentials: s.keys()})
}

func (s *stack) ec2() *ec2.Client {
	return ec2.New(ec2.Options{Region: region, BaseEndpoint: aws.String(s.awsURL()), Credentials: s.keys()})
}

func (s *stack) logs() *cloudwatchlogs.Client {
	return cloudwatchlogs.New(cloudwatchlogs.Options{Region: region, BaseEndpoint: aws.String(s.awsURL()), Credentials: s.keys()})
}

func (s *stack) sqs() *sqs.Client {
	return sqs.New(sqs.Options{Region: region, BaseEndpoint: aws.String(s.awsURL()), Credentials: s.keys()})
}

func (s *stack) secrets() *secretsmanager.Client {
	return secretsmanager.New(secretsmanager.Options{Region: region, BaseEndpoint: aws.String(s.awsURL()), Credentials: s.keys()})
}

// flowRun is a flow run as the server tells it.
type flowRun struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	StateType string `json:"state_type"`
	StateName string `json:"state_name"`
	PID       string `json:"infrastructure_pid"`
	State     struct {
		Message string `json:"message"`
	} `json:"state"`
}

func (s *stack) flowRun(t *testing.T, id string) flowRun {
	t.Helper()
	var run flowRun
	s.api(t, http.MethodGet, "/flow_runs/"+id, nil, &run)
	return run
}

type state struct {
	Type      string    `json:"type"`
	Name      string    `json:"name"`
	Message   string    `json:"message"`
	Timestamp time.Time `json:"timestamp"`
}

func (s *stack) states(t *testing.T, id string) []state {
	t.Helper()
	var list []state
	s.api(t, http.MethodGet, "/flow_run_states/?flow_run_id="+id, nil, &list)
	return list
}

// runLogs are the messages in a flow run's log.
func (s *stack) runLogs(t *testing.T, id string) string {
	t.Helper()
	var lines []struct {
		Message string `json:"message"`
	}
	s.api(t, http.MethodPost, "/logs/filter", map[string]any{
		"logs": map[string]any{"flow_run_id": map[string]any{"any_": []string{id}}},
		"sort": "TIMESTAMP_ASC",
	}, &lines)
	var all []string
	for _, l := range lines {
		all = append(all, l.Message)
	}
	return strings.Join(all, "\n")
}

// deploy makes a deployment of a flow of the flow image.
func (s *stack) deploy(t *testing.T, flow, name, workPool, path string, variables map[string]any) string {
	t.Helper()
	if variables == nil {
		variables = map[string]any{}
	}
	var made struct{ ID string }
	s.api(t, http.MethodPost, "/flows/", map[string]any{"name": flow}, &made)
	s.api(t, http.MethodPost, "/deployments/", map[string]any{
		"name": name, "flow_id": made.ID, "work_pool_name": workPool, "entrypoint": flow + ".py:" + flow, "path": path,
		"pull_steps": []any{map[string]any{
			"prefect.deployments.steps.set_working_directory": map[string]any{"directory": path},
		}},
		"job_variables": variables, "enforce_parameter_schema": false,
	}, &made)
	return made.ID
}

func (s *stack) startRun(t *testing.T, deployment string, parameters map[string]any) string {
	t.Helper()
	var made struct{ ID string }
	body := map[string]any{"state": map[string]any{"type": "SCHEDULED"}}
	if parameters != nil {
		body["parameters"] = parameters
	}
	s.api(t, http.MethodPost, "/deployments/"+deployment+"/create_flow_run", body, &made)
	return made.ID
}

// eventually polls until the condition holds or the patience is over.
func eventually(t *testing.T, patience time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}
