package ecs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
)

// labelled is a job with the labels that the worker gives all of them.
func labelled(run int, changes ...func(map[string]any)) launch.Job {
	job := testJob(changes...)
	job.FlowRunID, job.ClaimID = fmt.Sprint("run-", run), fmt.Sprint("claim-", run)
	job.Env = []launch.EnvVar{{Name: envFlowRunID, Value: job.FlowRunID}, {Name: envWorkerName, Value: "worker one"}}
	job.Labels = map[string]string{tagPoolID: job.Pool.ID, tagFlowRunID: job.FlowRunID}
	return job
}

// mustFind finds the runs of a pool, sorted.
func mustFind(t *testing.T, l *Launcher, pool launch.Pool) []string {
	t.Helper()
	found, err := l.Find(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	runs := []string{}
	for _, handle := range found {
		if handle.ClaimID != strings.Replace(handle.FlowRunID, "run", "claim", 1) || handle.WorkerName != "worker one" || handle.StartedAt.IsZero() {
			t.Errorf("found %+v", handle)
		}
		runs = append(runs, handle.FlowRunID)
	}
	slices.Sort(runs)
	return runs
}

func TestPlacesAreReadAgain(t *testing.T) {
	f := newFakeAWS(t)
	f.Script("", fakeaws.Script{Hold: true})
	l := newLauncher(t, f, func(o *Options) { o.Region = "eu-west-1" })
	for _, cluster := range []string{"", "blue", "arn:aws:ecs:eu-west-1:123456789012:cluster/blue"} {
		got, region, ok := parsePlace(l.Place(testJob(set(cluster, "cluster"))))
		if got != orDefault(cluster) || region != "eu-west-1" || !ok {
			t.Errorf("%q is read as %q in %q, %v", cluster, got, region, ok)
		}
	}
	if cluster, region, ok := parsePlace("cluster blue"); cluster != "blue" || region != "" || !ok {
		t.Errorf("read as %q in %q, %v", cluster, region, ok)
	}
	for _, other := range []string{"", "host x (boot 1)", "cluster ", "cluster two words in eu-west-1"} {
		if cluster, _, ok := parsePlace(other); ok {
			t.Errorf("%q is read as cluster %q", other, cluster)
		}
	}
}

func TestFindLooksIntoAllPlaces(t *testing.T) {
	f := newFakeAWS(t)
	f.Script("", fakeaws.Script{Hold: true})
	f.AddCluster("green")
	first := newLauncher(t, f)
	mustLaunch(t, first, labelled(1))
	mustLaunch(t, first, labelled(2, set("green", "cluster")))
	mustLaunch(t, first, labelled(3, set("blue", "cluster")))
	pool := testJob().Pool
	l := newLauncher(t, f)
	if got := mustFind(t, l, pool); !slices.Equal(got, []string{"run-1"}) {
		t.Errorf("found %q", got)
	}
	before := len(f.Calls("ListTasks"))
	pool.Places = []string{"cluster default in " + fakeaws.Region, "cluster blue", "cluster blue in " + fakeaws.Region, "cluster gone in eu-west-1", "cluster green in eu-west-1", "host x"}
	if got := mustFind(t, l, pool); !slices.Equal(got, []string{"run-1", "run-2", "run-3"}) {
		t.Errorf("found %q", got)
	}
	var asked []string
	for _, call := range f.Calls("ListTasks")[before:] {
		asked = append(asked, fmt.Sprintf("%s in %s", call.Body["cluster"], call.Region))
	}
	if want := []string{"default in eu-central-1", "blue in eu-central-1", "gone in eu-west-1", "green in eu-west-1"}; !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
	f.Fail("ListTasks", fakeaws.Fault{Code: "AccessDeniedException", Message: "no", When: func(c fakeaws.Call) bool { return c.Body["cluster"] == "blue" }})
	found, err := l.Find(t.Context(), pool)
	if err == nil || len(found) != 2 {
		t.Errorf("found %d, %v, want those of the places that can be seen, and an error", len(found), err)
	}
}

func TestFindWhateverStartedBy(t *testing.T) {
	mine := set("mine", "task_run_request", "startedBy")
	f := newFakeAWS(t)
	f.Script("", fakeaws.Script{Hold: true})
	first := newLauncher(t, f)
	mustLaunch(t, first, labelled(1))
	mustLaunch(t, first, labelled(2, mine))
	mustLaunch(t, first, labelled(3, set("ours", "task_run_request", "startedBy")))
	stranger := labelled(4, mine)
	stranger.Pool.ID, stranger.Labels[tagPoolID] = "another", "another"
	mustLaunch(t, newLauncher(t, f), stranger)

	for _, tt := range []struct {
		name             string
		startedBy        string // of the template
		asJobsWithoutAny any    // of it with no variables set
		l                *Launcher
		want             []string
	}{
		{"the launcher's own", "", nil, newLauncher(t, f), []string{"run-1"}},
		{"launched with", "", nil, first, []string{"run-1", "run-2", "run-3"}},
		{"the template's", "mine", "mine", newLauncher(t, f), []string{"run-1", "run-2"}},
		{"a variable", "{{ started_by }}", nil, newLauncher(t, f), []string{"run-1", "run-2", "run-3"}},
		{"a variable with a default", "x{{ started_by }}", "mine", newLauncher(t, f), []string{"run-1", "run-2", "run-3"}},
		{"never resolved", "", "{{ started_by }}", newLauncher(t, f), []string{"run-1", "run-2", "run-3"}},
	} {
		tt.l.SetTemplate(map[string]any{"task_run_request": map[string]any{"startedBy": tt.startedBy}})
		pool := testJob().Pool
		pool.Configuration = map[string]any{"task_run_request": map[string]any{"startedBy": tt.asJobsWithoutAny}}
		if got := mustFind(t, tt.l, pool); !slices.Equal(got, tt.want) {
			t.Errorf("%s: found %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestFindDescribesEachTaskOnce(t *testing.T) {
	f := newFakeAWS(t)
	f.Script("", fakeaws.Script{Hold: true})
	first := newLauncher(t, f)
	for run := range 7 {
		mustLaunch(t, first, labelled(run))
	}
	l := newLauncher(t, f)
	pool := testJob().Pool
	for range 3 {
		if got := mustFind(t, l, pool); len(got) != 7 {
			t.Errorf("found %q", got)
		}
	}
	if n := len(f.Calls("DescribeTasks")); n != 1 {
		t.Errorf("%d DescribeTasks", n)
	}
	f.Tasks()[3].Set("STOPPED")
	mustLaunch(t, first, labelled(7))
	if got := mustFind(t, l, pool); slices.Contains(got, "run-3") || !slices.Contains(got, "run-7") {
		t.Errorf("found %q", got)
	}
	if calls := f.Bodies("DescribeTasks"); len(calls) != 2 || len(calls[1]["tasks"].([]any)) != 1 {
		t.Errorf("%d DescribeTasks, the last %v", len(calls), calls[len(calls)-1])
	}
}

func TestStoppedTasks(t *testing.T) {
	f := newFakeAWS(t)
	f.Script("", fakeaws.Script{Hold: true})
	first := newLauncher(t, f)
	for run := range 5 {
		mustLaunch(t, first, labelled(run))
	}
	again := labelled(1, set("blue", "cluster"))
	again.ClaimID = "claim-1-again"
	mustLaunch(t, first, again)
	tasks := f.Tasks()
	tasks[0].Set("STOPPED", fakeaws.Exit(1))
	tasks[1].Set("RUNNING")
	tasks[1].Set("STOPPED", fakeaws.StopCode("SpotInterruption"), fakeaws.Reason("Your Spot Task was interrupted."), fakeaws.Exit(143))
	tasks[2].Set("RUNNING")
	tasks[2].Set("STOPPING")
	tasks[5].Set("RUNNING")
	tasks[5].Set("STOPPED", fakeaws.Exit(0))

	l := newLauncher(t, f)
	pool := testJob().Pool
	pool.Places = []string{"cluster blue"}
	look := func(runs ...string) map[string]launch.Observation {
		t.Helper()
		seen, err := l.Stopped(t.Context(), pool, runs)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]launch.Observation{}
		for _, o := range seen {
			out[o.Handle.ClaimID] = o
		}
		if len(out) != len(seen) {
			t.Errorf("seen %v", seen)
		}
		return out
	}
	for range 2 {
		seen := look("run-1", "run-2", "run-3", "run-9")
		if len(seen) != 3 {
			t.Fatalf("seen %v", seen)
		}
		if o := seen["claim-1"]; o.Phase != launch.PhaseStopped || o.Exit == nil || o.Exit.Kind != launch.ExitInterrupted || !strings.HasSuffix(o.Handle.PID, tasks[1].ARN) {
			t.Errorf("the first launch of run 1: %+v", o)
		}
		if o := seen["claim-1-again"]; o.Phase != launch.PhaseStopped || o.Exit == nil || o.Exit.Kind != launch.ExitClean {
			t.Errorf("the second launch of run 1: %+v", o)
		}
		if o := seen["claim-2"]; o.Phase != launch.PhaseStopping || o.Exit != nil {
			t.Errorf("run 2, which is about to end: %+v", o)
		}
	}
	described := 0
	for _, call := range f.Bodies("DescribeTasks") {
		described += len(call["tasks"].([]any))
	}
	if described != 4+1 { // four of them are over for good or not, and the one that is not is asked for again
		t.Errorf("%d tasks described", described)
	}
	if seen := look(); len(seen) != 0 {
		t.Errorf("seen %v", seen)
	}
	pool.ID = "another"
	if seen := look("run-1"); len(seen) != 0 {
		t.Errorf("seen in another pool: %v", seen)
	}
	f.Fail("ListTasks", fakeaws.Fault{Code: "ThrottlingException", Message: "Rate exceeded", Times: throttledTries})
	if _, err := l.Stopped(t.Context(), pool, []string{"run-1"}); err == nil {
		t.Error("no error")
	}
}
