//go:build conformance

package conformance

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func Test065Variables(t *testing.T) {
	e := prepareECSBench(newBench(t, "65", "{{ prefect.variables.x }}: its JSON value; inside text its text; missing: empty"))
	prefix := strings.ReplaceAll(e.pool, "-", "_")
	for name, value := range map[string]any{"text": "blue", "number": 1, "object": object{"team": "data", "tier": "2"}} {
		e.call("POST", "/variables/", object{"name": prefix + "_" + name, "value": value}, nil)
	}
	reference := func(name string) string { return "{{ prefect.variables." + prefix + "_" + name + " }}" }
	e.template(object{
		"labels":           reference("object"),
		"task_run_request": runRequest(object{"count": reference("number")}),
	}, nil)
	e.start()
	task := e.launchOver(object{"env": object{
		"TEXT": reference("text"), "IN": "is " + reference("text") + "/" + reference("number"), "NONE": reference("none"), "NONE_IN": "<" + reference("none") + ">",
	}}, nil)
	e.wantEnv(task, map[string]string{"TEXT": "blue", "IN": "is blue/1", "NONE": "", "NONE_IN": "<>"})
	e.same("count", task.Request["count"], 1)
	tags := tagsOf(task)
	if tags["team"] != "data" || tags["tier"] != "2" {
		t.Errorf("the tags are %v", tags)
	}
	e.saw("%s; count %v; an object as labels: team=%s", some(task, "TEXT", "IN", "NONE", "NONE_IN"), task.Request["count"], tags["team"])
}

func Test066Blocks(t *testing.T) {
	e := newTemplateBench(t, "66", "{{ prefect.blocks.secret.s }} alone, in text, with a path; missing: Crashed with Block not found", nil, nil)
	plain, nested := "plain-"+e.pool, "nested-"+e.pool
	e.secretBlock(plain, "s3cret")
	e.secretBlock(nested, object{"user": object{"name": "ada"}, "list": []string{"x", "y"}})
	task := e.launchOver(object{"env": object{
		"ALONE": "{{ prefect.blocks.secret." + plain + " }}", "VALUE": "{{ prefect.blocks.secret." + plain + ".value }}",
		"IN": "<{{ prefect.blocks.secret." + plain + " }}>", "PATH": "{{ prefect.blocks.secret." + nested + ".user.name }}",
		"ITEM": "{{ prefect.blocks.secret." + nested + ".value.list[1] }}",
	}}, nil)
	e.wantEnv(task, map[string]string{"ALONE": "s3cret", "VALUE": "s3cret", "IN": "<s3cret>", "PATH": "ada", "ITEM": "y"})
	said := e.crash(object{"env": object{"X": "{{ prefect.blocks.secret.absent }}"}}, "Block not found: 'absent' of type 'secret'.")
	e.saw("%s", some(task, "ALONE", "VALUE", "IN", "PATH", "ITEM"))
	e.saw("missing: Crashed, %q", cut(said, 60))
}

func Test067References(t *testing.T) {
	e := newTemplateBench(t, "67", `{"$ref": {"block_document_id": id}} is replaced by the block's data, secrets in clear`, nil, nil)
	// Data of any type will do: here it is the whole env.
	_, reference := e.credentialsBlock(object{"aws_access_key_id": "AKIAREF", "aws_secret_access_key": "ref-s3cret"})
	task := e.launchOver(object{"env": reference}, nil)
	e.wantEnv(task, map[string]string{"aws_access_key_id": "AKIAREF", "aws_secret_access_key": "ref-s3cret", "$ref": "-"})
	e.saw("as env: %s", some(task, "aws_access_key_id", "aws_secret_access_key"))
}

func Test068SettingsInEnv(t *testing.T) {
	b := newBench(t, "68", "the worker's explicit settings are in the child's env, others and unknown names are not; credentials as decided")
	b.differs()
	home := filepath.Join(t.TempDir(), "prefect-home")
	profiles := "active = \"mine\"\n\n[profiles.mine]\nPREFECT_RESULTS_PERSIST_BY_DEFAULT = \"true\"\n"
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "profiles.toml"), []byte(profiles), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := func(o *workerOptions) {
		maps.Copy(o.Env, map[string]string{
			"PREFECT_HOME": home, "PREFECT_API_KEY": "pnu_clear", "PREFECT_WORKER_PREFETCH_SECONDS": "7", "PREFECT_NO_SUCH_SETTING": "x",
			"PREFECT_LOGGING_EXTRA_LOGGERS": "zeta,alpha",
		})
	}
	want := map[string]string{
		"PREFECT_HOME": home, "PREFECT_API_URL": b.relay.API(), "PREFECT_API_KEY": "pnu_clear", "PREFECT_WORKER_PREFETCH_SECONDS": "7.0",
		"PREFECT_WORKER_QUERY_SECONDS": "1.0", "PREFECT_LOGGING_COLORS": "False", "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "True",
		"PREFECT_LOGGING_EXTRA_LOGGERS": "alpha,zeta",
	}
	e := prepareECSBench(b)
	e.start(settings)
	e.wantSettings(want, nil)
	b.saw("exactly %d settings, from environment and profile, the API key in clear", len(want))
	if suite.worker == python {
		return
	}
	e.w.waitLog(shortly, `WARNING .*PREFECT_API_KEY in clear text`)
	other := &ecsBench{bench: b.anotherPool(), cloud: e.cloud}
	other.createPool("ecs", nil)
	arn := "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prefect-key"
	other.start(settings, withArgs("--api-key-secret-arn", arn))
	want["PREFECT_API_KEY"] = "-"
	other.wantSettings(want, object{"execution_role_arn": "arn:aws:iam::123456789012:role/execution"})
	definitions := e.cloud.Bodies("RegisterTaskDefinition")
	e.same("secrets", dig(definitions[len(definitions)-1], "containerDefinitions", 0, "secrets"), []object{{"name": "PREFECT_API_KEY", "valueFrom": arn}})
	b.saw("and a warning; with --api-key-secret-arn no key but a reference to the secret")
}

// wantSettings fails the test when the settings in a task's environment are not
// exactly these; "-" stands for one that must not be there.
func (e *ecsBench) wantSettings(want map[string]string, vars object) {
	e.Helper()
	task := e.launchOver(vars, nil)
	e.wantEnv(task, want)
	for name := range task.Env("prefect") {
		if _, ok := want[name]; !ok && strings.HasPrefix(name, "PREFECT_") && !strings.HasPrefix(name, "PREFECT__") {
			e.Errorf("%s is there: %q", name, task.Env("prefect")[name])
		}
	}
}

func Test069RunsOwnVariables(t *testing.T) {
	e := newTemplateBench(t, "69", "PREFECT__FLOW_RUN_ID, flow, deployment and worker are in the environment", nil, nil, withName("w-69"))
	deployment := e.variables(nil)
	run, task := e.launch(deployment)
	var made object
	e.call("GET", "/deployments/"+deployment, nil, &made)
	e.wantEnv(task, map[string]string{
		"PREFECT__FLOW_RUN_ID": run, "PREFECT__FLOW_ID": e.flow(), "PREFECT__FLOW_NAME": "flow-" + e.pool,
		"PREFECT__DEPLOYMENT_ID": deployment, "PREFECT__DEPLOYMENT_NAME": made["name"].(string), "PREFECT__WORKER_NAME": "w-69",
	})
	var stamped []string
	for _, name := range slices.Sorted(maps.Keys(task.Env("prefect"))) {
		if strings.HasPrefix(name, "PREFECT__") {
			stamped = append(stamped, name)
		}
	}
	if len(stamped) != 6 {
		t.Errorf("there are %q", stamped)
	}
	e.saw("%s, with the ids and names of this run", strings.Join(stamped, " "))
}

func Test070BadType(t *testing.T) {
	e := newTemplateBench(t, "70", "a job variable of a wrong type: Crashed when submitted, the worker lives", nil, nil)
	said := e.crash(object{"labels": object{"a": 1}}, "ValidationError: 1 validation error for ECSJobConfiguration\nlabels.a\n  Input should be a valid string")
	second := e.crash(object{"command": object{"a": 1}}, "ECSJobConfiguration\ncommand\n  Input should be a valid string")
	e.launchOver(nil, nil)
	if !e.w.alive() {
		t.Error("the worker ended")
	}
	e.saw("labels {a: 1}: %q; command {a: 1}: %q; the next run is launched", cut(said, 60), cut(second, 60))
}
