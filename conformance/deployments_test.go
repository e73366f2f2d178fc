//go:build conformance

package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"faber/internal/fake/fakeaws"
)

// deployServer schedules and reacts more eagerly than the default, so that a
// test need not wait a minute for a schedule.
func deployServer(t *testing.T) *server {
	return namedServer(t, "deploy", "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS=2")
}

// project writes a directory as a user has it: prefect.yaml and flow.py.
func (b *bench) project(prefectYAML, flow string) string {
	b.Helper()
	dir := b.TempDir()
	prefectYAML = strings.NewReplacer("$POOL", b.pool, "$DIR", dir).Replace(prefectYAML)
	for name, text := range map[string]string{"prefect.yaml": prefectYAML, "flow.py": flow} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// prefectCLI runs Prefect's own command line in a directory.
func (b *bench) prefectCLI(dir string, args ...string) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), suite.prefect, append([]string{"--no-prompt"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(cleanEnviron(), "HOME="+b.TempDir(), "PREFECT_API_URL="+b.server.url+"/api", "COLUMNS=1000", "NO_COLOR=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("prefect %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// runsOf lists the runs of a deployment by its name, oldest first.
func (b *bench) runsOf(deployment string) []object {
	b.Helper()
	var runs []object
	b.call("POST", "/flow_runs/filter", object{
		"deployments": object{"name": object{"any_": []string{deployment}}},
		"work_pools":  object{"name": object{"any_": []string{b.pool}}},
		"sort":        "EXPECTED_START_TIME_ASC",
	}, &runs)
	return runs
}

// waitCompleted waits until so many runs of the deployment are Completed, and
// fails when one ends in any other way.
func (b *bench) waitCompleted(deployment string, count int, limit time.Duration) []object {
	b.Helper()
	var completed []object
	b.until(limit, fmt.Sprintf("%d runs of %s are Completed", count, deployment), func() bool {
		completed = nil
		for _, run := range b.runsOf(deployment) {
			switch run["state_type"] {
			case "COMPLETED":
				completed = append(completed, run)
			case "FAILED", "CRASHED", "CANCELLED":
				b.Fatalf("run %s ended %v: %v", run["id"], run["state_name"], dig(run, "state", "message"))
			}
		}
		return len(completed) >= count
	})
	return completed
}

func TestL7ScheduledDeployment(t *testing.T) {
	b := newBenchOn(t, "L7", "`prefect deploy` from a prefect.yaml with pull steps, job variables and a schedule", deployServer)
	b.createPool("process", nil)
	dir := b.project(`
name: project
pull:
  - prefect.deployments.steps.run_shell_script:
      script: echo pulled-by-a-step
      stream_output: true
  - prefect.deployments.steps.set_working_directory:
      directory: $DIR
deployments:
  - name: scheduled
    entrypoint: flow.py:scheduled
    parameters: {greeting: hello}
    schedules:
      - interval: 8
    work_pool:
      name: $POOL
      job_variables:
        env: {FROM_YAML: "yes it's \"quoted\"", LEVEL: "3"}
        stream_output: true
`, `
import os
from prefect import flow

@flow(log_prints=True)
def scheduled(greeting: str):
    print(greeting, "|".join([os.environ["FROM_YAML"], os.environ["LEVEL"], os.path.basename(os.getcwd())]))
`)
	b.prefectCLI(dir, "deploy", "--all")
	w := b.worker("")
	w.waitStarted()
	completed := b.waitCompleted("scheduled", 2, 2*time.Minute)
	want := `hello yes it's "quoted"|3|` + filepath.Base(dir)
	b.waitLogLine(completed[0]["id"].(string), want, 20*time.Second)
	w.waitLog(20*time.Second, "pulled-by-a-step")
	if !slices.ContainsFunc(completed, func(run object) bool { return run["auto_scheduled"] == true }) {
		t.Error("no run was made by the schedule")
	}
	b.saw("2 runs of the schedule Completed; the first one's log has %q; the pull step's output was streamed", want)
}

func TestL8BlockAndVariable(t *testing.T) {
	b := newBenchOn(t, "L8", "`prefect deploy` with a Secret block and a variable in its job variables", deployServer)
	b.createPool("process", nil)
	secret, block, variable := "s3cret-"+b.pool, "token-"+b.pool, "mode_"+strings.ReplaceAll(b.pool, "-", "_")
	b.secretBlock(block, secret)
	b.call("POST", "/variables/", object{"name": variable, "value": "nightly"}, nil)
	dir := b.project(`
name: project
pull:
  - prefect.deployments.steps.set_working_directory: {directory: $DIR}
deployments:
  - name: secretive
    entrypoint: flow.py:secretive
    work_pool:
      name: $POOL
      job_variables:
        env:
          TOKEN: "{{ prefect.blocks.secret.`+block+` }}"
          MODE: "mode is {{ prefect.variables.`+variable+` }}"
`, `
import hashlib, os
from prefect import flow

@flow(log_prints=True)
def secretive():
    print(os.environ["MODE"], hashlib.sha256(os.environ["TOKEN"].encode()).hexdigest())
`)
	b.prefectCLI(dir, "deploy", "--all")
	w := b.worker("")
	w.waitStarted()
	sum := sha256.Sum256([]byte(secret))
	want := "mode is nightly " + hex.EncodeToString(sum[:])
	var deployments []object
	b.call("POST", "/deployments/filter", object{"deployments": object{"name": object{"any_": []string{"secretive"}}}, "work_pools": object{"name": object{"any_": []string{b.pool}}}}, &deployments)
	deployment := deployments[0]["id"].(string)
	b.runAndExpect(deployment, want)
	// The command line has put the values in place of the references when it
	// deployed. Edited in the UI or made by Python's deploy(), they stay
	// references until the worker resolves them.
	references := object{"env": object{"TOKEN": "{{ prefect.blocks.secret." + block + " }}", "MODE": "mode is {{ prefect.variables." + variable + " }}"}}
	b.call("PATCH", "/deployments/"+deployment, object{"job_variables": references}, nil)
	b.runAndExpect(deployment, want)
	if strings.Contains(w.log(), secret) {
		t.Error("the worker printed the secret")
	}
	b.saw("resolved by the command line, and by the worker from references at the server: both runs Completed and logged the variable and the secret's digest")
}

// runAndExpect runs the deployment and waits for it to complete and to log text.
func (b *bench) runAndExpect(deployment, text string) {
	b.Helper()
	run := b.run(deployment, nil)
	if final := b.waitFinal(run, time.Minute); final.Type != "COMPLETED" {
		b.Fatalf("the run ended %s: %s", final, final.Message)
	}
	b.waitLogLine(run, text, 20*time.Second)
}

// secretBlock makes a Secret block with this value.
func (b *bench) secretBlock(name string, value any) {
	b.Helper()
	var kind, schema object
	b.call("GET", "/block_types/slug/secret", nil, &kind)
	var schemas []object
	b.call("POST", "/block_schemas/filter", object{"block_schemas": object{"block_type_id": object{"any_": []any{kind["id"]}}}}, &schemas)
	schema = schemas[0]
	b.call("POST", "/block_documents/", object{
		"name": name, "block_type_id": kind["id"], "block_schema_id": schema["id"], "data": object{"value": value},
	}, nil)
}

func TestL9AutomationOnExecuted(t *testing.T) {
	b := newBenchOn(t, "L9", "a deployment triggered by an automation on prefect.worker.executed-flow-run of an ECS run", deployServer)
	cloud := fakeaws.New(t)
	upstreamPool := b.pool + "-ecs"
	var made object
	b.call("POST", "/work_pools/", object{"name": upstreamPool, "type": "ecs"}, &made)
	b.createPool("process", nil)
	ecs := b.ecsWorker(cloud, func(o *workerOptions) { o.Pool = upstreamPool })
	ecs.waitStarted()
	upstream := b.deployment(object{"name": "upstream-" + b.pool, "work_pool_name": upstreamPool})
	dir := b.project(`
name: project
pull:
  - prefect.deployments.steps.set_working_directory: {directory: $DIR}
deployments:
  - name: reacting
    entrypoint: flow.py:reacting
    work_pool: {name: $POOL}
    triggers:
      - type: event
        enabled: true
        expect: ["prefect.worker.executed-flow-run"]
        match_related:
          prefect.resource.role: deployment
          prefect.resource.id: prefect.deployment.`+upstream+`
        parameters:
          cause: "{{ event.event }} by {{ event.resource['prefect.worker-type'] }}"
`, `
from prefect import flow

@flow(log_prints=True)
def reacting(cause: str = ""):
    print("triggered by", cause)
`)
	b.prefectCLI(dir, "deploy", "--all")
	w := b.worker("")
	w.waitStarted()
	b.run(upstream, nil)
	completed := b.waitCompleted("reacting", 1, 2*time.Minute)
	line := b.waitLogLine(completed[0]["id"].(string), "triggered by", 20*time.Second)
	if want := "triggered by prefect.worker.executed-flow-run by ecs"; strings.TrimSpace(line.Message) != want {
		t.Errorf("the flow logged %q, want %q", line.Message, want)
	}
	b.saw("%d RunTask; the automation's run Completed and logged %q", len(cloud.Calls("RunTask")), strings.TrimSpace(line.Message))
}
