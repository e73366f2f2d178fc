//go:build conformance

package conformance

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
)

var prefectImage = regexp.MustCompile(`^prefecthq/prefect:3\.\d+\.\d+-python3\.\d+$`)

func Test071DefaultDefinition(t *testing.T) {
	e := newECSBench(t, "71", "a default run registers exactly the default definition and runs prefect flow-run execute through the override")
	deployment := e.variables(nil)
	_, task := e.launch(deployment)
	body := e.onlyRegistered(deployment)
	image, _ := dig(body, "containerDefinitions", 0, "image").(string)
	if !prefectImage.MatchString(image) {
		t.Errorf("the image is %q", image)
	}
	e.same("the definition", body, object{
		"containerDefinitions": []object{{"name": "prefect", "image": image}}, "family": e.familyOf(deployment),
		"cpu": "1024", "memory": "2048", "requiresCompatibilities": []string{"FARGATE"}, "networkMode": "awsvpc",
	})
	override := dig(task.Request, "overrides", "containerOverrides", 0)
	e.same("the command", dig(override, "command"), []string{"prefect", "flow-run", "execute"})
	e.same("the override's name", dig(override, "name"), "prefect")
	e.saw("family prefect_<pool>_<deployment>, image %s, 1024/2048, FARGATE, awsvpc, nothing else; override prefect: %v", image, dig(override, "command"))
}

func Test072DefinitionUsedAgain(t *testing.T) {
	e := newECSBench(t, "72", "an equal run registers nothing, another cpu a new revision, and after a restart Python's worker registers again")
	e.differs()
	deployment := e.variables(object{"cpu": 512, "memory": 1024})
	family := e.familyOf(deployment)
	_, first := e.launch(deployment)
	_, again := e.launch(deployment)
	if n := len(e.registered(family)); n != 1 || again.Definition != first.Definition {
		t.Fatalf("after two equal runs there were %d registrations", n)
	}
	e.call("PATCH", "/deployments/"+deployment, object{"job_variables": object{"cpu": 1024, "memory": 2048}}, nil)
	_, changed := e.launch(deployment)
	if n := len(e.registered(family)); n != 2 || changed.Definition == first.Definition {
		t.Fatalf("after a run with another cpu there were %d registrations", n)
	}
	e.restart()
	_, after := e.launch(deployment)
	n := len(e.registered(family))
	// Python's worker keeps what it registered in its memory alone; faber finds it
	// by the hash of its content.
	switch suite.worker {
	case python:
		if n != 3 || after.Definition == changed.Definition {
			t.Errorf("after the restart there were %d registrations", n)
		}
	default:
		if n != 2 || after.Definition != changed.Definition {
			t.Errorf("after the restart there were %d registrations", n)
		}
	}
	e.saw("equal run: 1 registration, cpu 512 to 1024: 2, after a restart: %d", n)
}

// restart ends the worker and starts another.
func (e *ecsBench) restart(change ...func(*workerOptions)) {
	e.Helper()
	e.w.signal(syscall.SIGTERM)
	e.w.waitExit(30 * time.Second)
	e.start(change...)
}

func Test073LatestRevisionMatched(t *testing.T) {
	e := newECSBench(t, "73", "restart and match_latest_revision_in_family: the latest revision is used again when it is equal")
	deployment := e.variables(object{"match_latest_revision_in_family": true})
	family := e.familyOf(deployment)
	_, before := e.launch(deployment)
	e.restart()
	_, after := e.launch(deployment)
	if n := len(e.registered(family)); n != 1 || after.Definition != before.Definition {
		t.Errorf("after the restart there were %d registrations, the task runs %s", n, after.Definition)
	}
	// A revision that somebody else made counts as well, if it is equal.
	foreign := e.variables(object{"match_latest_revision_in_family": true})
	body := e.registered(family)[0]
	body["family"] = e.familyOf(foreign)
	latest := e.cloud.PutDefinition(body)
	if _, task := e.launch(foreign); task.Definition != latest.ARN || len(e.registered(e.familyOf(foreign))) != 0 {
		t.Errorf("an equal revision of other origin was not used: the task runs %s", task.Definition)
	}
	unequal := e.variables(object{"match_latest_revision_in_family": true})
	body["family"], body["cpu"] = e.familyOf(unequal), "512"
	e.cloud.PutDefinition(body)
	if _, task := e.launch(unequal); !strings.HasSuffix(task.Definition, ":2") {
		t.Errorf("an unequal revision was used: the task runs %s", task.Definition)
	}
	e.saw("after the restart revision 1 again, no registration; an equal revision of other origin used; an unequal one (cpu 512) not, revision 2 registered")
}

func Test074DefinitionByARN(t *testing.T) {
	e := newECSBench(t, "74", "task_definition_arn: described, nothing registered, warnings of what is ignored")
	own := e.cloud.PutDefinition(object{
		"family": "own", "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": []string{"FARGATE"},
		"containerDefinitions": []object{{"name": "prefect", "image": "own/image"}},
	})
	for _, name := range []string{own.ARN, "own", "own:1"} {
		run, task := e.launchWith(object{"task_definition_arn": name})
		if task.Definition != own.ARN || task.Request["taskDefinition"] != name {
			t.Errorf("%s: RunTask names %v, the task runs %s", name, task.Request["taskDefinition"], task.Definition)
		}
		e.waitLines(run,
			"Skipping task definition construction since a task definition ARN is provided.",
			"The following job variable references in the task definition template will be ignored: ",
			fmt.Sprintf("Using ECS task definition '%s'...", name),
		)
		if name == own.ARN {
			e.waitLines(run, "Retrieving ECS task definition '"+name+"'...")
		}
	}
	ignored := e.waitLogLine(e.run(e.variables(object{"task_definition_arn": "own"}), nil), "will be ignored: ", 30*time.Second)
	_, list, _ := strings.Cut(ignored.Message, "will be ignored: ")
	for _, name := range []string{"cpu", "memory", "family", "image", "execution_role_arn", "container_name"} {
		if !strings.Contains(list, name) {
			t.Errorf("%s is not named as ignored: %q", name, list)
		}
	}
	if n := len(e.cloud.Calls("RegisterTaskDefinition")); n != 0 {
		t.Errorf("there were %d registrations", n)
	}
	if n := len(e.cloud.Calls("DescribeTaskDefinition")); n == 0 {
		t.Error("nothing was described")
	}
	missing := e.crash(object{"task_definition_arn": "nobodys"},
		"ClientException: An error occurred (ClientException) when calling the DescribeTaskDefinition operation: Unable to describe task definition.")
	e.saw("ARN, family and family:revision sent as they are; 0 registrations; ignored: %s; unknown: %q", list, cut(missing, 60))
}

func Test082CloudWatchOptions(t *testing.T) {
	e := newECSBench(t, "82", "CloudWatch: options and prefix in the definition; without an execution role Crashed")
	role := "arn:aws:iam::123456789012:role/execution"
	logs := object{"configure_cloudwatch_logs": true, "execution_role_arn": role}
	plain := e.variables(logs)
	e.launch(plain)
	body := e.onlyRegistered(plain)
	defaults := object{"awslogs-create-group": "true", "awslogs-group": "prefect", "awslogs-region": fakeaws.Region, "awslogs-stream-prefix": "prefect-logs_" + e.pool + "_" + plain}
	e.same("the log configuration", dig(body, "containerDefinitions", 0, "logConfiguration"), object{"logDriver": "awslogs", "options": defaults})
	e.same("the execution role", body["executionRoleArn"], role)

	logs["cloudwatch_logs_prefix"] = "mine"
	logs["cloudwatch_logs_options"] = object{"awslogs-group": "ours", "mode": "non-blocking"}
	custom := e.variables(logs)
	e.launch(custom)
	defaults["awslogs-stream-prefix"], defaults["awslogs-group"], defaults["mode"] = "mine", "ours", "non-blocking"
	e.same("the log configuration with options", dig(e.onlyRegistered(custom), "containerDefinitions", 0, "logConfiguration", "options"), defaults)

	calls := len(e.cloud.Calls("RunTask"))
	said := e.crash(object{"configure_cloudwatch_logs": true}, "An `execution_role_arn` must be provided to use `configure_cloudwatch_logs` or `stream_logs`.")
	e.crash(object{"cloudwatch_logs_options": object{"mode": "blocking"}}, "`configure_cloudwatch_log` must be enabled to use `cloudwatch_logs_options`.")
	if len(e.cloud.Calls("RunTask")) != calls {
		t.Error("RunTask was called for a configuration that is refused")
	}
	e.saw("prefect-logs_<pool>_<deployment> in group prefect by default; prefix, group and mode of the user's on top; no role: %q", cut(said, 60))
}

func Test083SecretARNs(t *testing.T) {
	e := newECSBench(t, "83", "an API-key secret ARN stands in the definition's secrets, and the key in no environment", withEnv("PREFECT_API_KEY", "pnu_conformance"))
	arn := func(name string) string { return "arn:aws:secretsmanager:eu-central-1:123456789012:secret:" + name }
	deployment := e.variables(object{
		"execution_role_arn":         "arn:aws:iam::123456789012:role/execution",
		"prefect_api_key_secret_arn": arn("key"), "prefect_api_auth_string_secret_arn": arn("auth"),
	})
	_, task := e.launch(deployment)
	container := dig(e.onlyRegistered(deployment), "containerDefinitions", 0)
	e.same("the secrets", dig(container, "secrets"), []object{
		{"name": "PREFECT_API_KEY", "valueFrom": arn("key")}, {"name": "PREFECT_API_AUTH_STRING", "valueFrom": arn("auth")},
	})
	env := task.Env("")
	for _, name := range []string{"PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"} {
		if value, ok := env[name]; ok {
			t.Errorf("%s is in the environment: %q", name, value)
		}
	}
	if env["PREFECT_API_URL"] == "" {
		t.Error("PREFECT_API_URL is not in the environment")
	}
	_, plain := e.launchWith(nil)
	if plain.Env("")["PREFECT_API_KEY"] != "pnu_conformance" {
		t.Error("without the ARN the key is not in the environment")
	}
	e.saw("secrets: PREFECT_API_KEY, PREFECT_API_AUTH_STRING by valueFrom; neither in the environment; without the ARN the key is")
}

func Test085DeregisterTag(t *testing.T) {
	e := newECSBench(t, "85", "auto-deregister: Python's worker puts the misspelt tag on the task with a new revision only; faber on each, and the revision goes with its last task")
	e.differs()
	const tag = "prefect.io/degregister-task-definition"
	deployment := e.variables(object{"auto_deregister_task_definition": true})
	_, first := e.launch(deployment)
	_, second := e.launch(deployment)
	if first.Tags()[tag] != "true" {
		t.Errorf("the run with a new revision has the tags %v", first.Tags())
	}
	if value, ok := second.Tags()[tag]; ok != (suite.worker == faber) {
		t.Errorf("the tag of the run without a new revision: %q", value)
	}
	_, plain := e.launchWith(nil)
	if value, ok := plain.Tags()[tag]; ok {
		t.Errorf("a run without auto-deregister has it: %q", value)
	}
	e.saw("%s: %q on the run with a new revision, %q on the next, none without the variable", tag, first.Tags()[tag], second.Tags()[tag])
}
