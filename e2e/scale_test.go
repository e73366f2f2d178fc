//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/schemas"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"
)

// cloudwatch is a client that speaks JSON: the emulators do not know CBOR.
func (s *stack) cloudwatch() *cloudwatch.Client {
	return cloudwatch.New(cloudwatch.Options{Region: region, BaseEndpoint: aws.String(s.awsURL()), Credentials: s.keys()}, func(o *cloudwatch.Options) {
		o.DisableRequestCompression = true
		o.Protocol = awsjson.New10(schemas.GraniteServiceVersion20100801)
	})
}

// largest is the largest value of a metric of the last minutes, by the emulator's word.
func (s *stack) largest(t *testing.T, metric, stackName, workPool string) (value float64, ok bool) {
	t.Helper()
	out, err := s.cloudwatch().GetMetricStatistics(t.Context(), &cloudwatch.GetMetricStatisticsInput{
		Namespace: aws.String("Faber"), MetricName: aws.String(metric), Period: aws.Int32(60), Statistics: []cwtypes.Statistic{cwtypes.StatisticMaximum},
		StartTime: aws.Time(time.Now().Add(-10 * time.Minute)), EndTime: aws.Time(time.Now().Add(time.Minute)),
		Dimensions: []cwtypes.Dimension{{Name: aws.String("Stack"), Value: aws.String(stackName)}, {Name: aws.String("WorkPool"), Value: aws.String(workPool)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range out.Datapoints {
		value, ok = max(value, aws.ToFloat64(point.Maximum)), true
	}
	return value, ok
}

// tick runs `faber tick` on this machine.
func (s *stack) tick(t *testing.T, workPool, name string) string {
	t.Helper()
	cmd := s.command(t.Context(), "tick", "--pool", workPool, "--stack", name)
	cmd.Env = append(append(cleanEnv(), s.cloudAs(canary, s.state.AccountID, s.state.WorkspaceID)...), append(s.awsEnv(), "HOME="+t.TempDir())...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("faber tick: %v\n%s", err, out.String())
	}
	t.Logf("%.1f s: %s", time.Since(begun).Seconds(), out.String())
	return out.String()
}

// testTick publishes the backlog of a pool that nobody serves, and asks CloudWatch for it.
func (s *stack) testTick(t *testing.T) {
	const idle = "nobody-serves-this"
	s.api(t, http.MethodPost, "/work_pools/", map[string]any{"name": idle, "type": "ecs"}, nil)
	deployment := s.deploy(t, "hello", "idle", idle, "/opt/flows", nil)
	for range 3 {
		s.startRun(t, deployment, nil)
	}
	var later struct{ ID string }
	s.api(t, http.MethodPost, "/deployments/"+deployment+"/create_flow_run", map[string]any{
		"state": map[string]any{"type": "SCHEDULED", "state_details": map[string]any{"scheduled_time": time.Now().Add(time.Hour)}},
	}, &later)
	time.Sleep(2 * time.Second) // their age is to be seen
	out := s.tick(t, idle, "by-hand")
	if !strings.Contains(out, "3 due") {
		t.Errorf("the tick says %q", out)
	}
	for metric, holds := range map[string]func(float64) bool{
		"Backlog": func(v float64) bool { return v == 3 }, "OldestDueAge": func(v float64) bool { return v >= 2 && v < 120 },
		"StartingRuns": func(v float64) bool { return v == 0 }, "RunningRuns": func(v float64) bool { return v == 0 },
	} {
		if value, ok := s.largest(t, metric, "by-hand", idle); !ok || !holds(value) {
			t.Errorf("CloudWatch has %s = %g (%t)", metric, value, ok)
		}
	}
	s.checkDimensions(t)
	s.api(t, http.MethodDelete, "/work_pools/"+idle, nil, nil)
}

// checkDimensions holds that every metric has the two dimensions and no other.
func (s *stack) checkDimensions(t *testing.T) {
	t.Helper()
	out, err := s.cloudwatch().ListMetrics(t.Context(), &cloudwatch.ListMetricsInput{Namespace: aws.String("Faber")})
	if err != nil || len(out.Metrics) == 0 {
		t.Fatalf("ListMetrics: %v, %d metrics", err, len(out.Metrics))
	}
	for _, m := range out.Metrics {
		names := map[string]bool{}
		for _, d := range m.Dimensions {
			names[aws.ToString(d.Name)] = true
		}
		if len(names) != 2 || !names["Stack"] || !names["WorkPool"] {
			t.Errorf("%s has the dimensions %v", aws.ToString(m.MetricName), names)
		}
	}
}

// testTickTask runs the tick as EventBridge Scheduler does: the worker's own image and
// configuration, another command.
func (s *stack) testTickTask(t *testing.T) {
	services, err := s.ecs().DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: aws.String(s.state.Cluster), Services: []string{s.state.Service}})
	if err != nil || len(services.Services) != 1 {
		t.Fatalf("DescribeServices: %v", err)
	}
	service := services.Services[0]
	started, err := s.ecs().RunTask(t.Context(), &ecs.RunTaskInput{
		Cluster: aws.String(s.state.Cluster), TaskDefinition: service.TaskDefinition, LaunchType: ecstypes.LaunchTypeFargate,
		NetworkConfiguration: service.NetworkConfiguration,
		Overrides:            &ecstypes.TaskOverride{ContainerOverrides: []ecstypes.ContainerOverride{{Name: aws.String("worker"), Command: []string{"tick"}}}},
	})
	if err != nil || len(started.Tasks) != 1 {
		t.Fatalf("RunTask: %v, %+v", err, started)
	}
	arn := aws.ToString(started.Tasks[0].TaskArn)
	var code *int32
	eventually(t, 30*time.Second, "the tick's task is over", func() bool {
		out, err := s.ecs().DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String(s.state.Cluster), Tasks: []string{arn}})
		if err != nil || len(out.Tasks) != 1 || aws.ToString(out.Tasks[0].LastStatus) != "STOPPED" {
			return false
		}
		code = out.Tasks[0].Containers[0].ExitCode
		return true
	})
	if aws.ToInt32(code) != 0 || code == nil {
		t.Errorf("the tick's task ended with %v:\n%s", code, s.cloudWatch(t, strings.Replace(s.state.FlowLogs, "flow-runs", "worker", 1)))
	}
	name := stackOf(s.state.Service)
	if _, ok := s.largest(t, "Backlog", name, pool); !ok {
		t.Errorf("CloudWatch has no Backlog of the stack %s", name)
	}
}

// stackOf is the stack's name, after which the service is named.
func stackOf(service string) string {
	return strings.TrimSuffix(service[strings.LastIndex(service, "/")+1:], "-worker")
}

// scale sets the number of workers, and waits until as many run.
func (s *stack) scale(t *testing.T, workers int32) {
	t.Helper()
	if _, err := s.ecs().UpdateService(t.Context(), &ecs.UpdateServiceInput{
		Cluster: aws.String(s.state.Cluster), Service: aws.String(s.state.Service), DesiredCount: aws.Int32(workers),
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 90*time.Second, fmt.Sprintf("%d workers run", workers), func() bool {
		out, err := s.ecs().ListTasks(t.Context(), &ecs.ListTasksInput{
			Cluster: aws.String(s.state.Cluster), Family: aws.String(stackOf(s.state.Service) + "-worker"), DesiredStatus: ecstypes.DesiredStatusRunning,
		})
		return err == nil && len(out.TaskArns) == int(workers)
	})
}

// onlineNow counts the workers that have said within their interval that they live.
func (s *stack) onlineNow(t *testing.T, since time.Time) (n int) {
	t.Helper()
	var workers []struct {
		Status        string
		LastHeartbeat time.Time `json:"last_heartbeat_time"`
	}
	s.api(t, http.MethodPost, "/work_pools/"+pool+"/workers/filter", map[string]any{}, &workers)
	for _, w := range workers {
		if w.Status == "ONLINE" && w.LastHeartbeat.After(since) {
			n++
		}
	}
	return n
}

// reporting is a command that tells Prefect of its run by itself, as an engine would:
// Python begins in a tenth of the time without Prefect's packages, and what is tested
// is how runs are launched.
const reporting = `python3 -c '
import json, os, time, urllib.error, urllib.request
def tell(state):
    request = urllib.request.Request(os.environ["PREFECT_API_URL"] + "/flow_runs/" + os.environ["PREFECT__FLOW_RUN_ID"] + "/set_state",
        json.dumps({"state": {"type": state}}).encode(), {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["PREFECT_API_KEY"]})
    for _ in range(30):
        try:
            return print(urllib.request.urlopen(request).read())
        except urllib.error.HTTPError as refused:
            print(refused, refused.read())
            time.sleep(1)
tell("RUNNING")
time.sleep(10)
tell("COMPLETED")
'`

// testScaleIn takes workers away while they launch: from two to one, and the last one.
// No flow run is lost, and none is launched twice.
func (s *stack) testScaleIn(t *testing.T) {
	deployment := s.deploy(t, "hello", "scaled", pool, "/opt/flows", map[string]any{"command": reporting})
	begun := time.Now()
	s.scale(t, 2)
	eventually(t, 60*time.Second, "two workers are ONLINE", func() bool { return s.onlineNow(t, begun) >= 2 })

	var runs []string
	start := func(n int) {
		for range n {
			runs = append(runs, s.startRun(t, deployment, nil))
		}
	}
	start(6)
	s.someLaunch(t, runs)
	s.scale(t, 1)
	for _, id := range runs {
		eventually(t, 4*time.Minute, "run "+id+" is Completed", func() bool { return s.flowRun(t, id).StateType == "COMPLETED" })
	}

	first := len(runs)
	start(5)
	s.someLaunch(t, runs[first:])
	s.scale(t, 0)
	time.Sleep(8 * time.Second) // the emulator gives a container 5 s to end
	due := 0
	for _, id := range runs[first:] {
		if s.flowRun(t, id).StateType == "SCHEDULED" {
			due++
		}
	}
	t.Logf("%d of %d runs are left in the pool", due, len(runs)-first)
	// What is left in the pool is what the tick sees, and what brings a worker back.
	if out := s.tick(t, pool, "after"); !regexp.MustCompile(fmt.Sprintf(`\b%d due`, due)).MatchString(out) {
		t.Errorf("%d runs are due, the tick says %q", due, out)
	}
	if value, ok := s.largest(t, "Backlog", "after", pool); !ok || value != float64(due) {
		t.Errorf("CloudWatch has a backlog of %g (%t), not %d", value, ok, due)
	}
	s.scale(t, 1)
	for _, id := range runs[first:] {
		eventually(t, 4*time.Minute, "run "+id+" is Completed", func() bool { return s.flowRun(t, id).StateType == "COMPLETED" })
	}
	tasks := s.tasksOfRuns(t)
	for _, id := range runs {
		running := 0
		var names []string
		for _, st := range s.states(t, id) {
			names = append(names, st.Name)
			if st.Type == "RUNNING" {
				running++
			}
		}
		if running != 1 || tasks[id] != 1 {
			t.Errorf("run %s was launched as %d tasks and ran %d times: %v", id, tasks[id], running, names)
		}
	}
	eventually(t, 60*time.Second, "a worker is ONLINE", func() bool { return s.onlineNow(t, time.Now().Add(-30*time.Second)) >= 1 })
}

// someLaunch waits until the first of the runs is being launched.
func (s *stack) someLaunch(t *testing.T, runs []string) {
	t.Helper()
	eventually(t, 60*time.Second, "a launch is under way", func() bool {
		for _, id := range runs {
			if s.flowRun(t, id).StateType != "SCHEDULED" {
				return true
			}
		}
		return false
	})
}

// tasksOfRuns counts the tasks of each flow run, by what the emulator remembers. A
// task that ends between the two listings is in both.
func (s *stack) tasksOfRuns(t *testing.T) map[string]int {
	t.Helper()
	count, seen := map[string]int{}, map[string]bool{}
	for _, status := range []ecstypes.DesiredStatus{ecstypes.DesiredStatusRunning, ecstypes.DesiredStatusStopped} {
		pages := ecs.NewListTasksPaginator(s.ecs(), &ecs.ListTasksInput{Cluster: aws.String(s.state.Cluster), DesiredStatus: status})
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(page.TaskArns) == 0 {
				continue
			}
			out, err := s.ecs().DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: aws.String(s.state.Cluster), Tasks: page.TaskArns})
			if err != nil {
				t.Fatal(err)
			}
			for _, task := range out.Tasks {
				if seen[aws.ToString(task.TaskArn)] {
					continue
				}
				seen[aws.ToString(task.TaskArn)] = true
				for _, o := range task.Overrides.ContainerOverrides {
					for _, v := range o.Environment {
						if aws.ToString(v.Name) == "PREFECT__FLOW_RUN_ID" {
							count[aws.ToString(v.Value)]++
						}
					}
				}
			}
		}
	}
	return count
}
