//go:build conformance

package differential

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	pythonEnv = "FABER_TEST_PREFECT_AWS" // a Python with prefect and prefect-aws
	faberEnv  = "FABER"                  // the built binary; without it the test builds one

	workerName = "worker-1"
	// patience is what a worker gets for one run; it needs a fraction.
	patience = 60 * time.Second
)

// python is one process of the reference, which runs its worker once per order.
type python struct {
	in      io.WriteCloser
	answers *bufio.Scanner
	log     string
	// What the reference says of itself.
	Template json.RawMessage `json:"template"`
	Versions string          `json:"versions"`
}

// reference is the Python that has Prefect's own worker.
func reference(t *testing.T) string {
	t.Helper()
	executable := os.Getenv(pythonEnv)
	if executable == "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not set: CI must compare with Prefect's own worker", pythonEnv)
		}
		t.Skipf("%s is not set: name a Python with prefect 3.8.8 and prefect-aws 0.7.12 to compare with Prefect's own worker", pythonEnv)
	}
	return executable
}

// startPython starts the reference, in a directory of its own.
func startPython(t *testing.T, executable, home string) *python {
	t.Helper()
	script, err := filepath.Abs("reference.py")
	if err != nil {
		t.Fatal(err)
	}
	p := &python{log: filepath.Join(home, "python.log")}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, script)
	cmd.Dir, cmd.Stderr = home, log
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "PREFECT_HOME=" + filepath.Join(home, "prefect")}
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.in.Close() // ends its loop
		if err := cmd.Wait(); err != nil {
			t.Errorf("the reference ended badly: %v\n%s", err, tail(p.log))
		}
		_ = log.Close()
	})
	p.answers = bufio.NewScanner(out)
	p.answers.Buffer(nil, 1<<20)
	if err := p.answer(p); err != nil {
		t.Fatalf("start the reference: %v\n%s", err, tail(p.log))
	}
	return p
}

func (p *python) answer(into any) error {
	if !p.answers.Scan() {
		return fmt.Errorf("no answer: %w", p.answers.Err())
	}
	return json.Unmarshal(p.answers.Bytes(), into)
}

// work has the reference run its worker once.
func (p *python) work(env map[string]string, pool string) error {
	order, err := json.Marshal(map[string]any{"env": env, "pool": pool, "worker": workerName})
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(order, '\n')); err != nil {
		return err
	}
	var answer struct {
		Error *string `json:"error"`
	}
	if err := p.answer(&answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return fmt.Errorf("%s", *answer.Error)
	}
	return nil
}

// tail is the end of a log, for the message of a failed test.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-3000):])
}

// buildFaber is the program under test.
func buildFaber(t *testing.T) string {
	t.Helper()
	if binary := os.Getenv(faberEnv); binary != "" {
		full, err := filepath.Abs(binary)
		if err != nil {
			t.Fatal(err)
		}
		return full
	}
	binary := filepath.Join(t.TempDir(), "faber")
	if out, err := exec.Command("go", "build", "-o", binary, "faber/cmd/faber").CombinedOutput(); err != nil {
		t.Fatalf("build faber: %v\n%s", err, out)
	}
	return binary
}

// runFaber runs the command until the stage is settled, and ends it as an
// operator would.
func runFaber(t *testing.T, binary, home string, env map[string]string, pool string, s *stage) (logged string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var log strings.Builder
	cmd := exec.Command(binary, "worker", "start", "--run-once", "--type", "ecs", "--pool", pool, "--name", workerName)
	cmd.Dir, cmd.Stdout, cmd.Stderr = home, &log, &log
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start faber: %v", err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		cancel() // nothing more will come
		ended <- err
	}()
	waited := s.prefect.Until(ctx, s.settled)
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	var err error
	select {
	case err = <-ended:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		err = fmt.Errorf("it did not end within %s of SIGTERM", patience)
	}
	if err != nil {
		t.Fatalf("faber: %v\n%s", err, log.String())
	}
	if waited != nil && !s.settled() {
		t.Fatalf("faber did not settle the run\n%s", log.String())
	}
	return log.String()
}

// lane is a pair of addresses with a reference of their own: cases that run at
// the same time are on different lanes.
type lane struct {
	home    string
	faber   string
	python  *python
	prefect *door
	aws     *door
}

func newLane(t *testing.T, reference, faber string) *lane {
	t.Helper()
	// The doors stay open until the reference has ended: it says goodbye to the API.
	l := &lane{home: t.TempDir(), faber: faber, prefect: newDoor(t), aws: newDoor(t)}
	l.python = startPython(t, reference, l.home)
	return l
}

// env is the environment of both workers.
func (l *lane) env(c *testCase) map[string]string {
	env := map[string]string{
		"PREFECT_HOME":    filepath.Join(l.home, "prefect"),
		"PREFECT_API_URL": l.prefect.url + "/api",
		// There is no queue to observe, and no call is worth a second try here.
		"PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_ENABLED":                             "false",
		"PREFECT_INTEGRATIONS_AWS_ECS_WORKER_CREATE_TASK_RUN_MAX_ATTEMPTS":          "1",
		"PREFECT_INTEGRATIONS_AWS_ECS_WORKER_REGISTER_TASK_DEFINITION_MAX_ATTEMPTS": "1",
		"AWS_ENDPOINT_URL":            l.aws.url,
		"AWS_ACCESS_KEY_ID":           "machine",
		"AWS_SECRET_ACCESS_KEY":       "secret",
		"AWS_REGION":                  "eu-central-1",
		"AWS_DEFAULT_REGION":          "eu-central-1",
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_CONFIG_FILE":             filepath.Join(l.home, "no-such-file"),
		"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(l.home, "no-such-file"),
		"DIFFERENTIAL_SECRET":         "from the worker's environment",
	}
	maps.Copy(env, c.env)
	return env
}

// enact has both workers do a case, one after the other.
func (l *lane) enact(t *testing.T, c *testCase) (python, faber outcome) {
	t.Helper()
	env := l.env(c)
	before := c.set(t)
	l.prefect.open(before.prefect)
	l.aws.open(before.aws)
	if err := l.python.work(env, c.poolName()); err != nil {
		t.Fatalf("Prefect's worker: %v\n%s", err, tail(l.python.log))
	}
	after := c.set(t)
	l.prefect.open(after.prefect)
	l.aws.open(after.aws)
	log := runFaber(t, l.faber, l.home, env, c.poolName(), after)
	python, faber = before.outcome(), after.outcome()
	faber.log = log
	return python, faber
}
