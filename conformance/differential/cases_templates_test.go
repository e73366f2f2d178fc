//go:build conformance

package differential

import (
	"slices"
	"strings"
)

// baseParts are the job_configuration of a template in parts, for templates that
// differ in one of them.
var baseParts = []string{
	`"command": "{{ command }}"`, `"labels": "{{ labels }}"`, `"name": "{{ name }}"`, `"aws_credentials": "{{ aws_credentials }}"`, `"cluster": "{{ cluster }}"`,
	`"vpc_id": "{{ vpc_id }}"`, `"container_name": "{{ container_name }}"`, `"execution_role_arn": "{{ execution_role_arn }}"`, `"env": "{{ env }}"`,
	`"task_definition": {"containerDefinitions": [{"image": "{{ image }}", "name": "{{ container_name }}"}], "cpu": "{{ cpu }}", "memory": "{{ memory }}", "family": "{{ family }}", "executionRoleArn": "{{ execution_role_arn }}"}`,
	`"task_run_request": {"launchType": "{{ launch_type }}", "cluster": "{{ cluster }}", "overrides": {"containerOverrides": [{"name": "{{ container_name }}", "command": "{{ command }}", "environment": "{{ env }}", "cpu": "{{ cpu }}", "memory": "{{ memory }}"}], "cpu": "{{ cpu }}", "memory": "{{ memory }}", "taskRoleArn": "{{ task_role_arn }}"}, "tags": "{{ labels }}", "taskDefinition": "{{ task_definition_arn }}", "capacityProviderStrategy": "{{ capacity_provider_strategy }}"}`,
}

const baseVariables = `{"type": "object", "properties": {"launch_type": {"type": "string", "default": "FARGATE"}, "cpu": {"type": "integer"}, "image": {"type": "string", "default": null}, "env": {"type": "object"}}}`

// templateWith is a template with other parts, each `"key": value`, in the place of
// the base's or beside them.
func templateWith(parts ...string) string {
	keyOf := func(part string) string { key, _, _ := strings.Cut(part, ":"); return key }
	all := slices.Clone(parts)
	for _, part := range baseParts {
		if !slices.ContainsFunc(parts, func(other string) bool { return keyOf(other) == keyOf(part) }) {
			all = append(all, part)
		}
	}
	return `{"job_configuration": {` + strings.Join(all, ", ") + `}, "variables": ` + baseVariables + `}`
}

// jobConfiguration is the base's alone.
func jobConfiguration() string { return "{" + strings.Join(baseParts, ", ") + "}" }

// templateCases are pools whose template is not prefect-aws's own: older ones,
// and what users make of them.
var templateCases = []testCase{
	{
		name: "template of 2023", template: `{"job_configuration": {"command": "{{ command }}", "env": "{{ env }}", "labels": "{{ labels }}", "name": "{{ name }}", "aws_credentials": "{{ aws_credentials }}",
		"task_definition": {"containerDefinitions": [{"image": "{{ image }}", "name": "{{ container_name }}"}], "cpu": "{{ cpu }}", "family": "{{ family }}", "memory": "{{ memory }}", "executionRoleArn": "{{ execution_role_arn }}"},
		"task_run_request": {"launchType": "{{ launch_type }}", "cluster": "{{ cluster }}", "overrides": {"containerOverrides": [{"name": "{{ container_name }}", "command": "{{ command }}", "environment": "{{ env }}", "cpu": "{{ cpu }}", "memory": "{{ memory }}"}], "cpu": "{{ cpu }}", "memory": "{{ memory }}", "taskRoleArn": "{{ task_role_arn }}"}, "tags": "{{ labels }}", "taskDefinition": "{{ task_definition_arn }}"},
		"configure_cloudwatch_logs": "{{ configure_cloudwatch_logs }}", "cloudwatch_logs_options": "{{ cloudwatch_logs_options }}", "stream_output": "{{ stream_output }}", "task_start_timeout_seconds": "{{ task_start_timeout_seconds }}", "task_watch_poll_interval": "{{ task_watch_poll_interval }}", "auto_deregister_task_definition": "{{ auto_deregister_task_definition }}", "vpc_id": "{{ vpc_id }}", "container_name": "{{ container_name }}"},
		"variables": {"type": "object", "properties": {"launch_type": {"type": "string", "default": "FARGATE"}, "stream_output": {"type": "boolean"}, "task_start_timeout_seconds": {"type": "integer", "default": 300}, "task_watch_poll_interval": {"type": "number", "default": 5.0}, "configure_cloudwatch_logs": {"type": "boolean"}, "cloudwatch_logs_options": {"type": "object", "additionalProperties": {"type": "string"}}, "auto_deregister_task_definition": {"type": "boolean", "default": false}}}}`,
		run: `{"cpu": 512, "memory": 1024, "stream_output": true, "env": {"A": "1"}}`,
	},
	{name: "template without sizes", template: templateWith(`"task_run_request": {"launchType": "{{ launch_type }}", "overrides": {"containerOverrides": [{"name": "{{ container_name }}", "command": "{{ command }}", "environment": "{{ env }}"}], "taskRoleArn": "{{ task_role_arn }}"}, "tags": "{{ labels }}"}`), run: `{"cpu": 512}`},
	{name: "template without overrides", template: templateWith(`"task_run_request": {"launchType": "FARGATE"}`), run: `{"env": {"A": "1"}}`, mended: overrideMend},
	{name: "template with empty overrides", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "overrides": {"containerOverrides": []}}`), run: `{"env": {"A": "1"}}`, mended: overrideMend},
	{name: "template with an override of another container", template: templateWith(
		`"task_definition": {"containerDefinitions": [{"name": "prefect", "image": "i"}, {"name": "side", "image": "s", "essential": false}, {"name": "side2", "image": "s", "essential": false}]}`,
		`"task_run_request": {"launchType": "FARGATE", "overrides": {"containerOverrides": [{"name": "side", "command": "run 'it all'", "environment": {"S": "1", "N": null}}, {"name": "side2", "memory": 128}]}}`), mended: overrideMend},
	{name: "template with two overrides", template: templateWith(
		`"task_definition": {"containerDefinitions": [{"name": "side", "image": "s", "essential": false}, {"name": "prefect", "image": "i"}]}`,
		`"task_run_request": {"launchType": "FARGATE", "overrides": {"containerOverrides": [{"name": "side", "command": ["a", "b"], "environment": {"Z": "1", "N": null, "A": "2"}}, {"name": "prefect", "environment": [{"name": "OWN", "value": "o"}, {"name": "A", "value": "template"}]}]}}`), run: `{"env": {"A": "run"}}`},
	{name: "template with fixed env", template: templateWith(`"env": {"FIXED": "1", "A": "template"}`), run: `{"env": {"A": "run"}}`, deployment: `{"env": {"B": "deployment"}}`},
	{name: "template with fixed env and nothing else", template: templateWith(`"env": {"FIXED": "1", "A": "{{ image }}"}`)},
	{name: "template with default env", template: strings.Replace(templateWith(), `"env": {"type": "object"}`, `"env": {"type": "object", "default": {"D": "default", "A": "default"}}`, 1), deployment: `{"env": {"A": "deployment"}}`, run: `{"env": {"R": "run"}}`},
	{name: "template with default env and fixed env", template: strings.Replace(templateWith(`"env": {"FIXED": "1", "D": "template"}`), `"env": {"type": "object"}`, `"env": {"type": "object", "default": {"D": "default", "A": "default"}}`, 1), run: `{"env": {"R": "run"}}`},
	{name: "template with default env and dotted env", template: strings.Replace(templateWith(), `"env": {"type": "object"}`, `"env": {"type": "object", "default": {"D": "default", "A": "default"}}`, 1), run: `{"env.A": "dotted"}`},
	{name: "template with fixed tags", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "overrides": {"containerOverrides": [{"environment": "{{ env }}"}]}, "tags": [{"key": "fixed", "value": "1"}, {"key": "team", "value": "template"}]}`), run: `{"labels": {"team": "run"}}`},
	{name: "template with fixed tags as an object", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "overrides": {"containerOverrides": [{"environment": "{{ env }}"}]}, "tags": {"zone": "z", "fixed": "a b", "team": "template"}}`), run: `{"labels": {"team": "run"}}`},
	{name: "template with fixed labels", template: templateWith(`"labels": {"fixed": "1"}`)},
	{name: "template with other fields of RunTask", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "count": 1, "enableExecuteCommand": true, "enableECSManagedTags": true, "propagateTags": "TASK_DEFINITION", "group": "flows", "platformVersion": "1.4.0", "referenceId": "r", "startedBy": "me", "placementStrategy": [{"type": "spread", "field": "instanceId"}], "placementConstraints": [{"type": "memberOf", "expression": "attribute:x == y"}], "volumeConfigurations": [], "overrides": {"containerOverrides": [{"environment": "{{ env }}"}]}}`)},
	{name: "template with a client token", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "clientToken": "mine", "overrides": {"containerOverrides": [{"environment": "{{ env }}"}]}}`)},
	{name: "template with a network", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-x"], "securityGroups": ["sg"], "assignPublicIp": "DISABLED"}}, "overrides": {"containerOverrides": [{"environment": "{{ env }}"}]}}`)},
	{name: "template with a network, and a vpc", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-x"]}}, "overrides": {"containerOverrides": [{"environment": "{{ env }}"}]}}`), run: `{"vpc_id": "vpc-2"}`},
	{name: "template with inference and ephemeral overrides", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "overrides": {"ephemeralStorage": {"sizeInGiB": 50}, "executionRoleArn": "arn:e", "cpu": 2048, "memory": "{{ memory }}", "containerOverrides": [{"name": "prefect", "memoryReservation": 128, "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/x.env"}], "resourceRequirements": [{"type": "GPU", "value": "1"}]}]}}`), run: `{"memory": 4096}`},

	{name: "template with a rich definition", template: templateWith(`"task_definition": {"family": "rich", "cpu": "{{ cpu }}", "memory": 2048, "networkMode": "awsvpc", "requiresCompatibilities": ["EC2"], "executionRoleArn": "arn:e", "taskRoleArn": "arn:t", "pidMode": "task", "ipcMode": "none",
		"runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}, "ephemeralStorage": {"sizeInGiB": 40}, "enableFaultInjection": false,
		"volumes": [{"name": "efs", "efsVolumeConfiguration": {"fileSystemId": "fs-1", "rootDirectory": "/", "transitEncryption": "ENABLED"}}, {"name": "scratch", "host": {}}],
		"tags": [{"key": "owner", "value": "data"}],
		"containerDefinitions": [{"name": "prefect", "image": "{{ image }}", "essential": true, "entryPoint": [], "command": ["a"], "workingDirectory": "/app", "user": "1000", "privileged": false, "readonlyRootFilesystem": true, "stopTimeout": 120, "cpu": 0,
			"environment": [{"name": "Z", "value": "1"}, {"name": "A", "value": ""}], "environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/x.env"}], "secrets": [{"name": "S", "valueFrom": "arn:s"}],
			"mountPoints": [{"sourceVolume": "efs", "containerPath": "/data", "readOnly": false}], "portMappings": [{"containerPort": 8080, "protocol": "tcp"}], "ulimits": [{"name": "nofile", "softLimit": 1024, "hardLimit": 2048}],
			"healthCheck": {"command": ["CMD", "true"], "interval": 30, "retries": 3}, "linuxParameters": {"initProcessEnabled": true, "sharedMemorySize": 64}, "dockerLabels": {"a": "b"}, "dependsOn": [{"containerName": "side", "condition": "START"}],
			"logConfiguration": {"logDriver": "awsfirelens", "options": {"Name": "x"}}},
		{}, {"name": "side", "image": "s", "essential": false, "memoryReservation": 64, "firelensConfiguration": {"type": "fluentbit"}}]}`), run: `{"cpu": 1024, "image": "i"}`},
	{name: "template with a rich definition on EC2", template: templateWith(`"task_definition": {"networkMode": "bridge", "requiresCompatibilities": ["EC2"], "containerDefinitions": [{"name": "prefect", "image": "i", "memory": 300, "links": ["side"], "hostname": "h"}, {"name": "side", "image": "s", "memoryReservation": 64}]}`), run: `{"launch_type": "EC2"}`},
	{name: "template for EC2 without a launch type", template: templateWith(`"task_definition": {"networkMode": "bridge", "requiresCompatibilities": ["EC2"], "containerDefinitions": [{"name": "prefect", "image": "i"}]}`, `"task_run_request": {"tags": "{{ labels }}", "overrides": {"containerOverrides": [{"environment": "{{ env }}"}]}}`)},
	{name: "template for EC2 in awsvpc mode", template: templateWith(`"task_definition": {"networkMode": "awsvpc", "requiresCompatibilities": ["EC2"], "cpu": 100, "memory": 200, "containerDefinitions": [{"name": "prefect", "image": "i"}]}`), run: `{"launch_type": "EC2"}`},
	{name: "template without a launch type", template: templateWith(`"task_run_request": {"overrides": {"containerOverrides": [{"environment": "{{ env }}", "command": "{{ command }}"}]}}`), mended: launchTypeMend},
	{name: "template for EXTERNAL", template: templateWith(`"task_definition": {"networkMode": "bridge", "requiresCompatibilities": ["EXTERNAL"], "containerDefinitions": [{"name": "prefect", "image": "i"}]}`), run: `{"launch_type": "EXTERNAL"}`, mended: externalMend},
	{name: "template with sizes of text", template: templateWith(`"task_definition": {"cpu": "0.5 vCPU", "memory": "2 GB", "containerDefinitions": [{"image": "i"}]}`)},
	{name: "template with logs of its own", template: templateWith(`"configure_cloudwatch_logs": true`, `"task_definition": {"executionRoleArn": "arn:e", "containerDefinitions": [{"name": "prefect", "image": "i", "logConfiguration": {"logDriver": "json-file"}}, {"name": "side", "image": "s", "logConfiguration": {"logDriver": "json-file"}}]}`)},
	{name: "template with a nameless container", template: templateWith(`"task_definition": {"containerDefinitions": [{"image": "i"}, {"name": "side", "image": "s"}]}`)},
	{name: "template with other containers only", template: templateWith(`"task_definition": {"containerDefinitions": [{"name": "main", "image": "i"}, {"name": "side", "image": "s"}]}`), run: `{"env": {"A": "1"}}`},
	{name: "template with no containers", template: templateWith(`"task_definition": {"family": "bare"}`)},
	{name: "template with empty containers", template: templateWith(`"task_definition": {"containerDefinitions": [{}, {"image": "{{ nothing }}"}]}`)},
	{name: "template with secrets", template: templateWith(`"prefect_api_key_secret_arn": "arn:key"`, `"task_definition": {"executionRoleArn": "arn:e", "containerDefinitions": [{"name": "prefect", "image": "i", "secrets": [{"name": "PREFECT_API_KEY", "valueFrom": "arn:old"}, {"name": "OTHER", "valueFrom": "arn:o"}], "environment": [{"name": "PREFECT_API_KEY", "value": "clear"}, {"name": "KEEP", "value": "1"}]}]}`), env: map[string]string{"PREFECT_API_KEY": "pnu_0123456789"}},
	{name: "template with a definition by ARN", template: templateWith(`"task_run_request": {"taskDefinition": "shared:1", "launchType": "FARGATE", "overrides": {"containerOverrides": [{"environment": "{{ env }}"}]}}`), aws: sharedFamily},
	{name: "template with a definition by ARN alone", template: templateWith(`"task_definition": {}`, `"task_run_request": {"taskDefinition": "{{ task_definition_arn }}", "overrides": {"containerOverrides": [{"environment": "{{ env }}"}]}}`), run: `{"task_definition_arn": "odd:1"}`, aws: oddFamily},
	{name: "template with mixed text", template: templateWith(`"task_definition": {"family": "f-{{ team }}-{{ number }}", "containerDefinitions": [{"name": "prefect", "image": "{{ repo }}:{{ tag }}", "environment": [{"name": "N", "value": "{{ number }}/{{ flag }}/{{ none }}/{{ list }}/{{ map }}/{{ float }}"}]}]}`), run: `{"team": "data", "number": 7, "repo": "r", "flag": true, "none": null, "list": [1, "a'b", true, null], "map": {"k": [1.0, {}]}, "float": 1e16}`},
	{name: "template with paths", template: templateWith(`"task_definition": {"family": "{{ settings.family }}", "containerDefinitions": [{"name": "prefect", "image": "{{ settings.images[1].name }}"}]}`), run: `{"settings": {"family": "deep", "images": [{"name": "no"}, {"name": "yes"}]}}`},
	{name: "template without variables", template: `{"job_configuration": ` + jobConfiguration() + `}`, refused: true},
	{name: "template without properties", template: `{"job_configuration": ` + jobConfiguration() + `, "variables": {"type": "object"}}`, run: `{"launch_type": "FARGATE", "cpu": 256}`},
	{name: "template with a command of its own", template: templateWith(`"command": ["a", "b"]`), refused: true},
	{name: "template with a command in the override", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "overrides": {"containerOverrides": [{"name": "prefect", "command": ["a", "b"], "environment": "{{ env }}"}]}}`)},
	{name: "template with one variable twice", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "overrides": {"containerOverrides": [{"name": "prefect", "environment": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "PREFECT__FLOW_NAME", "value": "x"}]}]}}`)},
	{name: "template with one tag twice", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "tags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}], "overrides": {"containerOverrides": [{"environment": "{{ env }}"}]}}`), mended: tagsMend},
	{name: "template with tags of numbers", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "tags": [{"key": "a", "value": 1}], "overrides": {"containerOverrides": [{"environment": "{{ env }}"}]}}`), mended: nullTagsMend},
	{name: "template with an object for the definition's environment", template: templateWith(`"task_definition": {"containerDefinitions": [{"name": "prefect", "image": "i", "environment": "{{ env }}"}]}`), run: `{"env": {"A": "1"}}`, refused: true},
	{name: "template with a path in text", template: templateWith(`"task_definition": {"family": "f-{{ env.A }}-{{ labels.team }}{{ env.NOPE }}", "containerDefinitions": [{"name": "prefect", "image": "i"}]}`), run: `{"env": {"A": 1}, "labels": {"team": "t"}}`},
	{name: "template with odd braces", template: templateWith(`"task_definition": {"family": "a{{family}}b", "containerDefinitions": [{"name": "prefect", "image": "{{ not closed", "dockerLabels": {"a": "{{ two words }}", "b": "{{{ image }}}", "c": "{{ }}", "d": "}} {{", "e": "{{\tfamily\n}}"}}]}`), run: `{"family": "f", "image": "i"}`},
	{name: "template with unknown keys", template: templateWith(`"no_such_key": {"a": "{{ b }}"}`, `"stream_output": true`, `"task_start_timeout_seconds": 300`, `"task_watch_poll_interval": 5`)},
	{name: "template with nulls", template: templateWith(`"task_run_request": {"launchType": null, "cluster": null, "tags": null, "networkConfiguration": null}`), mended: nullTagsMend},
}
