//go:build conformance

package conformance

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"

	"github.com/google/go-cmp/cmp"
)

// An ecsBench is a bench with a pool of type ecs and a fake of AWS for its worker.
type ecsBench struct {
	*bench
	cloud *fakeaws.Server
	w     *worker
}

// newECSBench begins the test of an item with a worker that has started.
func newECSBench(t *testing.T, name, title string, change ...func(*workerOptions)) *ecsBench {
	t.Helper()
	e := prepareECSBench(newBench(t, name, title))
	e.start(change...)
	return e
}

// prepareECSBench leaves the worker to be started, so that the cloud can be
// furnished before.
func prepareECSBench(b *bench) *ecsBench {
	b.Helper()
	e := &ecsBench{bench: b, cloud: fakeaws.New(b.T)}
	b.createPool("ecs", nil)
	return e
}

// start starts a worker, or another one.
func (e *ecsBench) start(change ...func(*workerOptions)) {
	e.Helper()
	e.w = e.ecsWorker(e.cloud, change...)
	e.w.waitStarted()
}

// variables is a deployment with these job variables.
func (e *ecsBench) variables(vars object) string {
	e.Helper()
	if vars == nil {
		vars = object{}
	}
	return e.deployment(object{"job_variables": vars})
}

// launch runs a deployment and waits for the run's task.
func (e *ecsBench) launch(deployment string) (run string, task *fakeaws.Task) {
	e.Helper()
	run = e.run(deployment, nil)
	e.cloud.Wait(e, time.Minute, "run "+run+" has a task", func() bool { return e.cloud.TaskOf(run) != nil })
	return run, e.cloud.TaskOf(run)
}

// launchWith is launch of a new deployment with these job variables.
func (e *ecsBench) launchWith(vars object) (run string, task *fakeaws.Task) {
	e.Helper()
	return e.launch(e.variables(vars))
}

// crash runs a deployment with these job variables, whose launch must fail with a
// text, and returns what the Crashed state says behind the words that all such
// states begin with.
func (e *ecsBench) crash(vars object, text string) string {
	e.Helper()
	run := e.run(e.variables(vars), nil)
	crashed := e.waitState(run, "CRASHED", time.Minute)
	said, ok := strings.CutPrefix(crashed.Message, "Failed to submit flow run to infrastructure: ")
	if !ok || !strings.Contains(said, text) {
		e.Errorf("it crashed with %q, not with %q", crashed.Message, text)
	}
	if e.cloud.TaskOf(run) != nil {
		e.Error("a task was started all the same")
	}
	return said
}

// registered are the bodies of all registrations of a deployment's family, but
// for the tag by which faber finds a definition again.
func (e *ecsBench) registered(family string) []object {
	e.Helper()
	var out []object
	for _, body := range e.cloud.Bodies("RegisterTaskDefinition") {
		if body["family"] != family {
			continue
		}
		body = decode(body)
		if suite.worker == faber {
			tags, _ := body["tags"].([]any)
			if len(tags) != 1 || dig(tags, 0, "key") != "faber/definition-hash" {
				e.Errorf("a definition was registered with the tags %v", body["tags"])
			}
			delete(body, "tags")
		}
		out = append(out, body)
	}
	return out
}

// familyOf is what a deployment's definitions are called by default.
func (e *ecsBench) familyOf(deployment string) string { return "prefect_" + e.pool + "_" + deployment }

// onlyRegistered is the one registration of a deployment that was launched.
func (e *ecsBench) onlyRegistered(deployment string) object {
	e.Helper()
	all := e.registered(e.familyOf(deployment))
	if len(all) != 1 {
		e.Fatalf("%d definitions of %s were registered", len(all), e.familyOf(deployment))
	}
	return all[0]
}

// tagsOf are a task's tags but for those of faber's own.
func tagsOf(task *fakeaws.Task) map[string]string {
	out := map[string]string{}
	for key, value := range task.Tags() {
		if !strings.HasPrefix(key, "faber/") {
			out[key] = value
		}
	}
	return out
}

// environment is the environment of the first container override, in its order,
// as name=value.
func environment(task *fakeaws.Task) []string {
	var out []string
	list, _ := dig(task.Request, "overrides", "containerOverrides", 0, "environment").([]any)
	for _, item := range list {
		name, _ := dig(item, "name").(string)
		value, _ := dig(item, "value").(string)
		out = append(out, name+"="+value)
	}
	return out
}

// names are the names of such a list.
func names(environment []string) []string {
	var out []string
	for _, pair := range environment {
		name, _, _ := strings.Cut(pair, "=")
		out = append(out, name)
	}
	return out
}

// decode copies JSON as a decoder gives it.
func decode(value any) object {
	encoded, err := json.Marshal(value)
	var out object
	if err == nil {
		err = json.Unmarshal(encoded, &out)
	}
	if err != nil {
		panic(err) // a test's own values
	}
	return out
}

// same fails the test with the difference when got is not what the test wants.
func (e *ecsBench) same(what string, got, want any) {
	e.Helper()
	if diff := cmp.Diff(decode(object{"": want}), decode(object{"": got})); diff != "" {
		e.Errorf("%s (- wanted, + got):\n%s", what, diff)
	}
}

// waitLines waits until the run's log has all of these texts.
func (e *ecsBench) waitLines(run string, texts ...string) {
	e.Helper()
	for _, text := range texts {
		e.waitLogLine(run, text, 30*time.Second)
	}
}

// shortly is for what follows at once from what was seen already.
const shortly = 30 * time.Second

// isoformat writes a time of the API as Python's isoformat does.
func isoformat(e *ecsBench, text string) string {
	e.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		e.Fatal(err)
	}
	at = at.UTC()
	if at.Nanosecond() == 0 {
		return at.Format("2006-01-02T15:04:05+00:00")
	}
	return at.Format("2006-01-02T15:04:05.000000+00:00")
}
