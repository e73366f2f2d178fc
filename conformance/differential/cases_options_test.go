//go:build conformance

package differential

import "faber/internal/fake/fakeaws"

// optionCases go through the variables of prefect-aws's own template.
var optionCases = []testCase{
	{name: "nothing set"},
	{name: "run without a deployment", adhoc: true},
	{name: "pool without a template", template: noTemplate},

	{name: "cpu and memory", run: `{"cpu": 512, "memory": 4096}`},
	{name: "cpu and memory as text", deployment: `{"cpu": "256", "memory": "512"}`, mended: typesMend},
	{name: "cpu and memory of zero", run: `{"cpu": 0, "memory": 0}`, mended: typesMend},
	{name: "cpu and memory of null", deployment: `{"cpu": 512, "memory": 1024}`, run: `{"cpu": null, "memory": null}`, mended: typesMend},
	{name: "run over deployment", deployment: `{"cpu": 512, "memory": 2048, "image": "a"}`, run: `{"cpu": 1024}`},

	{name: "cpu and memory as fractions", run: `{"cpu": 512.0, "memory": 1024.0}`, mended: typesMend},
	{name: "image", run: `{"image": "registry.example/flows:1.2@sha256:0123"}`},
	{name: "image of null", run: `{"image": null}`, mended: imageMend},
	{name: "empty image", run: `{"image": ""}`, mended: imageMend},
	{name: "container name", run: `{"container_name": "flow"}`},
	{name: "container name of null", run: `{"container_name": null}`, mended: containerMend},
	{name: "family", run: `{"family": "my_family-1"}`},

	{name: "command", run: `{"command": "python -m prefect.engine"}`},
	{name: "command with quotes", run: `{"command": "sh -c 'echo \"a  b\" && exec prefect flow-run execute' \\\\x \"\""}`},
	{name: "command with a comment sign", run: `{"command": "echo a#b # c"}`},
	{name: "empty command", run: `{"command": ""}`},
	{name: "command of null", deployment: `{"command": "a"}`, run: `{"command": null}`},
	{name: "blank command", run: `{"command": "  "}`},

	{name: "cluster by name", run: `{"cluster": "blue"}`},
	{name: "cluster by ARN", run: `{"cluster": "arn:aws:ecs:eu-central-1:123456789012:cluster/blue"}`},
	{name: "empty cluster", run: `{"cluster": ""}`},
	{name: "empty texts", run: `{"cluster": "", "family": "", "task_role_arn": "", "execution_role_arn": "", "vpc_id": "", "cloudwatch_logs_prefix": "", "container_name": "prefect"}`},
	{name: "sizes that Fargate may have one day", run: `{"cpu": 65536, "memory": 524288}`},

	{name: "launch type FARGATE", run: `{"launch_type": "FARGATE"}`},
	{name: "launch type FARGATE_SPOT", run: `{"launch_type": "FARGATE_SPOT"}`},
	{name: "launch type EC2", run: `{"launch_type": "EC2"}`},
	{name: "launch type EC2 with sizes", run: `{"launch_type": "EC2", "cpu": 256, "memory": 512}`},
	{name: "launch type that does not exist", run: `{"launch_type": "LAMBDA"}`}, // AWS is to judge
	{name: "launch type EXTERNAL", run: `{"launch_type": "EXTERNAL"}`},
	{name: "launch type of null", run: `{"launch_type": null}`, mended: launchTypeMend},
	{name: "capacity providers", run: `{"capacity_provider_strategy": [{"capacityProvider": "spare", "weight": 2, "base": 1}, {"capacityProvider": "FARGATE", "weight": 1, "base": 0}]}`},
	{name: "capacity providers on EC2", run: `{"launch_type": "EC2", "capacity_provider_strategy": [{"capacityProvider": "asg", "weight": 1, "base": 0}]}`},
	{name: "capacity providers of EXTERNAL", run: `{"launch_type": "EXTERNAL", "capacity_provider_strategy": [{"capacityProvider": "cp", "weight": 1, "base": 0}]}`},
	{name: "capacity providers as text", run: `{"capacity_provider_strategy": [{"capacityProvider": "spare", "weight": "2", "base": "1"}]}`, mended: typesMend},
	{name: "no capacity providers", run: `{"capacity_provider_strategy": []}`},

	{name: "roles", run: `{"task_role_arn": "arn:aws:iam::123456789012:role/task", "execution_role_arn": "arn:aws:iam::123456789012:role/exec"}`},

	{name: "vpc", run: `{"vpc_id": "vpc-2"}`},
	{name: "vpc and network", run: `{"vpc_id": "vpc-1", "network_configuration": {"subnets": ["subnet-b"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}}`},
	{name: "vpc and network on EC2", run: `{"launch_type": "EC2", "vpc_id": "vpc-nope", "network_configuration": {"subnets": ["subnet-x"]}}`},
	{name: "vpc on EC2", run: `{"vpc_id": "vpc-2", "launch_type": "EC2"}`},
	{name: "vpc with many subnets", run: `{"vpc_id": "vpc-9"}`, aws: func(a *fakeaws.Server) {
		a.AddVPC("vpc-9", "subnet-z", "subnet-b", "subnet-a", "subnet-x", "subnet-c")
	}},

	{name: "logs", run: `{"configure_cloudwatch_logs": true, "execution_role_arn": "arn:aws:iam::123456789012:role/exec"}`},
	{name: "logs of an ad hoc run", adhoc: true, run: `{"configure_cloudwatch_logs": true, "execution_role_arn": "arn:aws:iam::123456789012:role/exec"}`},
	{name: "logs with a prefix", run: `{"configure_cloudwatch_logs": true, "execution_role_arn": "r", "cloudwatch_logs_prefix": "my prefix"}`},
	{name: "logs with options", run: `{"configure_cloudwatch_logs": true, "execution_role_arn": "r", "cloudwatch_logs_prefix": "p", "cloudwatch_logs_options": {"awslogs-group": "g", "awslogs-stream-prefix": "s", "mode": "non-blocking", "max-buffer-size": "25m"}}`},
	{name: "logs in the credentials' region", run: `{"configure_cloudwatch_logs": true, "execution_role_arn": "r", "aws_credentials": {"region_name": "us-west-2"}}`},
	{name: "logs switched off", run: `{"configure_cloudwatch_logs": false}`},

	{name: "credentials", run: `{"aws_credentials": {"aws_access_key_id": "AKIA", "aws_secret_access_key": "s", "aws_session_token": "t", "region_name": "us-east-1"}}`},
	{name: "credentials by role", run: `{"aws_credentials": {"assume_role_arn": "arn:aws:iam::123456789012:role/launcher", "region_name": "eu-west-1", "assume_role_kwargs": {"RoleSessionName": "launcher", "DurationSeconds": 900}}}`},
	{
		name: "credentials of a block", deployment: `{"aws_credentials": {"$ref": {"block_document_id": "<block:aws-credentials/prod>"}}}`,
		blocks: map[string]string{"aws-credentials/prod": `{"aws_access_key_id": "AKIA", "aws_secret_access_key": "s", "region_name": "ap-south-1", "aws_client_parameters": {"use_ssl": true, "verify": true}}`},
		run:    `{"configure_cloudwatch_logs": true, "execution_role_arn": "r"}`,
	},
	{name: "empty credentials", run: `{"aws_credentials": {}}`},

	{name: "deregister", run: `{"auto_deregister_task_definition": true}`},
	{name: "match latest revision, none there", run: `{"match_latest_revision_in_family": true}`},
	{name: "match latest revision, another there", run: `{"match_latest_revision_in_family": true, "family": "shared", "cpu": 512}`, aws: sharedFamily},
	{name: "match latest revision, the same there", run: `{"match_latest_revision_in_family": true, "family": "shared", "auto_deregister_task_definition": true}`, aws: sharedFamily},
	{name: "key secret", run: `{"execution_role_arn": "arn:aws:iam::123456789012:role/exec", "prefect_api_key_secret_arn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:key"}`, env: map[string]string{"PREFECT_API_KEY": "pnu_0123456789"}},
	{name: "auth string secret", run: `{"execution_role_arn": "arn:aws:iam::123456789012:role/exec", "prefect_api_auth_string_secret_arn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:auth"}`, env: map[string]string{"PREFECT_API_AUTH_STRING": "admin:pass"}},
	{name: "auth string secret without a string", run: `{"execution_role_arn": "arn:aws:iam::123456789012:role/exec", "prefect_api_auth_string_secret_arn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:auth"}`},
	{name: "key secret without a key", run: `{"execution_role_arn": "arn:aws:iam::123456789012:role/exec", "prefect_api_key_secret_arn": "arn:k"}`, mended: keyMend},
	{name: "both secrets", run: `{"execution_role_arn": "arn:aws:iam::123456789012:role/exec", "prefect_api_key_secret_arn": "arn:k", "prefect_api_auth_string_secret_arn": "arn:a"}`, env: map[string]string{"PREFECT_API_KEY": "pnu_0123456789", "PREFECT_API_AUTH_STRING": "admin:pass"}},

	{name: "definition by ARN", run: `{"task_definition_arn": "arn:aws:ecs:eu-central-1:123456789012:task-definition/shared:1", "cpu": 512, "image": "ignored"}`, aws: sharedFamily},
	{name: "definition by family", run: `{"task_definition_arn": "shared"}`, aws: twoRevisions},
	{name: "definition by family and revision", run: `{"task_definition_arn": "shared:1", "command": "x"}`, aws: twoRevisions},
	{name: "definition with another container", run: `{"task_definition_arn": "odd:1", "env": {"A": "1"}}`, aws: oddFamily},
	{name: "definition with another container, named", run: `{"task_definition_arn": "odd:1", "container_name": "second", "env": {"A": "1"}}`, aws: oddFamily},
	{name: "definition and key secret", run: `{"task_definition_arn": "shared:1", "prefect_api_key_secret_arn": "arn:k"}`, aws: sharedFamily, env: map[string]string{"PREFECT_API_KEY": "pnu_0123456789"}},
	{name: "definition and logs", run: `{"task_definition_arn": "logging:1", "configure_cloudwatch_logs": true}`, aws: loggingFamily},
	{name: "definition and deregister", run: `{"task_definition_arn": "shared:1", "auto_deregister_task_definition": true}`, aws: sharedFamily},
}

// sharedFamily has one revision of family "shared", equal to what the template's
// defaults make.
func sharedFamily(a *fakeaws.Server) {
	a.PutDefinition(map[string]any{
		"family": "shared", "cpu": "1024", "memory": "2048", "networkMode": "awsvpc",
		"requiresCompatibilities": []any{"FARGATE"},
		"containerDefinitions":    []any{map[string]any{"name": "prefect", "image": "prefecthq/prefect:3.8.8-python3.11", "essential": true, "environment": []any{}, "mountPoints": []any{}, "cpu": 0}},
		"compatibilities":         []any{"EC2", "FARGATE"}, "volumes": []any{}, "placementConstraints": []any{},
	})
}

// loggingFamily has an execution role and logs of its own.
func loggingFamily(a *fakeaws.Server) {
	a.PutDefinition(map[string]any{
		"family": "logging", "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": []any{"FARGATE"}, "executionRoleArn": "arn:e",
		"containerDefinitions": []any{map[string]any{"name": "prefect", "image": "i"}},
	})
}

func twoRevisions(a *fakeaws.Server) {
	sharedFamily(a)
	sharedFamily(a)
}

// oddFamily has no container called prefect.
func oddFamily(a *fakeaws.Server) {
	a.PutDefinition(map[string]any{
		"family": "odd", "cpu": "256", "memory": "512", "networkMode": "awsvpc", "requiresCompatibilities": []any{"EC2", "FARGATE"},
		"containerDefinitions": []any{
			map[string]any{"name": "first", "image": "a", "memory": 512},
			map[string]any{"name": "second", "image": "b", "memory": 512},
		},
	})
}
