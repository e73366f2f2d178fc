package cause

import "slices"

// callRules are refusals of requests, which do not change by themselves.
var callRules = slices.Concat(accessRules, networkRules, definitionRules)

var accessRules = []rule{
	{
		cause: "credentials_rejected", where: callOnly,
		codes:   []string{"unrecognizedclientexception", "invalidclienttokenid", "invalidsignatureexception", "authfailure"},
		any:     []string{"token included in the request is invalid"},
		verdict: Crashed,
		hint:    "Correct the aws_credentials of the work pool: AWS does not accept the worker's credentials.",
		says:    "The security token included in the request is invalid.",
	},
	{
		cause: "account_blocked", where: callOnly, codes: []string{"blockedexception"},
		any:     []string{"account is currently blocked", "account has been blocked"},
		verdict: Crashed,
		hint:    "Ask AWS Support to unblock the account.",
		says:    "Your AWS account has been blocked.",
	},
	{
		cause: "cluster_missing", where: callOnly, codes: []string{"clusternotfoundexception"},
		any:     []string{"cluster not found"},
		verdict: Crashed, of: Cluster,
		hint: "Set 'cluster' on the work pool to a cluster of the worker's region, which has none called %s.",
		says: "ClusterNotFoundException: Cluster not found.",
	},
	{
		cause: "service_linked_role_missing", where: callOnly,
		any:     []string{"unable to assume the service linked role"},
		verdict: Crashed,
		hint:    "Create it: aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com",
		says:    "Unable to assume the service linked role.",
	},
	{
		cause: "pass_role_denied", where: callOnly,
		any:     []string{"iam:passrole"},
		verdict: Crashed, of: PassedRole,
		hint: "Grant the worker's role iam:PassRole on %s: the worker may not pass the task's roles to ECS.",
		says: "… is not authorized to perform: iam:PassRole on resource: …",
	},
	{
		cause: "role_not_assumable", where: []Where{Call, Failures},
		any:     []string{"was unable to assume the role", "unable to assume the configured ecs infrastructure role"},
		verdict: Crashed, of: Role,
		hint: "Let ecs-tasks.amazonaws.com assume %s, in its trust policy.",
		says: "ECS was unable to assume the role '…' that was provided for this task.",
	},
	{
		cause: "role_invalid", where: callOnly,
		any:     []string{"role is not valid"},
		verdict: Crashed, of: Role,
		hint: "Write the whole ARN of %s into the job variables.",
		says: "Role is not valid",
	},
	{
		cause: "execution_role_missing", where: callOnly,
		any:     []string{"execution role arn", "'executionrolearn'"},
		verdict: Crashed,
		hint:    "Set execution_role_arn on the work pool: the task definition needs an execution role.",
		says:    "Fargate requires task definition to have execution role ARN to support ECR images.",
	},
	{
		cause: "action_denied", where: callOnly,
		codes:   []string{"accessdeniedexception", "accessdenied", "unauthorizedoperation"},
		any:     []string{"not authorized to perform"},
		verdict: Crashed, of: Action,
		hint: "Grant the worker's role %s.",
		says: "… is not authorized to perform: ecs:RunTask on resource: …",
	},
}

var networkRules = []rule{
	{
		cause:   "capacity_provider_missing",
		any:     []string{"capacity provider"},
		verdict: Crashed, of: CapacityProvider,
		hint: "Attach %s to the cluster.",
		says: "The specified capacity provider strategy cannot contain a capacity provider that is not associated with the cluster.",
	},
	{
		cause: "subnet_missing", codes: []string{"invalidsubnetid.notfound"},
		any:     []string{"subnet id '"},
		and:     []string{"does not exist"},
		verdict: Crashed, of: Subnet,
		hint: "Replace the subnet %s in the network configuration of the work pool.",
		says: "The subnet ID '…' does not exist",
	},
	{
		cause: "security_group_mismatch",
		any:   []string{"does not appear to belong to the same vpc"}, verdict: Crashed, of: SecurityGroup,
		hint: "Replace %s in the network configuration with one of the subnets' VPC.",
		says: "Security group … does not appear to belong to the same VPC as the input subnets.",
	},
	{
		cause: "security_group_missing", codes: []string{"invalidgroup.notfound"},
		any:     []string{"security group '"},
		and:     []string{"does not exist"},
		verdict: Crashed, of: SecurityGroup,
		hint: "Replace %s in the network configuration of the work pool.",
		says: "The security group '…' does not exist",
	},
	{
		cause: "network_configuration", where: callOnly,
		any: []string{
			"network configuration must be provided", "network configuration is not valid", "assign public ip is not supported", "subnets can have at most",
		},
		verdict: Crashed,
		hint:    "Correct network_configuration on the work pool.",
		says:    "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
	},
}

var definitionRules = []rule{
	{
		cause: "overrides_too_long", where: callOnly,
		any:     []string{"overrides length must be at most"},
		verdict: Crashed,
		hint:    "Put the run's large environment variables into a secret: ECS takes 8192 characters of overrides.",
		says:    "Container Overrides length must be at most 8192",
	},
	{
		cause: "container_unknown", where: callOnly,
		any:     []string{"is not a container in the taskdefinition"},
		verdict: Crashed, of: Container,
		hint: "Set container_name on the work pool to a container of the task definition, which has none called %s.",
		says: "Override for container named … is not a container in the TaskDefinition.",
	},
	{
		cause: "definition_inactive", where: callOnly,
		any:     []string{"taskdefinition is inactive"},
		verdict: Crashed,
		hint:    "Set task_definition_arn to a revision that is active: somebody deregistered this one.",
		says:    "TaskDefinition is inactive",
	},
	{
		cause: "definition_missing", where: callOnly,
		any:     []string{"taskdefinition not found", "unable to describe task definition"},
		verdict: Crashed,
		hint:    "Set task_definition_arn to a task definition of the worker's region.",
		says:    "Unable to describe task definition.",
	},
	{
		cause: "size_invalid", where: callOnly,
		any: []string{
			"no fargate configuration exists", "invalid 'cpu' setting", "that 'cpu' be defined at the task level", "is greater than for the task",
		},
		verdict: Crashed, of: Size,
		hint: "Set 'cpu' and 'memory' of the job variables to a pair that Fargate has, in place of %s.",
		says: "No Fargate configuration exists for given values",
	},
	{
		cause: "definition_invalid", where: callOnly,
		any:     []string{"should not be null or empty", "invalid arn syntax", "at least one of 'memory' or 'memoryreservation'"},
		verdict: Crashed,
		hint:    "Correct the task definition in the work pool's base job template.",
		says:    "Container.image should not be null or empty.",
	},
	{
		cause: "launch_type_mismatch", where: callOnly,
		any:     []string{"does not support launch_type", "platform version must be null", "not compatible with the selected compute strategy"},
		verdict: Crashed,
		hint:    "Set 'launch_type' on the work pool to one that the task definition supports.",
		says:    "Task definition does not support launch_type FARGATE.",
	},
	{
		cause: "platform_version_unknown", where: callOnly, codes: []string{"platformunknownexception"},
		any:     []string{"platform version does not exist"},
		verdict: Crashed,
		hint:    "Set 'platformVersion' of task_run_request to LATEST.",
		says:    "The specified platform version does not exist.",
	},
	{
		cause: "arn_format", where: callOnly,
		any:     []string{"new arn and resource id format must be enabled"},
		verdict: Crashed,
		hint:    "Opt in to the long ARN format of ECS in the account settings.",
		says:    "The new ARN and resource ID format must be enabled",
	},
}
