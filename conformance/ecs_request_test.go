//go:build conformance

package conformance

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"faber/internal/fake/fakeaws"
)

func Test075CommandSplit(t *testing.T) {
	e := newECSBench(t, "75", "a command with quotes is split as a shell does it")
	for command, want := range map[string][]string{
		`python -c 'print("a b")' "x y"`:    {"python", "-c", `print("a b")`, "x y"},
		`sh -c "echo \"$HOME\"" a\ b ''  z`: {"sh", "-c", `echo "$HOME"`, "a b", "", "z"},
	} {
		_, task := e.launchWith(object{"command": command})
		got := dig(task.Request, "overrides", "containerOverrides", 0, "command")
		e.same(command, got, want)
		e.saw("%s is %q", command, got)
	}
	said := e.crash(object{"command": `echo "open`}, "No closing quotation")
	e.saw("an open quote: %q", cut(said, 60))
}

func Test076EnvironmentInOverride(t *testing.T) {
	b := newBench(t, "76", "env stands in the override alone, not in the definition; its order is kept, no name twice")
	e := &ecsBench{bench: b, cloud: fakeaws.New(t)}
	b.createPool("ecs", templateWithEnvironment())
	e.start(withName("stage-hand"))
	deployment := e.deployment(object{"job_variables": json.RawMessage(`{"env": {"ZEBRA": "1", "APPLE": "2", "MANGO": "3"}}`)})
	_, task := e.launch(deployment)
	got := environment(task)
	unique := slices.Compact(slices.Sorted(slices.Values(names(got))))
	if len(unique) != len(got) {
		t.Errorf("a name is there twice: %q", names(got))
	}
	if got[0] != "ONLY_THERE=template" || slices.Contains(got, "APPLE=template") {
		t.Errorf("the template's own variables do not come first, or win: %q", got)
	}
	if n := len(got); !slices.Equal(got[n-3:], []string{"ZEBRA=1", "APPLE=2", "MANGO=3"}) {
		t.Errorf("the order of the job variables is not kept: %q", got)
	}
	if !slices.Contains(got, "PREFECT__WORKER_NAME=stage-hand") {
		t.Errorf("the worker's own variables are not there: %q", names(got))
	}
	if env := dig(e.onlyRegistered(deployment), "containerDefinitions", 0, "environment"); env != nil {
		t.Errorf("the definition has an environment: %v", env)
	}
	e.saw("%d variables, none twice: first ONLY_THERE, last %s; none in the definition", len(got), strings.Join(got[len(got)-3:], " "))
}

// templateWithEnvironment is a base job template whose override has an
// environment of its own.
func templateWithEnvironment() object {
	return object{
		"job_configuration": object{
			"env": "{{ env }}", "labels": "{{ labels }}",
			"task_definition": object{"containerDefinitions": []object{{"image": "own/image", "name": "prefect"}}},
			"task_run_request": object{
				"launchType": "FARGATE", "tags": "{{ labels }}",
				"overrides": object{"containerOverrides": []object{{"name": "prefect", "environment": []object{
					{"name": "ONLY_THERE", "value": "template"}, {"name": "APPLE", "value": "template"},
				}}}},
			},
		},
		"variables": object{"type": "object", "properties": object{
			"env": object{"type": "object", "additionalProperties": object{"type": "string"}}, "labels": object{"type": "object"},
		}},
	}
}

func Test077ClusterInPID(t *testing.T) {
	e := newECSBench(t, "77", "with a cluster by name the pid begins with that name, without one with the cluster's ARN")
	named, task := e.launchWith(object{"cluster": "blue"})
	if task.Request["cluster"] != "blue" {
		t.Errorf("RunTask names the cluster %v", task.Request["cluster"])
	}
	if got, want := e.waitPID(named), "blue::"+task.ARN; got != want {
		t.Errorf("the pid is %q, not %q", got, want)
	}
	unset, plain := e.launchWith(nil)
	if cluster, ok := plain.Request["cluster"]; ok {
		t.Errorf("RunTask names the cluster %v", cluster)
	}
	if got, want := e.waitPID(unset), plain.Cluster+"::"+plain.ARN; got != want {
		t.Errorf("the pid is %q, not %q", got, want)
	}
	e.saw("%s; unset: %s", cut(e.waitPID(named), 50), cut(e.waitPID(unset), 90))
}

func Test078CapacityStrategy(t *testing.T) {
	e := newECSBench(t, "78", "FARGATE_SPOT becomes a strategy without launch type; an explicit strategy takes the launch type away, with a warning")
	_, spot := e.launchWith(object{"launch_type": "FARGATE_SPOT"})
	e.same("the strategy of FARGATE_SPOT", spot.Request["capacityProviderStrategy"], []object{{"capacityProvider": "FARGATE_SPOT", "weight": 1}})
	if launchType, ok := spot.Request["launchType"]; ok {
		t.Errorf("FARGATE_SPOT: the launch type is %v", launchType)
	}
	const warning = "Found capacityProviderStrategy. Removing launchType from task run request."
	if strings.Contains(e.w.log(), warning) {
		t.Error("the warning came for FARGATE_SPOT")
	}
	strategy := []object{{"capacityProvider": "FARGATE", "weight": 1, "base": 2}, {"capacityProvider": "FARGATE_SPOT", "weight": 3, "base": 0}}
	_, explicit := e.launchWith(object{"capacity_provider_strategy": strategy})
	e.same("the explicit strategy", explicit.Request["capacityProviderStrategy"], strategy)
	if launchType, ok := explicit.Request["launchType"]; ok {
		t.Errorf("explicit strategy: the launch type is %v", launchType)
	}
	e.w.waitLog(shortly, `Found capacityProviderStrategy\. Removing launchType from task run request\.`)
	e.saw("FARGATE_SPOT: %v; explicit: as it is, and %q; no launchType in either", spot.Request["capacityProviderStrategy"], warning)
}

func Test079EC2Sizes(t *testing.T) {
	e := newECSBench(t, "79", "EC2: cpu and memory on the container, no network call for bridge mode")
	deployment := e.variables(object{"launch_type": "EC2"})
	_, task := e.launch(deployment)
	body := e.onlyRegistered(deployment)
	image := dig(body, "containerDefinitions", 0, "image")
	e.same("the definition", body, object{
		"containerDefinitions": []object{{"name": "prefect", "image": image, "cpu": 1024, "memory": 2048}}, "family": e.familyOf(deployment),
	})
	sized := e.variables(object{"launch_type": "EC2", "cpu": 256, "memory": 512})
	_, small := e.launch(sized)
	e.same("the container's size", []any{
		dig(e.onlyRegistered(sized), "containerDefinitions", 0, "cpu"), dig(e.onlyRegistered(sized), "containerDefinitions", 0, "memory"),
	}, []int{256, 512})
	for _, task := range []object{task.Request, small.Request} {
		if task["launchType"] != "EC2" || task["networkConfiguration"] != nil {
			t.Errorf("RunTask has launch type %v and network %v", task["launchType"], task["networkConfiguration"])
		}
	}
	if calls := e.cloud.Calls("DescribeVpcs", "DescribeSubnets"); len(calls) != 0 {
		t.Errorf("EC2 was asked for the network %d times", len(calls))
	}
	e.saw("container cpu 1024 memory 2048, by variables 256/512; launchType EC2, no networkConfiguration, 0 DescribeVpcs")
}

func Test080DefaultVPC(t *testing.T) {
	b := newBench(t, "80", "no vpc_id: the default VPC, all its subnets, public IP ENABLED; no default VPC: Crashed")
	e := prepareECSBench(b)
	e.cloud.DefaultVPC("")
	subnets := []string{"subnet-1", "subnet-2", "subnet-3", "subnet-4", "subnet-5", "subnet-6", "subnet-7"}
	e.cloud.AddVPC("vpc-main", subnets...)
	e.start()
	said := e.crash(nil, "ValueError: Failed to find the default VPC. Network configuration cannot be inferred. Pass an explicit `vpc_id` or configure a default VPC.")
	e.cloud.DefaultVPC("vpc-main")
	_, task := e.launchWith(nil)
	want := object{"awsvpcConfiguration": object{"subnets": subnets, "assignPublicIp": "ENABLED", "securityGroups": []string{}}}
	e.same("the network of the default VPC", task.Request["networkConfiguration"], want)
	_, other := e.launchWith(object{"vpc_id": "vpc-2"})
	want["awsvpcConfiguration"].(object)["subnets"] = []string{"subnet-c"}
	e.same("the network of a VPC that is named", other.Request["networkConfiguration"], want)
	e.saw("all %d subnets, ENABLED, securityGroups []; vpc_id vpc-2: subnet-c; none: %q", len(subnets), cut(said, 90))
}

func Test081CustomNetwork(t *testing.T) {
	e := newECSBench(t, "81", "network_configuration and vpc_id: passed on as it is; a subnet of another VPC: Crashed")
	network := object{"subnets": []string{"subnet-c"}, "securityGroups": []string{"sg-1", "sg-2"}, "assignPublicIp": "DISABLED"}
	_, task := e.launchWith(object{"vpc_id": "vpc-2", "network_configuration": network})
	e.same("the network", task.Request["networkConfiguration"], object{"awsvpcConfiguration": network})
	foreign := e.crash(object{"vpc_id": "vpc-2", "network_configuration": object{"subnets": []string{"subnet-c", "subnet-a"}}},
		"ValueError: Subnets ['subnet-c', 'subnet-a'] not found within VPC with ID vpc-2.Please check that VPC is associated with supplied subnets.")
	missing := e.crash(object{"vpc_id": "vpc-none", "network_configuration": network},
		"ClientError: An error occurred (InvalidVpcID.NotFound) when calling the DescribeVpcs operation: The vpc ID 'vpc-none' does not exist")
	alone := e.crash(object{"network_configuration": network}, "You must provide a `vpc_id` to enable custom `network_configuration`.")
	e.saw("as it is; foreign subnet: %q; unknown VPC: %q; no vpc_id: %q", cut(foreign, 70), cut(missing, 60), cut(alone, 40))
}

func Test084Tags(t *testing.T) {
	e := newECSBench(t, "84", "the task has Prefect's tags, sanitised; the user's labels win", withName("worker-84"))
	deployment := e.deployment(object{
		"name":          "it's (d\u00e9p) 1,000--x--",
		"job_variables": object{"labels": object{"team": "our team's & yours", "prefect.io/flow-name": "mine"}},
	})
	run := e.run(deployment, object{"name": "na\u00efve \u00bd, a,b"})
	task := e.taskOf(e.cloud, run)
	pool, at := e.readPool(), e.deploymentUpdated(deployment)
	version := task.Tags()["prefect.io/version"]
	want := map[string]string{
		"prefect.io/flow-run-id": run, "prefect.io/flow-run-name": "na-ve-1-2-a-b", "prefect.io/version": version,
		"prefect.io/work-pool-name": e.pool, "prefect.io/work-pool-id": pool["id"].(string), "prefect.io/worker-name": "worker-84",
		"prefect.io/flow-id": e.flow(), "prefect.io/flow-name": "mine",
		"prefect.io/deployment-id": deployment, "prefect.io/deployment-name": "it-s-d-p-1000-x", "prefect.io/deployment-updated": at,
		"team": "our-team-s-yours",
	}
	e.same("the tags", tagsOf(task), want)
	if version == "" {
		t.Error("the version is empty")
	}
	e.saw("11 of Prefect and team; run %s, deployment %s, updated %s; flow-name mine", want["prefect.io/flow-run-name"], want["prefect.io/deployment-name"], at)
}

// deploymentUpdated is when the deployment was updated, as Prefect's worker
// writes it: in UTC with an offset, and a fraction of six digits unless it is 0.
func (e *ecsBench) deploymentUpdated(id string) string {
	e.Helper()
	var d object
	e.call("GET", "/deployments/"+id, nil, &d)
	return isoformat(e, d["updated"].(string))
}
