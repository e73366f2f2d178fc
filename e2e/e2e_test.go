//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// TestStack walks through the life of one stack. The parts depend on each other
// in this order; a failed one ends the walk.
func TestStack(t *testing.T) {
	s := newStack(t)
	s.try(t, "dev", "down", "--purge") // of a run that was broken off
	watch := watchCommandLines(t)
	t.Cleanup(func() {
		if t.Failed() {
			s.ctx = context.Background() // the test's own is over
			for _, part := range []string{"worker", "fronts", "ministack"} {
				out, _, _ := s.try(t, "dev", "logs", part, "-n", "60")
				t.Logf("log of %s:\n%s", part, out)
			}
		}
	})
	var hello string
	steps := []struct {
		name string
		run  func(*testing.T)
	}{
		{"up", func(t *testing.T) { s.run(t, "dev", "up"); s.load(t) }},
		{"flow run", func(t *testing.T) { hello = s.testRun(t) }},
		{"witnesses", func(t *testing.T) { s.testWitnesses(t, hello) }},
		{"up again", s.testUpAgain},
		{"crash with the event queue", func(t *testing.T) { s.testCrash(t, pool) }},
		{"crash without a queue", s.testCrashWithoutQueue},
		{"cloud shape", s.testCloudShape},
		{"process worker", s.testProcessWorker},
		{"tick", s.testTick},
		{"tick as a task", s.testTickTask},
		{"scale in", s.testScaleIn},
		{"plan is clean", s.testPlanClean},
		{"canary", func(t *testing.T) { s.testCanary(t, watch) }},
		{"recovery", s.testRecovery},
		{"destroy and apply again", s.testDestroy},
		{"down", s.testDown},
	}
	for _, step := range steps {
		if !t.Run(step.name, step.run) {
			t.Fatalf("stopped after %q", step.name)
		}
	}
}

var uuidLine = regexp.MustCompile(`(?m)^flow run +([0-9a-f-]{36})$`)

// testRun runs the sample flow as a user would, and holds what is printed.
func (s *stack) testRun(t *testing.T) string {
	out := s.run(t, "dev", "run", "hello")
	match := uuidLine.FindStringSubmatch(out)
	if match == nil {
		t.Fatalf("no flow run id in:\n%s", out)
	}
	for _, want := range []string{"Completed", "arn:aws:ecs:", "Running to Completed", "http://127.0.0.1"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	return match[1]
}

// testWitnesses asks the Prefect server and the emulator what happened.
func (s *stack) testWitnesses(t *testing.T, id string) {
	run := s.flowRun(t, id)
	if run.StateType != "COMPLETED" {
		t.Fatalf("the run is %s", run.StateType)
	}
	s.checkHistory(t, id)
	cluster, task, ok := strings.Cut(run.PID, "::")
	if !ok || !strings.HasPrefix(task, "arn:aws:ecs:") || cluster != s.state.Cluster {
		t.Errorf("infrastructure_pid is %q, want %s::<task ARN>", run.PID, s.state.Cluster)
	}
	// Logs are shipped in batches, also after the run is over.
	eventually(t, time.Minute, "the flow's own line is in Prefect's log", func() bool {
		return strings.Contains(s.runLogs(t, id), "Hello Fargate, from")
	})
	eventually(t, time.Minute, "the flow's own line is in CloudWatch Logs", func() bool {
		return strings.Contains(s.cloudWatch(t, s.state.FlowLogs), "Hello Fargate, from")
	})
	s.checkService(t)
	s.checkWorkerOnline(t)
}

// checkHistory holds the order of states, with at most one InfrastructurePending
// between Submitting and Running, and nothing else.
func (s *stack) checkHistory(t *testing.T, id string) {
	t.Helper()
	var names []string
	for _, st := range s.states(t, id) {
		names = append(names, st.Name)
	}
	with := []string{"Scheduled", "Pending", "Submitting", "InfrastructurePending", "Running", "Completed"}
	without := slices.DeleteFunc(slices.Clone(with), func(n string) bool { return n == "InfrastructurePending" })
	if !slices.Equal(names, with) && !slices.Equal(names, without) {
		t.Errorf("state history: %v", names)
	}
}

// cloudWatch returns all lines of a log group.
func (s *stack) cloudWatch(t *testing.T, group string) string {
	t.Helper()
	var all strings.Builder
	streams, err := s.logs().DescribeLogStreams(t.Context(), &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String(group)})
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range streams.LogStreams {
		events, err := s.logs().GetLogEvents(t.Context(), &cloudwatchlogs.GetLogEventsInput{
			LogGroupName: aws.String(group), LogStreamName: stream.LogStreamName, StartFromHead: aws.Bool(true),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events.Events {
			all.WriteString(aws.ToString(e.Message) + "\n")
		}
	}
	return all.String()
}

func (s *stack) checkService(t *testing.T) {
	t.Helper()
	out, err := s.ecs().DescribeServices(t.Context(), &ecs.DescribeServicesInput{
		Cluster: aws.String(s.state.Cluster), Services: []string{s.state.Service},
	})
	if err != nil || len(out.Services) != 1 {
		t.Fatalf("DescribeServices: %v, %d services", err, len(out.Services))
	}
	service := out.Services[0]
	if service.DesiredCount != 1 || service.RunningCount != 1 {
		t.Errorf("the service runs %d of %d tasks", service.RunningCount, service.DesiredCount)
	}
	definition, err := s.ecs().DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: service.TaskDefinition})
	if err != nil {
		t.Fatal(err)
	}
	if image := aws.ToString(definition.TaskDefinition.ContainerDefinitions[0].Image); image != s.state.WorkerImage {
		t.Errorf("the service runs %s, want the worker image %s", image, s.state.WorkerImage)
	}
}

func (s *stack) checkWorkerOnline(t *testing.T) {
	t.Helper()
	var workers []struct{ Name, Status string }
	s.api(t, http.MethodPost, "/work_pools/"+pool+"/workers/filter", map[string]any{}, &workers)
	for _, w := range workers {
		if w.Status == "ONLINE" {
			return
		}
	}
	t.Errorf("no worker is ONLINE: %+v", workers)
}

// testUpAgain holds that a second up applies nothing.
func (s *stack) testUpAgain(t *testing.T) {
	begun := time.Now()
	out := s.run(t, "dev", "up")
	t.Logf("second up: %.1f s", time.Since(begun).Seconds())
	if !strings.Contains(out, "no resources changed") {
		t.Errorf("the second up changed something:\n%s", out)
	}
}

// crashing is a command that ends before it could reach the API.
const crashing = `python3 -c 'import sys; print("about to fail"); print("cause: the disk is full"); sys.exit(1)'`

// testCrash holds what happens to a run whose container exits 1 before it
// reaches the API.
func (s *stack) testCrash(t *testing.T, workPool string) {
	deployment := s.deploy(t, "hello", "crash", workPool, "/opt/flows", map[string]any{"command": crashing})
	id := s.startRun(t, deployment, nil)
	eventually(t, 60*time.Second, "the run is Crashed", func() bool { return s.flowRun(t, id).StateType == "CRASHED" })
	run := s.flowRun(t, id)
	if !regexp.MustCompile(`exit code:? 1\b|status code 1\b|code 1\b`).MatchString(run.State.Message) {
		t.Errorf("the message names no exit code: %s", run.State.Message)
	}
	t.Logf("message: %s", run.State.Message)
	crashed := s.states(t, id)[len(s.states(t, id))-1].Timestamp
	if stopped := s.taskStopped(t, run.PID); stopped.IsZero() {
		t.Error("the emulator knows no stopped task of the run")
	} else {
		// Reported, not judged: how long it may take is measured elsewhere.
		t.Logf("Crashed %.1f s after the task stopped", crashed.Sub(stopped).Seconds())
	}
	eventually(t, 15*time.Second, "the container's last lines are in the run's log", func() bool {
		return strings.Contains(s.runLogs(t, id), "cause: the disk is full")
	})
}

func (s *stack) taskStopped(t *testing.T, pid string) time.Time {
	t.Helper()
	cluster, task, _ := strings.Cut(pid, "::")
	out, err := s.ecs().DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String(cluster), Tasks: []string{task}})
	if err != nil || len(out.Tasks) != 1 {
		t.Fatalf("DescribeTasks: %v, %d tasks", err, len(out.Tasks))
	}
	return aws.ToTime(out.Tasks[0].StoppedAt)
}

// testCrashWithoutQueue does the same with a worker on this machine that has no
// event queue at all, in a pool of its own.
func (s *stack) testCrashWithoutQueue(t *testing.T) {
	const other = "fargate-no-queue"
	var base struct {
		Template json.RawMessage `json:"base_job_template"`
	}
	s.api(t, http.MethodGet, "/work_pools/"+pool, nil, &base)
	s.api(t, http.MethodPost, "/work_pools/", map[string]any{"name": other, "type": "ecs", "base_job_template": base.Template}, nil)
	worker := s.startWorker(t, "ecs", other, s.awsEnv())
	s.testCrash(t, other)
	worker.stop(t)
	if log := worker.output(); strings.Contains(log, canary) {
		t.Error("the worker's log holds the API key")
	}
}

// testPlanClean holds that terraform finds nothing to do.
func (s *stack) testPlanClean(t *testing.T) {
	out, errOut, code := s.try(t, "dev", "terraform", "--", "plan", "-detailed-exitcode", "-input=false", "-no-color")
	if code != 0 {
		t.Errorf("terraform plan: exit code %d\n%s%s", code, out, errOut)
	}
}

// testRecovery ends the stack's servers rudely; up brings them back.
func (s *stack) testRecovery(t *testing.T) {
	for _, name := range []string{"ministack", "fronts"} {
		process, err := os.FindProcess(s.state.Processes[name].PID)
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, code := s.try(t, "dev", "status"); code != 3 {
		t.Errorf("status of a broken stack: exit code %d, want 3", code)
	}
	s.run(t, "dev", "up")
	s.load(t)
	s.testRun(t)
}

// testDestroy takes everything away and builds it again.
func (s *stack) testDestroy(t *testing.T) {
	if found := s.leftovers(t); len(found) < 10 {
		t.Fatalf("before destroy only %v is found: the search would prove nothing", found)
	}
	s.run(t, "dev", "terraform", "--", "destroy", "-auto-approve", "-input=false", "-no-color")
	if out := s.run(t, "dev", "terraform", "--", "state", "list"); strings.TrimSpace(out) != "" {
		t.Errorf("terraform's state still holds:\n%s", out)
	}
	if left := s.leftovers(t); len(left) > 0 {
		t.Errorf("the emulator still holds: %v", left)
	}
	s.run(t, "dev", "up")
	s.load(t)
	s.testRun(t)
}

// testDown holds that nothing of the stack is left.
func (s *stack) testDown(t *testing.T) {
	before := s.state
	s.run(t, "dev", "down")
	for name, p := range before.Processes {
		if alive(p.PID) {
			t.Errorf("process %s (%d) still runs", name, p.PID)
		}
	}
	if before.Engine.Own {
		if _, err := os.Stat(filepath.Join("/sys/class/net", before.Engine.Bridge)); err == nil {
			t.Errorf("the network %s is still there", before.Engine.Bridge)
		}
	}
	if left := processesNaming(t, filepath.Join(s.dir, stackName)); len(left) > 0 {
		t.Errorf("processes of the stack still run: %v", left)
	}
}
