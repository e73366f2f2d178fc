//go:build conformance

package differential

import "faber/internal/fake/fakeaws"

// refusalCases are those that both workers give up, and how they say it.
var refusalCases = []testCase{
	{name: "network without vpc", run: `{"network_configuration": {"subnets": ["subnet-a"]}}`, refused: true},
	{name: "logs without a role", run: `{"configure_cloudwatch_logs": true}`, refused: true},
	{name: "log options without logs", run: `{"cloudwatch_logs_options": {"a": "b"}}`, refused: true},
	{name: "log options of numbers", run: `{"configure_cloudwatch_logs": true, "execution_role_arn": "r", "cloudwatch_logs_options": {"a": 1}}`, refused: true},
	{name: "labels of numbers", run: `{"labels": {"a": 1}}`, refused: true},
	{name: "label of null", run: `{"labels": {"a": null}}`, refused: true},
	{name: "env that is a list", run: `{"env": [{"name": "A", "value": "1"}]}`, refused: true},
	{name: "env that is text", run: `{"env": "A=1"}`, refused: true},
	{name: "command that is a list", run: `{"command": ["a", "b"]}`, refused: true},
	{name: "command with an open quote", run: `{"command": "echo 'a"}`, refused: true},
	{name: "flag that is no flag", run: `{"auto_deregister_task_definition": "perhaps"}`, refused: true},
	{name: "credentials that are text", run: `{"aws_credentials": "prod"}`, refused: true},
	{name: "secrets without a role", run: `{"prefect_api_auth_string_secret_arn": "arn:a"}`, refused: true},
	{name: "definition that does not exist", run: `{"task_definition_arn": "nope:3"}`, refused: true},
	{name: "definition that cannot run on Fargate", run: `{"task_definition_arn": "old:1"}`, refused: true, aws: func(a *fakeaws.Server) {
		a.PutDefinition(map[string]any{"family": "old", "requiresCompatibilities": []any{"EC2"}, "containerDefinitions": []any{map[string]any{"name": "prefect", "image": "i"}}})
	}},
	{name: "definition in bridge mode", run: `{"task_definition_arn": "old:1"}`, refused: true, aws: func(a *fakeaws.Server) {
		a.PutDefinition(map[string]any{"family": "old", "networkMode": "bridge", "containerDefinitions": []any{map[string]any{"name": "prefect", "image": "i"}}})
	}},
	{name: "definition without a role, with logs", run: `{"task_definition_arn": "shared:1", "configure_cloudwatch_logs": true}`, refused: true, aws: sharedFamily},
	{name: "template without essential containers", template: templateWith(`"task_definition": {"containerDefinitions": [{"name": "a", "image": "i", "essential": false}, {"name": "b", "essential": false}]}`), refused: true},
	{name: "template without a definition", template: templateWith(`"task_definition": {}`), refused: true},
	{name: "template in host mode", template: templateWith(`"task_definition": {"networkMode": "host", "containerDefinitions": [{"name": "prefect", "image": "i"}]}`), refused: true},
	{name: "template without the named container", template: templateWith(`"task_definition": {"containerDefinitions": [{"name": "a", "image": "i"}]}`, `"container_name": "flow"`), refused: true},
	{name: "template with an unknown field of the definition", template: templateWith(`"task_definition": {"colour": "blue", "containerDefinitions": [{"name": "prefect", "image": "i"}]}`), refused: true},
	{name: "template with an unknown field of RunTask", template: templateWith(`"task_run_request": {"launchType": "FARGATE", "colour": "blue"}`), refused: true},
	{name: "template with a wrong type", template: templateWith(`"task_definition": {"containerDefinitions": [{"name": "prefect", "image": "i", "portMappings": [{"containerPort": "80"}]}]}`), mended: typesMend},
	{name: "block that does not exist", run: `{"env": {"A": "{{ prefect.blocks.secret.nope }}"}}`, refused: true},
	{name: "block without that field", run: `{"env": {"A": "{{ prefect.blocks.secret.x.nope.deeper }}"}}`, blocks: map[string]string{"secret/x": `{"a": 1}`}, refused: true},
	{name: "block that is an object, in text", run: `{"env": {"A": "x{{ prefect.blocks.secret.x }}"}}`, blocks: map[string]string{"secret/x": `{"a": 1, "b": 2}`}, refused: true},
	{name: "reference to a block that does not exist", run: `{"aws_credentials": {"$ref": {"block_document_id": "<block:aws-credentials/nope>"}}}`, refused: true},

	{name: "cluster that does not exist", run: `{"cluster": "nope"}`, refused: true},
	{name: "vpc that does not exist", run: `{"vpc_id": "vpc-nope"}`, refused: true},
	{name: "vpc without subnets", run: `{"vpc_id": "vpc-3"}`, refused: true, aws: func(a *fakeaws.Server) { a.AddVPC("vpc-3") }},
	{name: "no default vpc", refused: true, aws: func(a *fakeaws.Server) { a.DefaultVPC("") }},
	{name: "network without subnets", run: `{"vpc_id": "vpc-1", "network_configuration": {"securityGroups": ["sg-1"]}}`, refused: true},
	{name: "network with an unknown field", run: `{"vpc_id": "vpc-1", "network_configuration": {"subnets": ["subnet-a"], "subnet": "x"}}`, refused: true},
	{name: "subnets of another vpc", run: `{"vpc_id": "vpc-1", "network_configuration": {"subnets": ["subnet-c", "subnet-a"]}}`, refused: true},
	{name: "registration denied", refused: true, aws: func(a *fakeaws.Server) {
		a.Fail("RegisterTaskDefinition", fakeaws.Fault{Code: "AccessDeniedException", Message: "User: x is not authorized to perform: ecs:RegisterTaskDefinition", Times: -1})
	}},
	{name: "registration refused", refused: true, aws: func(a *fakeaws.Server) {
		a.Fail("RegisterTaskDefinition", fakeaws.Fault{Code: "ClientException", Message: "Invalid 'cpu' setting for task.", Times: -1})
	}},
	{name: "launch denied", refused: true, aws: func(a *fakeaws.Server) {
		a.Fail("RunTask", fakeaws.Fault{Code: "AccessDeniedException", Message: "User: x is not authorized to perform: ecs:RunTask", Times: -1})
	}},
	{name: "launch into a wrong network", refused: true, aws: func(a *fakeaws.Server) {
		a.Fail("RunTask", fakeaws.Fault{Code: "InvalidParameterException", Message: "The subnet ID 'subnet-x' does not exist", Times: -1})
	}},
	{name: "launch with a wrong parameter", refused: true, aws: func(a *fakeaws.Server) {
		a.Fail("RunTask", fakeaws.Fault{Code: "InvalidParameterException", Message: "No Fargate configuration exists for given values.", Times: -1})
	}},
	{name: "launch with a wrong capacity provider", refused: true, aws: func(a *fakeaws.Server) {
		a.Fail("RunTask", fakeaws.Fault{Code: "InvalidParameterException", Message: "The specified capacity provider was not found.", Times: -1})
	}},
	{name: "launch that fails for a reason", refused: true, aws: func(a *fakeaws.Server) { a.Failures(fakeaws.Failure{ARN: "arn:x", Reason: "ATTRIBUTE"}) }},
}
