//go:build conformance

package conformance

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
)

// newTemplateBench is an ecsBench whose pool has a template of its own: what the
// task definition and RunTask must have, with configuration laid over it and
// properties as the schema of its variables.
func newTemplateBench(t *testing.T, name, title string, configuration, properties object, change ...func(*workerOptions)) *ecsBench {
	t.Helper()
	e := prepareECSBench(newBench(t, name, title))
	e.template(configuration, properties)
	e.start(change...)
	return e
}

// template gives the pool such a template.
func (e *ecsBench) template(configuration, properties object) {
	e.Helper()
	all := object{
		"command": "{{ command }}", "env": "{{ env }}", "labels": "{{ labels }}", "name": "{{ name }}",
		"task_definition": object{
			"family": e.pool, "cpu": "256", "memory": "512",
			"containerDefinitions": []object{{"name": "prefect", "image": "example/flows:1"}},
		},
		"task_run_request": runRequest(nil),
	}
	maps.Copy(all, configuration)
	// The server wants every name declared, those of other kinds too.
	declared := object{}
	for _, name := range placeholder.FindAllStringSubmatch(fmt.Sprint(all), -1) {
		declared[name[1]] = object{}
	}
	maps.Copy(declared, properties)
	e.patchPool(object{"base_job_template": object{
		"job_configuration": all,
		"variables":         object{"type": "object", "properties": declared},
	}})
}

var placeholder = regexp.MustCompile(`\{\{ (\S+) \}\}`)

// runRequest is a template's task_run_request with more in it.
func runRequest(more object) object {
	all := object{
		"launchType": "FARGATE", "tags": "{{ labels }}",
		"overrides": object{"containerOverrides": []object{{"name": "prefect", "environment": "{{ env }}", "command": "{{ command }}"}}},
	}
	maps.Copy(all, more)
	return all
}

// launchOver runs a new deployment with job variables of its own and of the run,
// and returns the run's task.
func (e *ecsBench) launchOver(ofDeployment, ofRun object) *fakeaws.Task {
	e.Helper()
	fields := object{}
	if ofRun != nil {
		fields["job_variables"] = ofRun
	}
	run := e.run(e.variables(ofDeployment), fields)
	e.cloud.Wait(e, time.Minute, "run "+run+" has a task", func() bool { return e.cloud.TaskOf(run) != nil })
	return e.cloud.TaskOf(run)
}

// wantEnv fails the test when the task's environment has not these values; "-"
// stands for a name that must not be there.
func (e *ecsBench) wantEnv(task *fakeaws.Task, want map[string]string) {
	e.Helper()
	env := task.Env("prefect")
	for _, name := range slices.Sorted(maps.Keys(want)) {
		got, there := env[name]
		switch {
		case want[name] == "-" && there:
			e.Errorf("%s is %q and should not be there", name, got)
		case want[name] != "-" && (!there || got != want[name]):
			e.Errorf("%s is %q (there: %t), not %q", name, got, there, want[name])
		}
	}
}

// some shows these of the task's variables.
func some(task *fakeaws.Task, names ...string) string {
	var out []string
	env := task.Env("prefect")
	for _, name := range names {
		if value, ok := env[name]; ok {
			out = append(out, fmt.Sprintf("%s=%q", name, value))
		} else {
			out = append(out, name+" absent")
		}
	}
	return strings.Join(out, " ")
}

func Test058EnvPrecedence(t *testing.T) {
	e := newTemplateBench(t, "58", "env, per key: run over deployment over the pool's default over the template",
		object{"env": object{"A": "template", "B": "template", "C": "template", "D": "template"}},
		object{"env": object{"type": "object", "default": object{"B": "default", "C": "default", "D": "default"}}})
	task := e.launchOver(object{"env": object{"C": "deployment", "D": "deployment"}}, object{"env": object{"D": "run"}})
	e.wantEnv(task, map[string]string{"A": "template", "B": "default", "C": "deployment", "D": "run"})
	e.saw("%s", some(task, "A", "B", "C", "D"))
}

func Test059EnvNull(t *testing.T) {
	e := newTemplateBench(t, "59", "null in a run's env removes what the worker would give", nil, nil,
		withEnv("PREFECT_LOGGING_LEVEL", "DEBUG"))
	e.wantEnv(e.launchOver(nil, nil), map[string]string{"PREFECT_LOGGING_LEVEL": "DEBUG"})
	task := e.launchOver(object{"env": object{"MINE": "1"}}, object{"env": object{"PREFECT_LOGGING_LEVEL": nil, "PREFECT__FLOW_ID": nil, "MINE": nil, "OTHER": "2"}})
	e.wantEnv(task, map[string]string{"PREFECT_LOGGING_LEVEL": "-", "PREFECT__FLOW_ID": "-", "MINE": "-", "OTHER": "2"})
	e.saw("without: PREFECT_LOGGING_LEVEL=DEBUG; with null: %s", some(task, "PREFECT_LOGGING_LEVEL", "PREFECT__FLOW_ID", "MINE", "OTHER"))
}

func Test060WholeKeys(t *testing.T) {
	e := newTemplateBench(t, "60", "other job variables: the run's value replaces the deployment's as a whole", nil, nil)
	task := e.launchOver(object{"labels": object{"a": "deployment", "b": "deployment"}, "command": "sleep 1"}, object{"labels": object{"b": "run"}})
	tags := tagsOf(task)
	if _, ok := tags["a"]; ok || tags["b"] != "run" {
		t.Errorf("the tags are %v", tags)
	}
	command := dig(task.Request, "overrides", "containerOverrides", 0, "command")
	e.same("command", command, []string{"sleep", "1"})
	e.saw("deployment {a, b}, run {b}: tag b=%s, no tag a; the deployment's command %v is kept", tags["b"], command)
}

func Test061DottedKeys(t *testing.T) {
	e := newTemplateBench(t, "61", `"env.FOO" sets FOO; the nested form wins over it`, nil, nil)
	alone := e.launchOver(object{"env.FOO": "dotted"}, nil)
	e.wantEnv(alone, map[string]string{"FOO": "dotted"})
	both := e.launchOver(object{"env.FOO": "dotted", "env.BAR": "dotted", "env": object{"FOO": "nested"}}, nil)
	e.wantEnv(both, map[string]string{"FOO": "nested", "BAR": "dotted"})
	e.saw("alone: %s; with the nested form: %s", some(alone, "FOO"), some(both, "FOO", "BAR"))
}

func Test062UnsetPlaceholder(t *testing.T) {
	e := newTemplateBench(t, "62", "a placeholder without a value removes its key; inside text it becomes empty",
		object{
			"env":              object{"ALONE": "{{ missing }}", "TEXT": "a{{ missing }}z", "SET": "{{ present }}"},
			"task_run_request": runRequest(object{"group": "{{ missing }}", "enableExecuteCommand": "{{ absent }}"}),
		}, nil)
	task := e.launchOver(object{"present": "here"}, nil)
	e.wantEnv(task, map[string]string{"ALONE": "-", "TEXT": "az", "SET": "here"})
	for _, key := range []string{"group", "enableExecuteCommand"} {
		if value, ok := task.Request[key]; ok {
			t.Errorf("RunTask has %s: %v", key, value)
		}
	}
	e.saw("%s; RunTask without group and enableExecuteCommand", some(task, "ALONE", "TEXT", "SET"))
}

func Test063JSONTypes(t *testing.T) {
	e := newTemplateBench(t, "63", "a placeholder alone keeps the value's type: number, boolean, list, object",
		object{"task_run_request": runRequest(object{
			"count": "{{ copies }}", "enableExecuteCommand": "{{ exec }}", "placementConstraints": "{{ constraints }}", "group": "group-{{ copies }}",
		})}, nil)
	constraints := []object{{"type": "distinctInstance"}, {"type": "memberOf", "expression": "attribute:os == linux"}}
	task := e.launchOver(object{"copies": 1, "exec": true, "constraints": constraints}, nil)
	request := task.Request
	e.same("count", request["count"], 1)
	e.same("enableExecuteCommand", request["enableExecuteCommand"], true)
	e.same("placementConstraints", request["placementConstraints"], constraints)
	e.same("group", request["group"], "group-1")
	e.saw("count %v (%T), enableExecuteCommand %v, %d placementConstraints, group %q", request["count"], request["count"],
		request["enableExecuteCommand"], len(constraints), request["group"])
}

func Test064WorkerEnvironment(t *testing.T) {
	home := t.TempDir()
	e := newTemplateBench(t, "64", "{{ $HOME }} is the worker's own HOME; an unset one is empty",
		object{"env": object{"HOME_OF_WORKER": "{{ $HOME }}", "IN_TEXT": "<{{ $HOME }}>", "UNSET": "<{{ $NO_SUCH_VARIABLE }}>"}}, nil,
		withEnv("HOME", home))
	task := e.launchOver(nil, nil)
	e.wantEnv(task, map[string]string{"HOME_OF_WORKER": home, "IN_TEXT": "<" + home + ">", "UNSET": "<>"})
	e.saw("%s", strings.ReplaceAll(some(task, "HOME_OF_WORKER", "IN_TEXT", "UNSET"), home, "/home"))
}
