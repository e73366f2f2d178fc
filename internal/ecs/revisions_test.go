package ecs

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	sdkcredentials "github.com/aws/aws-sdk-go-v2/credentials"

	"faber/internal/fake/fakeaws"
	"faber/internal/launch"
)

// known gives the calls of a launcher a name of their own.
func known(f *fakeaws.Server, name string) func(*Options) {
	return func(o *Options) {
		o.LoadConfig = func(ctx context.Context, options ...func(*config.LoadOptions) error) (aws.Config, error) {
			return loadFrom(f)(ctx, append(options, config.WithCredentialsProvider(sdkcredentials.NewStaticCredentialsProvider(name, "secret", "")))...)
		}
	}
}

// runOf is a run of one of several deployments.
func runOf(deployment, run int, changes ...func(map[string]any)) launch.Job {
	job := testJob(append(changes, set(fmt.Sprint(1024*(1+deployment%2)), "task_definition", "cpu"), set("4096", "task_definition", "memory"))...)
	job.DeploymentID = fmt.Sprintf("44444444-4444-4444-8444-%012d", deployment)
	job.FlowRunID = fmt.Sprintf("11111111-1111-4111-8111-%012d", run)
	job.ClaimID = fmt.Sprintf("22222222-2222-4222-8222-%012d", run)
	return job
}

// Three workers that know nothing yet share out 200 runs of five deployments. Of
// each deployment all of them find out that there is no revision before the first
// one is registered.
func TestReplicasShareRevisions(t *testing.T) {
	const workers, deployments, runs = 3, 5, 200
	f := newFakeAWS(t)
	f.RegistrationTakes(time.Hour) // a second one of a family is always refused
	f.Hook(func(call fakeaws.Call) {
		if call.Op == "RegisterTaskDefinition" {
			f.Wait(t, 30*time.Second, "all have looked", func() bool { return lookedFor(f, call.Body["family"]) == workers })
		}
	})
	var wg sync.WaitGroup
	for w := range workers {
		l := newLauncher(t, f, known(f, fmt.Sprint("worker-", w)))
		for run := w; run < runs; run += workers {
			wg.Go(func() {
				if _, err := l.Launch(t.Context(), runOf(run%deployments, run)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	made := 0
	for family := range families(f) {
		made += len(f.Definitions(family))
	}
	refused := len(f.Calls("RegisterTaskDefinition")) - made
	t.Logf("%d tasks, %d registrations, %d refused, %d looks", len(f.Tasks()), made, refused, len(f.Calls("DescribeTaskDefinition", "ListTaskDefinitions")))
	if len(f.Tasks()) != runs || made != deployments {
		t.Errorf("%d registrations of %d contents for %d runs", made, deployments, len(f.Tasks()))
	}
	if refused == 0 {
		t.Error("nobody was in another's way: the test is too easy")
	}
}

// lookedFor counts who has looked for a family.
func lookedFor(f *fakeaws.Server, family any) int {
	who := map[string]bool{}
	for _, call := range f.Calls("DescribeTaskDefinition") {
		if call.Body["taskDefinition"] == family {
			who[call.AccessKey] = true
		}
	}
	return len(who)
}

func families(f *fakeaws.Server) map[string]bool {
	out := map[string]bool{}
	for _, body := range f.Bodies("RegisterTaskDefinition") {
		out[body["family"].(string)] = true
	}
	return out
}

func TestContentsThatAlternateInAFamily(t *testing.T) {
	f := newFakeAWS(t)
	family := set("shared", "task_definition", "family")
	content := func(i int) func(map[string]any) {
		return set([]any{map[string]any{"image": fmt.Sprint("flows:", i)}}, "task_definition", "containerDefinitions")
	}
	used := map[int]string{}
	for run := range 24 {
		l := newLauncher(t, f) // it remembers nothing
		mustLaunch(t, l, runOf(0, run, family, content(run%4)))
		arn := f.Tasks()[run].Definition
		if used[run%4] == "" {
			used[run%4] = arn
		}
		if used[run%4] != arn {
			t.Errorf("run %d uses %s, not %s", run, arn, used[run%4])
		}
	}
	if n := len(f.Definitions("shared")); n != 4 {
		t.Errorf("%d revisions of 4 contents", n)
	}
	l := newLauncher(t, f)
	for run := range 12 {
		mustLaunch(t, l, runOf(0, 100+run, family, content(run%4)))
	}
	before := len(f.Calls("DescribeTaskDefinition", "ListTaskDefinitions"))
	mustLaunch(t, l, runOf(0, 200, family, content(4)))
	if n := len(f.Calls("DescribeTaskDefinition", "ListTaskDefinitions")) - before; n != 3 { // the latest, and two pages of two
		t.Errorf("%d calls to find out that a content is new: what is known of revisions is asked again", n)
	}
}

func TestOnlyTheNewestRevisionsAreLookedThrough(t *testing.T) {
	f := newFakeAWS(t)
	family := set("shared", "task_definition", "family")
	mustLaunch(t, newLauncher(t, f), runOf(0, 0, family))
	other := func() {
		f.PutDefinition(map[string]any{"family": "shared", "containerDefinitions": []any{map[string]any{"name": "x", "image": "i", "memory": 1}}})
	}
	for range revisionsSearched - 1 {
		other()
	}
	mustLaunch(t, newLauncher(t, f), runOf(0, 1, family))
	if n := len(f.Calls("RegisterTaskDefinition")); n != 1 {
		t.Fatalf("%d registrations", n)
	}
	other()
	mustLaunch(t, newLauncher(t, f), runOf(0, 2, family))
	if n := len(f.Calls("RegisterTaskDefinition")); n != 2 {
		t.Errorf("%d registrations", n)
	}
}

func TestAnotherRegistersTheSame(t *testing.T) {
	f := newFakeAWS(t)
	mine, theirs := newLauncher(t, f), newLauncher(t, f)
	f.Hook(func(call fakeaws.Call) {
		if call.Op == "RegisterTaskDefinition" {
			f.Hook(nil)
			if _, err := theirs.Launch(t.Context(), runOf(0, 1)); err != nil {
				t.Error(err)
			}
		}
	})
	f.Fail("RegisterTaskDefinition", fakeaws.Fault{Code: "ClientException", Message: "Too many concurrent attempts to create a new revision of the specified family."})
	mustLaunch(t, mine, runOf(0, 2))
	if n := len(f.Tasks()); n != 2 || f.Tasks()[0].Definition != f.Tasks()[1].Definition {
		t.Errorf("%d tasks", n)
	}
	if n := len(f.Calls("RegisterTaskDefinition")); n != 2 {
		t.Errorf("%d registrations, want the refused one and the other's", n)
	}
	f.Fail("RegisterTaskDefinition", fakeaws.Fault{Code: "ClientException", Message: "Too many concurrent attempts to create a new revision of the specified family.", Times: -1})
	mustFail(t, mine, runOf(1, 3), launch.FailureRetry, "Too many concurrent attempts")
}

func TestListingRevisionsDenied(t *testing.T) {
	f := newFakeAWS(t)
	f.Fail("ListTaskDefinitions", fakeaws.Fault{Code: "AccessDeniedException", Message: "User: x is not authorized to perform: ecs:ListTaskDefinitions", Times: -1})
	family := set("shared", "task_definition", "family")
	l := newLauncher(t, f)
	mustLaunch(t, l, runOf(0, 0, family))
	mustLaunch(t, l, runOf(1, 1, family))
	mustLaunch(t, newLauncher(t, f), runOf(0, 2, family))
	if n := len(f.Definitions("shared")); n != 3 {
		t.Errorf("%d revisions", n)
	}
	f.Heal("ListTaskDefinitions")
	f.Fail("ListTaskDefinitions", fakeaws.Fault{Code: "ThrottlingException", Message: "Rate exceeded", Times: -1})
	impatient := func(o *Options) { o.patience = 100 * time.Millisecond }
	mustFail(t, newLauncher(t, f, impatient), runOf(1, 3, family), launch.FailureRetry, "Rate exceeded")
}

func TestARevisionIsTakenAwayByItsLastTask(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	deregister := set(true, "auto_deregister_task_definition")
	first, second := mustLaunch(t, l, runOf(0, 0, deregister)), mustLaunch(t, l, runOf(0, 1, deregister))
	look := func() {
		t.Helper()
		if _, err := l.Describe(t.Context(), []launch.Handle{first, second}); err != nil {
			t.Error(err)
		}
	}
	for _, task := range f.Tasks() {
		if task.Tags()[tagDeregister] != "true" {
			t.Errorf("task %s is not marked", task.ID())
		}
		task.Set("RUNNING")
	}
	f.Tasks()[0].Set("STOPPED")
	look()
	if n := len(f.Calls("DeregisterTaskDefinition")); n != 0 {
		t.Fatal("the revision was taken away from a run that uses it")
	}
	third := runOf(0, 2, deregister)
	f.Hook(func(call fakeaws.Call) { // the other ends while a launch is on its way
		if call.Op == "RunTask" {
			f.Tasks()[1].Set("STOPPED")
			look()
			f.Hook(nil)
		}
	})
	mustLaunch(t, l, third)
	if n := len(f.Calls("DeregisterTaskDefinition")); n != 0 {
		t.Fatal("the revision was taken away from a launch that uses it")
	}
	f.Tasks()[2].Set("STOPPED")
	first.PID = strings.Replace(first.PID, f.Tasks()[0].ARN, f.Tasks()[2].ARN, 1)
	look()
	if calls := f.Calls("DeregisterTaskDefinition"); len(calls) != 1 || calls[0].Body["taskDefinition"] != f.Tasks()[2].Definition {
		t.Errorf("%d deregistrations", len(calls))
	}
}

func TestARevisionThatGoesAgainAndAgain(t *testing.T) {
	f := newFakeAWS(t)
	l := newLauncher(t, f)
	mustLaunch(t, l, runOf(0, 0))
	f.Fail("RunTask", fakeaws.Fault{Code: "ClientException", Message: "TaskDefinition is inactive", Times: 2})
	mustFail(t, l, runOf(0, 1), launch.FailureRetry, "TaskDefinition is inactive")
	mustLaunch(t, l, runOf(0, 1))
}
