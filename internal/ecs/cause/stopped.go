package cause

import "slices"

// stoppedRules are tasks that never ran the user's code.
var stoppedRules = slices.Concat(imageRules, secretRules, logRules, startRules)

var unreachable = []string{
	"request canceled", "requestcanceled", "client.timeout", "i/o timeout", "context deadl", "context canceled", "connection refused",
	"connection reset", "no such host", "connection issue", "send request failed", "could not reach any registry endpoint",
}

var denied = []string{"accessdenied", "not authorized to perform", "access denied", "403 forbidden"}

var imageRules = []rule{
	{
		cause: "image_platform", where: stoppedOnly,
		any: []string{
			"does not contain descriptor matching platform", "failed to find a descriptor for platform", "no matching manifest", "no match for platform",
			"exec format error",
		},
		verdict: Crashed, of: Platform,
		hint: "Build the image for %s.",
		says: "image Manifest does not contain descriptor matching platform 'linux/amd64'",
	},
	{
		cause: "disk_full", where: stoppedOnly,
		any:     []string{"no space left on device", "not enough space on the disk"},
		verdict: Crashed,
		hint:    "Raise 'ephemeralStorage' in the task definition.",
		says:    "write …: no space left on device",
	},
	{
		cause: "registry_auth_denied", where: stoppedOnly,
		any:     []string{"cannotpullecrcontainererror", "ecr registry auth", "registry auth from amazon ecr", "perform: ecr:"},
		and:     denied,
		verdict: Crashed, of: Action,
		hint: "Grant %s to the execution role.",
		says: "… is not authorized to perform: ecr:GetAuthorizationToken",
	},
	{
		cause: "image_not_found", where: stoppedOnly,
		any:     []string{"cannotpull"},
		and:     []string{"manifest unknown", "name unknown", "api error (404)", ": not found", "not found in repository"},
		verdict: Crashed, of: Image,
		hint: "Set 'image' to a name that its registry has: %s is not there.",
		says: "failed to resolve ref …: not found",
	},
	{
		cause: "image_pull_denied", where: stoppedOnly,
		any:     []string{"cannotpull"},
		and:     append([]string{"no basic auth credentials"}, denied...),
		verdict: Crashed, of: Image,
		hint: "Let the execution role read %s.",
		says: "pull access denied, repository does not exist or may require authorization",
	},
	{
		cause: "registry_unreachable", where: stoppedOnly,
		any:     []string{"cannotpull", "ecr registry auth", "registry auth from amazon ecr"},
		and:     unreachable,
		verdict: GiveBack, of: Image,
		hint: "Give the task's subnets a route to the registry of %s.",
		says: "net/http: request canceled while waiting for connection",
	},
	{
		cause: "registry_login_failed", where: stoppedOnly,
		any:     []string{"failed to authorize", "failed to fetch anonymous token"},
		verdict: GiveBack, of: Image,
		hint: "Set 'repositoryCredentials' of the container for %s.",
		says: "failed to authorize: failed to fetch anonymous token",
	},
	{
		cause: "image_not_unpacked", where: stoppedOnly,
		any:     []string{"failed to extract layer", "failed to register layer"},
		verdict: GiveBack, of: Image,
		hint: "Push %s anew.",
		says: "failed to extract layer sha256:…",
	},
	{
		cause: "image_not_pulled", where: stoppedOnly,
		any:     []string{"cannotpull"},
		verdict: GiveBack, of: Image,
		hint: "Read what the registry says of %s in the message.",
		says: "CannotPullContainerError: …",
	},
}

var secretRules = []rule{
	{
		cause: "key_denied", where: stoppedOnly,
		any:     []string{"access to kms is not allowed", "perform: kms:decrypt"},
		verdict: Crashed, of: Secret,
		hint: "Grant the execution role kms:Decrypt on the key of %s.",
		says: "AccessDeniedException: Access to KMS is not allowed",
	},
	{
		cause: "parameter_denied", where: stoppedOnly,
		any:     []string{"secrets from ssm", "ssm parameter store", "perform: ssm:"},
		and:     denied,
		verdict: Crashed, of: Parameter,
		hint: "Grant the execution role ssm:GetParameters on %s.",
		says: "… is not authorized to perform: ssm:GetParameters on resource: …",
	},
	{
		cause: "parameter_missing", where: stoppedOnly,
		any:     []string{"invalid ssm parameters"},
		verdict: Crashed, of: Parameter,
		hint: "Create %s in the SSM Parameter Store of the task's region.",
		says: "invalid ssm parameters: …",
	},
	{
		cause: "secret_missing", where: stoppedOnly,
		any:     []string{"can't find the specified secret"},
		verdict: Crashed, of: Secret,
		hint: "Set the secret's ARN to one that Secrets Manager has: %s is not there.",
		says: "ResourceNotFoundException: Secrets Manager can't find the specified secret.",
	},
	{
		cause: "secret_denied", where: stoppedOnly,
		any:     []string{"secret from asm", "from secrets manager", "perform: secretsmanager:"},
		and:     denied,
		verdict: Crashed, of: Secret,
		hint: "Grant the execution role secretsmanager:GetSecretValue on %s.",
		says: "… is not authorized to perform: secretsmanager:GetSecretValue on resource: …",
	},
	{
		cause: "secret_not_json", where: stoppedOnly,
		any:     []string{"secret from asm", "from secrets manager"},
		and:     []string{"looking for beginning of value", "did not contain json key"},
		verdict: Crashed, of: Secret,
		hint: "Write %s as a JSON object that has the key of the task definition.",
		says: "invalid character … looking for beginning of value",
	},
	{
		cause: "secret_unreachable", where: stoppedOnly,
		any:     []string{"secret from asm", "from secrets manager", "secrets from ssm"},
		and:     unreachable,
		verdict: GiveBack, of: Secret,
		hint: "Give the task's subnets a route to the service that holds %s.",
		says: "unable to retrieve secret from asm: … context deadline exceeded",
	},
	{
		cause: "secret_not_read", where: stoppedOnly,
		any:     []string{"unable to pull secrets", "unable to retrieve secret"},
		verdict: GiveBack, of: Secret,
		hint: "Look up in CloudTrail what was answered to the execution role for %s.",
		says: "ResourceInitializationError: unable to pull secrets or registry auth: …",
	},
}

var logRules = []rule{
	{
		cause: "logs_unreachable", where: stoppedOnly,
		any:     []string{"validate logger args", "logging driver"},
		and:     []string{"connection issue", "requestcanceled", "context deadl", "i/o timeout"},
		verdict: GiveBack, of: LogGroup,
		hint: "Give the task's subnets a route to CloudWatch Logs for %s.",
		says: "failed to validate logger args: … There is a connection issue between the task and Amazon CloudWatch.",
	},
	{
		cause: "log_group_missing", where: stoppedOnly,
		any:     []string{"log group does not exist"},
		verdict: Crashed, of: LogGroup,
		hint: "Create %s.",
		says: "ResourceNotFoundException: The specified log group does not exist.",
	},
	{
		cause:   "logs_denied",
		any:     []string{"validate logger args", "logging driver"},
		and:     denied,
		verdict: Crashed, of: Role,
		hint: "Grant logs:CreateLogStream, logs:CreateLogGroup and logs:PutLogEvents to %s.",
		says: "failed to create Cloudwatch log stream: AccessDeniedException",
	},
	{
		cause: "logs_not_set_up", where: stoppedOnly,
		any:     []string{"validate logger args", "logging driver"},
		verdict: GiveBack, of: LogGroup,
		hint: "Check the 'logConfiguration' of the container against %s.",
		says: "failed to initialize logging driver: …",
	},
}

var startRules = []rule{
	{
		cause: "efs_path_missing", where: stoppedOnly,
		any:     []string{"efs utils"},
		and:     []string{"no such file or directory"},
		verdict: Crashed, of: FileSystem,
		hint: "Create the volume's root directory on %s.",
		says: "mounting …, reason given by server: No such file or directory",
	},
	{
		cause: "efs_not_mounted", where: stoppedOnly,
		any:     []string{"efs utils"},
		verdict: GiveBack, of: FileSystem,
		hint: "Create a mount target for %s in each of the task's subnets.",
		says: "failed to invoke EFS utils commands to set up EFS volumes",
	},
	{
		cause: "command_not_found", where: stoppedOnly,
		any:     []string{"cannotstartcontainererror", "oci runtime create failed"},
		and:     []string{"executable file not found", "no such file"},
		verdict: Crashed, of: Command,
		hint: "Put %s on the PATH of the image.",
		says: `exec: "prefect": executable file not found in $PATH`,
	},
	{
		cause: "subnet_full",
		any:   []string{"insufficientfreeaddressesinsubnet"}, // said of the subnet by EC2
		// The addresses come free again when other tasks end.
		verdict: Wait, of: Subnet,
		hint: "Add larger subnets beside %s.",
		says: "InsufficientFreeAddressesInSubnet",
	},
	{
		cause: "network_interface", where: stoppedOnly,
		any:     []string{"network interface", "failed to configure eni"},
		verdict: GiveBack, of: Subnet,
		hint: "Look at the free addresses of %s.",
		says: "Timeout waiting for network interface provisioning to complete.",
	},
	{
		cause: "storage_timeout", where: stoppedOnly,
		any:     []string{"waiting for ephemeralstorage"},
		verdict: GiveBack,
		hint:    "Ask for less 'ephemeralStorage' in the task definition.",
		says:    "Timeout waiting for EphemeralStorage provisioning to complete",
	},
	{
		cause: "container_not_started", where: stoppedOnly,
		any: []string{
			"cannotstartcontainererror", "containerruntimeerror", "containerruntimetimeouterror", "dockertimeouterror", "cannotcreatecontainererror",
			"cannotinspectcontainererror", "oci runtime create failed",
		},
		verdict: GiveBack, of: Image,
		hint: "Run %s on your own machine with the same command.",
		says: "CannotStartContainerError: …",
	},
	{
		cause: "start_error", where: stoppedOnly,
		any:     []string{"internalerror:"},
		verdict: GiveBack,
		hint:    "Ask AWS Support about the task's ARN.",
		says:    "InternalError: …",
	},
}
