################################################################################
# General
################################################################################

variable "name" {
  description = "Name of the stack. Every resource is named after it; it is also the value of the tag `faber:stack`"
  type        = string
  default     = "faber"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name)) && !startswith(var.name, "sg-")
    error_message = "name must be 2 to 24 lower-case letters, digits and hyphens, start with a letter, not end with a hyphen and not start with \"sg-\"."
  }
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
  nullable    = false
}

################################################################################
# Prefect
################################################################################

variable "work_pool_name" {
  description = "Prefect work pool that the worker serves"
  type        = string
  nullable    = false

  validation {
    condition     = trimspace(var.work_pool_name) != "" && !can(regex("[/%&><]", var.work_pool_name))
    error_message = "work_pool_name must not be empty and, as Prefect demands, must not contain / % & > <."
  }
}

variable "prefect_api_url" {
  description = "Full URL of the Prefect API, for a self-hosted server. Leave null for Prefect Cloud: the worker then builds the URL from the account and workspace ids in the secret"
  type        = string
  default     = null

  validation {
    condition     = var.prefect_api_url == null || can(regex("^https?://[^/]+", var.prefect_api_url))
    error_message = "prefect_api_url must start with http:// or https://."
  }
}

variable "prefect_cloud_api_url" {
  description = "Root of the Prefect Cloud API. Null means `https://api.prefect.cloud/api`"
  type        = string
  default     = null

  validation {
    condition     = var.prefect_cloud_api_url == null || can(regex("^https?://[^/]+", var.prefect_cloud_api_url))
    error_message = "prefect_cloud_api_url must start with http:// or https://."
  }
}

################################################################################
# Credentials
################################################################################

variable "create_secret" {
  description = "Whether to create the Secrets Manager secret that holds the Prefect credentials. With false, `prefect_secret_arn` names an existing one"
  type        = bool
  default     = true
  nullable    = false
}

variable "prefect_secret_arn" {
  description = "Full ARN of an existing secret whose value is a JSON object with the keys in `prefect_secret_keys`. Needs `create_secret = false`. Null together with `create_secret = false` means that the API asks for no credentials"
  type        = string
  default     = null

  validation {
    condition     = var.prefect_secret_arn == null || can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+-[A-Za-z0-9]{6}$", var.prefect_secret_arn))
    error_message = "prefect_secret_arn must be a full secret ARN, with the six random characters that Secrets Manager puts at its end."
  }

  validation {
    condition     = !(var.create_secret && var.prefect_secret_arn != null)
    error_message = "prefect_secret_arn is only used with create_secret = false."
  }

  validation {
    condition     = var.create_secret || var.prefect_secret_arn != null || var.prefect_api_url != null
    error_message = "Prefect Cloud needs credentials: give prefect_secret_arn, or leave create_secret = true."
  }
}

variable "prefect_secret_keys" {
  description = "Keys of the secret that become environment variables of the worker. A self-hosted server with basic auth wants `[\"PREFECT_API_AUTH_STRING\"]`"
  type        = set(string)
  default     = ["PREFECT_API_KEY", "PREFECT_ACCOUNT_ID", "PREFECT_WORKSPACE_ID"]
  nullable    = false

  validation {
    condition     = length(setsubtract(var.prefect_secret_keys, ["PREFECT_API_KEY", "PREFECT_ACCOUNT_ID", "PREFECT_WORKSPACE_ID", "PREFECT_API_AUTH_STRING"])) == 0
    error_message = "prefect_secret_keys may hold PREFECT_API_KEY, PREFECT_ACCOUNT_ID, PREFECT_WORKSPACE_ID and PREFECT_API_AUTH_STRING."
  }
}

variable "manage_secret_value" {
  description = "Whether Terraform writes the value of the created secret, from `prefect_credentials`. With false the secret is created empty and somebody fills it afterwards (`faber secret put` does); the service stays at 0 tasks until `secret_value_ready` says that this was done"
  type        = bool
  default     = false
  nullable    = false
}

variable "prefect_credentials" {
  description = "Value of the secret; its attributes become the JSON keys of the same name in capitals. Never stored in plan or state. Needed at every plan and apply while `manage_secret_value` is true, though only sent when `prefect_credentials_version` changes"
  type = object({
    prefect_api_key         = optional(string)
    prefect_account_id      = optional(string)
    prefect_workspace_id    = optional(string)
    prefect_api_auth_string = optional(string)
  })
  default   = null
  ephemeral = true
}

variable "prefect_credentials_version" {
  description = "Raise it to have changed `prefect_credentials` written to the secret: Terraform keeps no copy to compare with"
  type        = number
  default     = 1
  nullable    = false
}

variable "secret_value_ready" {
  description = "Set to true once the value of a secret that Terraform does not manage was put in. Until then the service runs 0 tasks, since each would fail to start"
  type        = bool
  default     = false
  nullable    = false
}

variable "secret_name" {
  description = "Name of the created secret. Null means a unique name that starts with `<name>-prefect-`, which leaves no reserved name behind after a destroy"
  type        = string
  default     = null
}

variable "secret_kms_key_arn" {
  description = "Customer managed KMS key of the secret, created or existing. Null means the key that AWS manages"
  type        = string
  default     = null
}

variable "secret_recovery_window_in_days" {
  description = "Days in which a destroyed secret can be brought back: 0 (gone at once) or 7 to 30"
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.secret_recovery_window_in_days == 0 || (var.secret_recovery_window_in_days >= 7 && var.secret_recovery_window_in_days <= 30)
    error_message = "secret_recovery_window_in_days must be 0 or 7 to 30."
  }
}

variable "secret_reader_arns" {
  description = "Roles and users that may read the value of the created secret beside the stack's own roles, with `*` as wildcard: a policy on the secret denies it to everybody else. `[]` leaves it to the stack alone. Null means no policy: then IAM decides, as for any secret. Who plans with `modules/secret-check`, or applies with `manage_secret_value = true`, has to be among them"
  type        = list(string)
  default     = null

  validation {
    condition     = alltrue([for arn in coalesce(var.secret_reader_arns, []) : can(regex("^arn:[^:]+:iam::[0-9*]+:(role|user|root)", arn))])
    error_message = "secret_reader_arns holds ARNs of IAM roles and users, such as arn:aws:iam::123456789012:role/platform-*. Of an assumed role it takes the role's own ARN, not that of the session."
  }

  validation {
    condition     = var.secret_reader_arns == null || try(length(var.secret_reader_arns) > 0, false) || !var.manage_secret_value
    error_message = "secret_reader_arns is empty while manage_secret_value is true: version 5 of the provider reads the value back at each refresh, and the next plan would be denied. Name the role that runs Terraform."
  }
}

################################################################################
# Network
################################################################################

variable "create_vpc" {
  description = "Whether to create a VPC. With false, `vpc_id` and `private_subnet_ids` name an existing one"
  type        = bool
  default     = true
  nullable    = false
}

variable "vpc_id" {
  description = "Existing VPC, with `create_vpc = false`"
  type        = string
  default     = null

  validation {
    condition     = var.create_vpc || var.vpc_id != null
    error_message = "vpc_id is needed with create_vpc = false."
  }
}

variable "private_subnet_ids" {
  description = "Existing subnets for the worker and the flow runs, with `create_vpc = false`. They need a way to the Prefect API, to ECR or the image registry, and to the AWS APIs"
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = var.create_vpc || length(var.private_subnet_ids) > 0
    error_message = "private_subnet_ids must name at least one subnet with create_vpc = false."
  }
}

variable "vpc_cidr" {
  description = "IPv4 range of the created VPC, /16 to /20"
  type        = string
  default     = "10.42.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 20, false)
    error_message = "vpc_cidr must be an IPv4 range from /16 to /20, such as 10.42.0.0/16."
  }
}

variable "azs" {
  description = "Availability zones of the created VPC. Empty means the first `az_count` of the region that run Fargate. Zones may be added and removed anywhere in the list, but for the first: it holds the NAT gateway of `nat_mode = \"single\"`"
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.azs) <= 6 && length(distinct(var.azs)) == length(var.azs)
    error_message = "azs must be at most 6 different availability zones."
  }

  validation {
    condition     = alltrue([for az in var.azs : can(regex("^[a-z]+(-[a-z]+)+-[0-9]+[a-o]$", az))])
    error_message = "azs must be names of availability zones such as eu-central-1a: neither ids (euc1-az1) nor Local Zones, which run no Fargate."
  }
}

variable "az_count" {
  description = "Number of availability zones of the created VPC, used when `azs` is empty"
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = contains([1, 2, 3, 4, 5, 6], var.az_count)
    error_message = "az_count must be 1 to 6."
  }
}

variable "nat_mode" {
  description = "NAT gateways of the created VPC: `none` (the private subnets have no way out: for an API inside the VPC, or with routes of your own), `single` (one for all zones) or `per_az`. In an existing VPC it makes none and says what `verify` expects there: `none` means endpoints instead of a default route"
  type        = string
  default     = "single"
  nullable    = false

  validation {
    condition     = contains(["none", "single", "per_az"], var.nat_mode)
    error_message = "nat_mode must be \"none\", \"single\" or \"per_az\"."
  }
}

variable "enable_s3_endpoint" {
  description = "Whether to make the gateway endpoint for S3, through which image layers come. It is free. Null means: in a created VPC, and wherever `enable_vpc_endpoints` is on"
  type        = bool
  default     = null
}

variable "enable_vpc_endpoints" {
  description = "Whether to make interface endpoints, through which tasks reach AWS without NAT gateway. Each costs by the hour in each zone"
  type        = bool
  default     = false
  nullable    = false
}

variable "vpc_endpoints" {
  description = "Services that get an interface endpoint, by the last part of their name, such as `ecr.api`. Null means those that this stack needs"
  type        = list(string)
  default     = null

  validation {
    condition     = var.vpc_endpoints == null ? true : alltrue([for service in var.vpc_endpoints : can(regex("^[a-z0-9][a-z0-9.-]*$", service)) && !startswith(service, "com.") && !contains(["s3", "dynamodb"], service)])
    error_message = "vpc_endpoints takes the last part of the name of services with an interface endpoint, such as \"ecr.api\" or \"logs\". S3 has a gateway endpoint of its own: enable_s3_endpoint."
  }
}

variable "enable_flow_logs" {
  description = "Whether the created VPC writes flow logs to CloudWatch. Costs per GB; an existing VPC's are its owner's affair"
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = var.create_vpc || !var.enable_flow_logs
    error_message = "enable_flow_logs is for a created VPC (create_vpc = true)."
  }
}

variable "create_flow_logs_role" {
  description = "Whether to create the role with which the VPC writes its flow logs"
  type        = bool
  default     = true
  nullable    = false
}

variable "flow_logs_role_arn" {
  description = "Existing role of the flow logs, with `create_flow_logs_role = false`"
  type        = string
  default     = null

  validation {
    condition     = !var.enable_flow_logs || var.create_flow_logs_role || var.flow_logs_role_arn != null
    error_message = "flow_logs_role_arn is needed with create_flow_logs_role = false."
  }
}

variable "expected_flow_runs" {
  description = "Flow runs expected to run at a time. Each takes an address of a private subnet, and a plan fails whose subnets have too few"
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.expected_flow_runs >= 0 && floor(var.expected_flow_runs) == var.expected_flow_runs
    error_message = "expected_flow_runs must be a whole number, 0 or more."
  }
}

variable "verify" {
  description = "Whether each plan asks AWS if the private subnets still have their way out and the roles the trust of ECS, and fails if not. Off for one apply, it lets Terraform put right what was changed by hand"
  type        = bool
  default     = true
  nullable    = false
}

variable "flow_run_egress_rules" {
  description = "What flow runs may reach. The port of the Prefect API is always open to them, nothing is open to the outside"
  type = map(object({
    description = optional(string)
    ip_protocol = optional(string, "tcp")
    from_port   = optional(number)
    to_port     = optional(number)
    cidr_ipv4   = optional(string, "0.0.0.0/0")
  }))
  default = {
    https = { description = "HTTPS", from_port = 443, to_port = 443 }
  }
  nullable = false

  validation {
    condition     = alltrue([for rule in var.flow_run_egress_rules : rule.ip_protocol == "-1" || (rule.from_port != null && rule.to_port != null)])
    error_message = "Each of flow_run_egress_rules needs from_port and to_port, unless ip_protocol is \"-1\"."
  }

  validation {
    condition     = alltrue([for rule in var.flow_run_egress_rules : can(cidrhost(rule.cidr_ipv4, 0))])
    error_message = "cidr_ipv4 of each of flow_run_egress_rules must be an IPv4 range."
  }
}

################################################################################
# Worker
################################################################################

variable "image" {
  description = "Container image of the worker: faber at `/faber`, which is also its entry point"
  type        = string
  nullable    = false

  validation {
    condition     = trimspace(var.image) != ""
    error_message = "image must not be empty."
  }
}

variable "cpu" {
  description = "CPU units of the worker task: 256, 512, 1024, 2048 or 4096"
  type        = number
  default     = 256
  nullable    = false

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096], var.cpu)
    error_message = "cpu must be one of 256, 512, 1024, 2048, 4096."
  }
}

variable "memory" {
  description = "Memory of the worker task in MiB, as Fargate pairs it with `cpu`"
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition = contains(lookup({
      "256"  = [512, 1024, 2048]
      "512"  = [for gib in range(1, 5) : gib * 1024]
      "1024" = [for gib in range(2, 9) : gib * 1024]
      "2048" = [for gib in range(4, 17) : gib * 1024]
      "4096" = [for gib in range(8, 31) : gib * 1024]
    }, tostring(var.cpu), []), var.memory)
    error_message = "Fargate does not pair this memory with this cpu: 256 takes 512, 1024, 2048; 512 takes 1 to 4 GiB; 1024 takes 2 to 8; 2048 takes 4 to 16; 4096 takes 8 to 30."
  }
}

variable "cpu_architecture" {
  description = "Processor of the worker, the tick and, unless `flow_run_cpu_architecture` says otherwise, flow runs: `X86_64` or `ARM64`. The images must be built for it"
  type        = string
  default     = "X86_64"
  nullable    = false

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "cpu_architecture must be \"X86_64\" or \"ARM64\"."
  }
}

variable "desired_count" {
  description = "Number of worker tasks. Any number serves the same pool together; 0 pauses it"
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.desired_count >= 0 && floor(var.desired_count) == var.desired_count
    error_message = "desired_count must be a whole number, 0 or more."
  }
}

variable "worker_environment" {
  description = "Further environment variables of the worker. They stand in the task definition in plain text: credentials belong in the secret"
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setintersection(keys(var.worker_environment), ["PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_ACCOUNT_ID", "PREFECT_WORKSPACE_ID"])) == 0
    error_message = "worker_environment must not hold PREFECT_API_KEY, PREFECT_API_AUTH_STRING, PREFECT_ACCOUNT_ID or PREFECT_WORKSPACE_ID: they come from the secret."
  }
}

variable "stop_timeout" {
  description = "Seconds between SIGTERM and SIGKILL when a worker task is stopped, 2 to 120"
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.stop_timeout >= 2 && var.stop_timeout <= 120
    error_message = "stop_timeout must be 2 to 120."
  }
}

variable "wait_for_steady_state" {
  description = "Whether apply waits until the service runs its tasks. Off, since only Prefect knows whether the worker is online, which proves more"
  type        = bool
  default     = false
  nullable    = false
}

variable "enable_task_events" {
  description = "Whether ECS's task state changes are sent to a queue that the worker reads. Without it the worker learns of an ended task by asking, some seconds later"
  type        = bool
  default     = true
  nullable    = false
}

variable "container_insights" {
  description = "Container Insights of the cluster: `disabled`, `enabled` or `enhanced`. Costs per metric"
  type        = string
  default     = "disabled"
  nullable    = false

  validation {
    condition     = contains(["disabled", "enabled", "enhanced"], var.container_insights)
    error_message = "container_insights must be \"disabled\", \"enabled\" or \"enhanced\"."
  }
}

variable "log_retention_in_days" {
  description = "Days for which CloudWatch keeps the logs of the worker and of the flow runs; 0 means for ever"
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_in_days)
    error_message = "log_retention_in_days must be one of the periods that CloudWatch Logs knows: 0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

################################################################################
# Metrics of the worker, and its work pool
################################################################################

variable "metrics_transport" {
  description = "How the worker publishes its CloudWatch metrics: `emf` (a line of its log a minute, out of which CloudWatch takes them; needs no further right), `put_metric_data` (an API call a minute) or `none`"
  type        = string
  default     = "emf"
  nullable    = false

  validation {
    condition     = contains(["emf", "put_metric_data", "none"], var.metrics_transport)
    error_message = "metrics_transport must be \"emf\", \"put_metric_data\" or \"none\"."
  }
}

variable "metrics_namespace" {
  description = "CloudWatch namespace of the worker's metrics"
  type        = string
  default     = "Faber"
  nullable    = false

  validation {
    condition     = can(regex("^[0-9A-Za-z._/#:-]{1,255}$", var.metrics_namespace)) && !can(regex("^(AWS/|:)", var.metrics_namespace))
    error_message = "metrics_namespace must be 1 to 255 letters, digits and . - _ / # :, and must not begin with \"AWS/\", which is AWS's own, or with a colon."
  }
}

variable "work_pool_template" {
  description = "Who points the work pool at this stack: `leave` (somebody sets the output `base_job_template` on it) or `worker` (the worker does at its start: it creates the pool if need be, and sets the defaults of its job variables, nothing else)"
  type        = string
  default     = "leave"
  nullable    = false

  validation {
    condition     = contains(["leave", "worker"], var.work_pool_template)
    error_message = "work_pool_template must be \"leave\" or \"worker\"."
  }
}

################################################################################
# Flow runs: what the base job template says unless a deployment says otherwise
################################################################################

variable "flow_run_image" {
  description = "Default image of flow runs. Null leaves it to the worker"
  type        = string
  default     = null
}

variable "flow_run_cpu" {
  description = "Default CPU units of flow runs. Null leaves it to the worker (1024)"
  type        = number
  default     = null
}

variable "flow_run_memory" {
  description = "Default memory of flow runs in MiB. Null leaves it to the worker (2048)"
  type        = number
  default     = null
}

variable "flow_run_environment" {
  description = "Default environment variables of flow runs. They stand in the work pool in plain text"
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setintersection(keys(var.flow_run_environment), ["PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"])) == 0
    error_message = "flow_run_environment must not hold PREFECT_API_KEY or PREFECT_API_AUTH_STRING: flow runs get them from the secret."
  }
}

variable "flow_run_task_families" {
  description = "Task definition families that the worker may run, with `*` as wildcard. Null means those that it makes for this work pool, `prefect_<pool>_*`"
  type        = list(string)
  default     = null
}

################################################################################
# IAM
################################################################################

variable "create_task_exec_iam_role" {
  description = "Whether to create the role with which ECS starts tasks: pulls images, reads the secret, writes logs"
  type        = bool
  default     = true
  nullable    = false
}

variable "task_exec_iam_role_arn" {
  description = "Existing execution role, with `create_task_exec_iam_role = false`"
  type        = string
  default     = null

  validation {
    condition     = var.create_task_exec_iam_role || var.task_exec_iam_role_arn != null
    error_message = "task_exec_iam_role_arn is needed with create_task_exec_iam_role = false."
  }
}

variable "create_tasks_iam_role" {
  description = "Whether to create the role of the worker"
  type        = bool
  default     = true
  nullable    = false
}

variable "tasks_iam_role_arn" {
  description = "Existing role of the worker, with `create_tasks_iam_role = false`"
  type        = string
  default     = null

  validation {
    condition     = var.create_tasks_iam_role || var.tasks_iam_role_arn != null
    error_message = "tasks_iam_role_arn is needed with create_tasks_iam_role = false."
  }
}

variable "create_flow_run_role" {
  description = "Whether to create the role of flow runs. It has no rights but those in `flow_run_iam_statements` and `flow_run_policy_arns`"
  type        = bool
  default     = true
  nullable    = false
}

variable "flow_run_role_arn" {
  description = "Existing role of flow runs, with `create_flow_run_role = false`"
  type        = string
  default     = null

  validation {
    condition     = var.create_flow_run_role || var.flow_run_role_arn != null
    error_message = "flow_run_role_arn is needed with create_flow_run_role = false."
  }
}

variable "flow_run_iam_statements" {
  description = "What the created flow-run role may do"
  type = list(object({
    sid       = optional(string)
    effect    = optional(string, "Allow")
    actions   = list(string)
    resources = list(string)
    condition = optional(map(map(list(string))), {})
  }))
  default  = []
  nullable = false
}

variable "flow_run_policy_arns" {
  description = "Managed policies attached to the created flow-run role, by a name of your choice"
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "additional_pass_role_arns" {
  description = "Further task and execution roles that deployments may choose, so that the worker may pass them to ECS"
  type        = list(string)
  default     = []
  nullable    = false
}

variable "ecr_repository_arns" {
  description = "ECR repositories that the created execution role may pull from. Null means all of this account and region, since each deployment may bring its own image"
  type        = list(string)
  default     = null
}

variable "iam_role_permissions_boundary" {
  description = "Policy that bounds every created role. Null means none; with `create_pipeline` the module then makes one, since the pipeline may change the roles' policies"
  type        = string
  default     = null

  validation {
    condition     = var.iam_role_permissions_boundary == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.iam_role_permissions_boundary))
    error_message = "iam_role_permissions_boundary must be the ARN of a managed policy, such as arn:aws:iam::123456789012:policy/boundary."
  }
}

variable "iam_role_boundary_statements" {
  description = "Further statements of the permissions boundary that comes with `create_pipeline`: what flow runs need beyond `flow_run_iam_statements`, which stand in it already"
  type = list(object({
    sid       = optional(string)
    effect    = optional(string, "Allow")
    actions   = list(string)
    resources = list(string)
    condition = optional(map(map(list(string))), {})
  }))
  default  = []
  nullable = false
}

################################################################################
# Encryption
################################################################################

variable "create_kms_key" {
  description = "Whether to create a customer managed KMS key for everything that the stack keeps: logs, queues, secret, images, alarms, artefacts. Costs per key and per call"
  type        = bool
  default     = false
  nullable    = false
}

variable "kms_key_arn" {
  description = "Existing customer managed KMS key for the same. Its policy has to let the services use it, as that of `modules/kms` does. Null, without `create_kms_key`, means the keys that AWS manages"
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key (arn:aws:kms:…:key/…), not of an alias: policies name the key itself."
  }

  validation {
    condition     = !(var.create_kms_key && var.kms_key_arn != null)
    error_message = "kms_key_arn names an existing key, create_kms_key makes one: give one of the two."
  }
}

################################################################################
# Capacity and kind of worker
################################################################################

variable "worker" {
  description = "Which worker `image` holds: `faber`, or `prefect` for Prefect's own, an image such as `prefecthq/prefect-aws` with Python and prefect-aws. Prefect's publishes no metrics: `scale_to_zero` and the alarms of the work pool need faber"
  type        = string
  default     = "faber"
  nullable    = false

  validation {
    condition     = contains(["faber", "prefect"], var.worker)
    error_message = "worker must be \"faber\" or \"prefect\"."
  }
}

variable "capacity_provider_strategy" {
  description = "Capacity providers of the worker's service and of the tick, `FARGATE` and `FARGATE_SPOT`. Empty means the launch type FARGATE; to change from or to empty makes the service anew"
  type = list(object({
    capacity_provider = string
    weight            = optional(number, 1)
    base              = optional(number, 0)
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for item in var.capacity_provider_strategy : contains(["FARGATE", "FARGATE_SPOT"], item.capacity_provider)])
    error_message = "capacity_provider_strategy may name FARGATE and FARGATE_SPOT: the cluster has no others."
  }

  validation {
    condition     = length([for item in var.capacity_provider_strategy : item if item.base > 0]) <= 1 && (length(var.capacity_provider_strategy) == 0 || anytrue([for item in var.capacity_provider_strategy : item.weight > 0]))
    error_message = "In capacity_provider_strategy one item may have a base, and one must have a weight above 0."
  }
}

variable "flow_run_capacity_provider_strategy" {
  description = "Default capacity providers of flow runs, set in the work pool's template. Empty means the launch type FARGATE"
  type = list(object({
    capacity_provider = string
    weight            = optional(number, 1)
    base              = optional(number, 0)
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for item in var.flow_run_capacity_provider_strategy : contains(["FARGATE", "FARGATE_SPOT"], item.capacity_provider)])
    error_message = "flow_run_capacity_provider_strategy may name FARGATE and FARGATE_SPOT: the cluster has no others."
  }

  validation {
    condition     = length([for item in var.flow_run_capacity_provider_strategy : item if item.base > 0]) <= 1 && (length(var.flow_run_capacity_provider_strategy) == 0 || anytrue([for item in var.flow_run_capacity_provider_strategy : item.weight > 0]))
    error_message = "In flow_run_capacity_provider_strategy one item may have a base, and one must have a weight above 0."
  }
}

variable "flow_run_cpu_architecture" {
  description = "Processor of flow runs: `X86_64` or `ARM64`, set in the work pool's template. Null means that of the worker, `cpu_architecture`"
  type        = string
  default     = null

  validation {
    condition     = var.flow_run_cpu_architecture == null || contains(["X86_64", "ARM64"], coalesce(var.flow_run_cpu_architecture, "-"))
    error_message = "flow_run_cpu_architecture must be \"X86_64\" or \"ARM64\"."
  }
}

variable "enable_execute_command" {
  description = "Whether ECS Exec may run commands in the worker's container. Off, since it makes the container's root file system writable and lets the worker's role open `ssmmessages` channels"
  type        = bool
  default     = false
  nullable    = false
}

################################################################################
# Auto-scaling
################################################################################

variable "enable_autoscaling" {
  description = "Whether Application Auto Scaling sets the number of worker tasks; `desired_count` is then the number to begin with. To change it makes the service anew, under the same name"
  type        = bool
  default     = false
  nullable    = false
}

variable "autoscaling_min_capacity" {
  description = "Fewest worker tasks. 0 with `scale_to_zero`, whatever is given"
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.autoscaling_min_capacity >= 1 && floor(var.autoscaling_min_capacity) == var.autoscaling_min_capacity
    error_message = "autoscaling_min_capacity must be a whole number, 1 or more: CPU, memory and backlog are not measured without a worker. For none, set scale_to_zero."
  }
}

variable "autoscaling_max_capacity" {
  description = "The cap: most worker tasks, whatever the work. Flow runs are not bounded by it but by the pool's concurrency limit and the account's launch rate"
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.autoscaling_max_capacity >= 1 && floor(var.autoscaling_max_capacity) == var.autoscaling_max_capacity
    error_message = "autoscaling_max_capacity must be a whole number, 1 or more."
  }

  validation {
    condition     = var.scale_to_zero || var.autoscaling_max_capacity >= var.autoscaling_min_capacity
    error_message = "autoscaling_max_capacity must not be less than autoscaling_min_capacity."
  }
}

variable "autoscaling_cpu_target" {
  description = "Average CPU utilization of the workers to keep, in percent. Null means not to scale on it. Not used with `scale_to_zero`"
  type        = number
  default     = 70

  validation {
    condition     = var.autoscaling_cpu_target == null || try(var.autoscaling_cpu_target > 0 && var.autoscaling_cpu_target <= 100, false)
    error_message = "autoscaling_cpu_target must be above 0 and at most 100 percent."
  }
}

variable "autoscaling_memory_target" {
  description = "Average memory utilization of the workers to keep, in percent. Null means not to scale on it. Not used with `scale_to_zero`"
  type        = number
  default     = 80

  validation {
    condition     = var.autoscaling_memory_target == null || try(var.autoscaling_memory_target > 0 && var.autoscaling_memory_target <= 100, false)
    error_message = "autoscaling_memory_target must be above 0 and at most 100 percent."
  }
}

variable "autoscaling_backlog_per_worker" {
  description = "Due flow runs for each worker to keep. Null means not to scale on the backlog. 100 are five seconds' work: Fargate starts 20 tasks a second and account"
  type        = number
  default     = 100

  validation {
    condition     = var.autoscaling_backlog_per_worker == null || try(var.autoscaling_backlog_per_worker >= 1, false)
    error_message = "autoscaling_backlog_per_worker must be 1 or more."
  }
}

variable "autoscaling_scheduled_actions" {
  description = "Bounds of the number of worker tasks that a schedule sets, by a name of your choice: `schedule` is `cron(…)`, `rate(…)` or `at(…)`. They stay until the next action"
  type = map(object({
    schedule     = string
    timezone     = optional(string, "UTC")
    min_capacity = number
    max_capacity = number
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for action in var.autoscaling_scheduled_actions : can(regex("^(cron|rate|at)\\(.+\\)$", action.schedule))])
    error_message = "schedule of each of autoscaling_scheduled_actions must be cron(…), rate(…) or at(…)."
  }

  validation {
    condition     = alltrue([for action in var.autoscaling_scheduled_actions : action.min_capacity >= 0 && action.max_capacity >= action.min_capacity])
    error_message = "Each of autoscaling_scheduled_actions needs 0 <= min_capacity <= max_capacity."
  }

  validation {
    condition     = var.scale_to_zero || alltrue([for action in var.autoscaling_scheduled_actions : action.min_capacity >= 1])
    error_message = "min_capacity of autoscaling_scheduled_actions must be 1 or more without scale_to_zero: nothing would wake a worker again."
  }
}

variable "scale_to_zero" {
  description = "Whether no worker runs while the work pool has no work. `faber tick` then looks at the pool every `tick_interval_minutes`, and a due run starts a worker some three minutes later. Needs `enable_autoscaling`, faber as worker, and its metrics"
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.scale_to_zero || var.enable_autoscaling
    error_message = "scale_to_zero needs enable_autoscaling = true."
  }

  validation {
    condition     = !var.scale_to_zero || (var.worker == "faber" && var.metrics_transport != "none")
    error_message = "scale_to_zero needs worker = \"faber\" and a metrics_transport other than \"none\": only faber's metrics tell when to start a worker."
  }
}

variable "tick_interval_minutes" {
  description = "Minutes between two ticks, with `scale_to_zero`. Fargate charges each for a whole minute: every minute costs as much as the smallest worker that runs on, every 5 a fifth of it"
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = contains(range(1, 61), var.tick_interval_minutes)
    error_message = "tick_interval_minutes must be a whole number, 1 to 60."
  }
}

################################################################################
# Dashboard and alarms
################################################################################

variable "create_dashboard" {
  description = "Whether to create a CloudWatch dashboard: runs by state, launch latency by phase, backlog, throttles, CPU and memory, queue"
  type        = bool
  default     = true
  nullable    = false
}

variable "create_alarms" {
  description = "Whether to create CloudWatch alarms that go to an SNS topic, each with a link to what to do"
  type        = bool
  default     = true
  nullable    = false
}

variable "alarm_emails" {
  description = "E-mail addresses that the created topic tells of alarms. Each gets a mail first whose link it must follow"
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for email in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", email))])
    error_message = "Each of alarm_emails must be an e-mail address."
  }

  validation {
    condition     = length(var.alarm_emails) == 0 || var.alarm_topic_arn == null
    error_message = "alarm_emails are subscribed to the created topic: they do not go with alarm_topic_arn."
  }
}

variable "alarm_topic_arn" {
  description = "Existing SNS topic for the alarms. Null means to create one"
  type        = string
  default     = null

  validation {
    condition     = var.alarm_topic_arn == null || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:.+$", var.alarm_topic_arn))
    error_message = "alarm_topic_arn must be the ARN of an SNS topic."
  }
}

variable "alarm_thresholds" {
  description = "What has to be exceeded for an alarm: age of the oldest due run, failed launches in 5 minutes, age of the oldest task event, throttled calls in 5 minutes, CPU and memory in percent, Spot interruptions in an hour"
  type = object({
    late_seconds       = optional(number, 600)
    launch_failures    = optional(number, 2)
    event_age_seconds  = optional(number, 300)
    throttles          = optional(number, 100)
    cpu_percent        = optional(number, 85)
    memory_percent     = optional(number, 85)
    spot_interruptions = optional(number, 10)
  })
  default  = {}
  nullable = false
}

variable "alarm_runbook_url" {
  description = "Page that the alarms link to, with a heading for each: a copy of `docs/runbooks.md` where your team can read it"
  type        = string
  default     = "docs/runbooks.md"
  nullable    = false
}

################################################################################
# Images
################################################################################

variable "create_ecr" {
  description = "Whether to create ECR repositories for the worker's and the flow runs' images"
  type        = bool
  default     = false
  nullable    = false
}

variable "ecr_repositories" {
  description = "Repositories to create, each named `<name>/<this>`"
  type        = set(string)
  default     = ["worker", "flows"]
  nullable    = false

  validation {
    condition     = alltrue([for name in var.ecr_repositories : can(regex("^[a-z0-9]+([._/-][a-z0-9]+)*$", name))])
    error_message = "Each of ecr_repositories must be lower-case letters and digits, with single . _ - or / between them."
  }
}

variable "ecr_untagged_days" {
  description = "Days after which an untagged image goes"
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.ecr_untagged_days >= 1 && floor(var.ecr_untagged_days) == var.ecr_untagged_days
    error_message = "ecr_untagged_days must be a whole number, 1 or more."
  }
}

variable "ecr_keep_images" {
  description = "Number of images that each repository keeps, the newest first. What runs must be among them: a task whose image is gone cannot start again"
  type        = number
  default     = 50
  nullable    = false

  validation {
    condition     = var.ecr_keep_images >= 1 && floor(var.ecr_keep_images) == var.ecr_keep_images
    error_message = "ecr_keep_images must be a whole number, 1 or more."
  }
}

variable "ecr_force_delete" {
  description = "Whether a destroy takes the images along. Off, so that it stops at a repository with images in it"
  type        = bool
  default     = false
  nullable    = false
}

################################################################################
# Budget
################################################################################

variable "budget_limit_usd" {
  description = "US dollars a month, for a budget that warns; it stops nothing. Null means no budget"
  type        = number
  default     = null

  validation {
    condition     = var.budget_limit_usd == null || coalesce(var.budget_limit_usd, 1) > 0
    error_message = "budget_limit_usd must be more than 0."
  }
}

variable "budget_emails" {
  description = "Who is warned by e-mail, at most 10 addresses"
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for email in var.budget_emails : can(regex("^[^@ ]+@[^@ ]+$", email))]) && length(var.budget_emails) <= 10
    error_message = "budget_emails must be e-mail addresses, and at most 10: AWS takes no more for one threshold."
  }

  validation {
    condition     = var.budget_limit_usd == null || length(var.budget_emails) > 0 || var.budget_topic_arn != null
    error_message = "A budget needs somebody to warn: give budget_emails or budget_topic_arn."
  }
}

variable "budget_topic_arn" {
  description = "SNS topic that is warned. Its policy must let `budgets.amazonaws.com` publish"
  type        = string
  default     = null

  validation {
    condition     = var.budget_topic_arn == null || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:.+$", var.budget_topic_arn))
    error_message = "budget_topic_arn must be the ARN of an SNS topic."
  }
}

variable "budget_actual_thresholds" {
  description = "Percentages of the limit at which a warning is sent about what was spent"
  type        = list(number)
  default     = [80, 100]
  nullable    = false
}

variable "budget_forecast_thresholds" {
  description = "Percentages of the limit at which a warning is sent about what the month will probably cost"
  type        = list(number)
  default     = [100]
  nullable    = false

  validation {
    condition     = length(var.budget_actual_thresholds) + length(var.budget_forecast_thresholds) <= 5
    error_message = "budget_actual_thresholds and budget_forecast_thresholds may have 5 items together: AWS takes no more with a new budget."
  }
}

variable "activate_cost_allocation_tag" {
  description = "Whether to activate the tag `faber:stack` for billing and to have the budget count this stack alone. Needs the account that pays, and the tag has to have been on a bill before: turn it on a day after the first apply. Until then the budget counts the whole account"
  type        = bool
  default     = false
  nullable    = false
}

################################################################################
# Pipeline
################################################################################

variable "create_pipeline" {
  description = "Whether to create a pipeline that plans this configuration on each change, asks for approval and applies that very plan. It never holds the Prefect credentials: it needs `manage_secret_value = false`"
  type        = bool
  default     = false
  nullable    = false
}

variable "pipeline_source" {
  description = "Where the pipeline gets the configuration: `repository` (`owner/name`) and `branch`, through a connection; or `bucket` and `key` of a zip archive in a versioned bucket that sends its events to EventBridge"
  type = object({
    repository = optional(string)
    branch     = optional(string, "main")
    bucket     = optional(string)
    key        = optional(string)
  })
  default = null

  validation {
    condition     = !var.create_pipeline || var.pipeline_source != null
    error_message = "create_pipeline needs pipeline_source: where the configuration comes from."
  }

  validation {
    condition = var.pipeline_source == null || (
      try(var.pipeline_source.repository, null) != null
      ? try(var.pipeline_source.bucket, null) == null && can(regex("^[^/ ]+(/[^/ ]+)+$", var.pipeline_source.repository))
      : try(var.pipeline_source.bucket, null) != null && try(var.pipeline_source.key, null) != null
    )
    error_message = "pipeline_source must name either a repository (\"owner/name\"), or a bucket and a key."
  }
}

variable "connection_arn" {
  description = "Existing CodeConnections connection to the repository. Null makes one, which stays PENDING until somebody completes it in the console"
  type        = string
  default     = null

  validation {
    condition     = var.connection_arn == null || can(regex("^arn:aws[a-z-]*:code(star-)?connections:[a-z0-9-]+:[0-9]{12}:connection/.+$", var.connection_arn))
    error_message = "connection_arn must be the ARN of a connection (arn:aws:codeconnections:…:connection/…)."
  }
}

variable "connection_provider_type" {
  description = "Where the repository of a created connection is: `GitHub`, `GitLab` or `Bitbucket`"
  type        = string
  default     = "GitHub"
  nullable    = false

  validation {
    condition     = contains(["GitHub", "GitLab", "Bitbucket"], var.connection_provider_type)
    error_message = "connection_provider_type must be \"GitHub\", \"GitLab\" or \"Bitbucket\". A host of your own needs a connection of your own: connection_arn."
  }
}

variable "pipeline_terraform_directory" {
  description = "Directory of the root module within the source"
  type        = string
  default     = "."
  nullable    = false
}

variable "pipeline_scripts_directory" {
  description = "Directory within the source with this module's `pipeline/validate.sh`, `plan.sh` and `apply.sh`"
  type        = string
  default     = "pipeline"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.pipeline_scripts_directory))
    error_message = "pipeline_scripts_directory may hold letters, digits and . _ / -: it becomes part of a shell command."
  }
}

variable "pipeline_state_bucket" {
  description = "Bucket with the Terraform state of this configuration, as `modules/state-backend` makes it"
  type        = string
  default     = null

  validation {
    condition     = !var.create_pipeline || (var.pipeline_state_bucket != null && var.pipeline_state_key != null)
    error_message = "create_pipeline needs pipeline_state_bucket and pipeline_state_key: builds have no disk that lasts."
  }
}

variable "pipeline_state_key" {
  description = "Object in that bucket"
  type        = string
  default     = null
}

variable "pipeline_state_region" {
  description = "Region of that bucket. Null means this one"
  type        = string
  default     = null
}

variable "pipeline_state_kms_key_arn" {
  description = "Customer managed KMS key of that bucket. Null means none"
  type        = string
  default     = null
}

variable "pipeline_terraform_version" {
  description = "Terraform that the builds download. Null means the one that the scripts pin"
  type        = string
  default     = null

  validation {
    condition     = var.pipeline_terraform_version == null || try(length(compact([var.pipeline_terraform_sha256.amd64, var.pipeline_terraform_sha256.arm64])) > 0, false)
    error_message = "pipeline_terraform_version needs pipeline_terraform_sha256, from that version's SHA256SUMS: nothing is run that was not compared."
  }
}

variable "pipeline_terraform_sha256" {
  description = "SHA-256 sums of that version's `linux_amd64` and `linux_arm64` archives"
  type = object({
    amd64 = optional(string)
    arm64 = optional(string)
  })
  default = null
}

variable "pipeline_build_environment" {
  description = "Further environment variables of the builds, such as `TF_VAR_image`. They are shown in the console: no credentials"
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setintersection(keys(var.pipeline_build_environment), ["TF_VAR_prefect_credentials", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"])) == 0
    error_message = "pipeline_build_environment must hold no credentials for Prefect: the pipeline works without."
  }
}

variable "pipeline_build_architecture" {
  description = "Processor of the builds: `X86_64` or `ARM64`"
  type        = string
  default     = "X86_64"
  nullable    = false

  validation {
    condition     = contains(["X86_64", "ARM64"], var.pipeline_build_architecture)
    error_message = "pipeline_build_architecture must be \"X86_64\" or \"ARM64\"."
  }
}

variable "pipeline_build_image" {
  description = "Image of the builds, with sh, curl, jq, tar and unzip. Null means Amazon Linux 2023 as CodeBuild brings it"
  type        = string
  default     = null
}

variable "pipeline_approval_topic_arn" {
  description = "SNS topic that is told when a plan waits for approval. Null means that of the alarms, if there is one"
  type        = string
  default     = null

  validation {
    condition     = var.pipeline_approval_topic_arn == null || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:.+$", var.pipeline_approval_topic_arn))
    error_message = "pipeline_approval_topic_arn must be the ARN of an SNS topic."
  }
}

variable "pipeline_approval_timeout_minutes" {
  description = "Minutes for which a plan waits for approval, 5 to 8640 (6 days)"
  type        = number
  default     = 2880
  nullable    = false

  validation {
    condition     = var.pipeline_approval_timeout_minutes >= 5 && var.pipeline_approval_timeout_minutes <= 8640
    error_message = "pipeline_approval_timeout_minutes must be 5 to 8640: after 7 days the plan itself is deleted."
  }
}

variable "pipeline_drift_schedule" {
  description = "When to look for drift, as an EventBridge schedule in UTC. Null means never"
  type        = string
  default     = "cron(0 6 * * ? *)"

  validation {
    condition     = var.pipeline_drift_schedule == null || can(regex("^(cron|rate)\\(.+\\)$", var.pipeline_drift_schedule))
    error_message = "pipeline_drift_schedule must be \"cron(…)\" or \"rate(…)\"."
  }
}

variable "pipeline_drift_topic_arn" {
  description = "SNS topic that is told of drift, and of its end. Null means that of the alarms, if there is one"
  type        = string
  default     = null

  validation {
    condition     = var.pipeline_drift_topic_arn == null || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:.+$", var.pipeline_drift_topic_arn))
    error_message = "pipeline_drift_topic_arn must be the ARN of an SNS topic."
  }
}
