variable "name" {
  description = "Name of the stack, put before the name of each role"
  type        = string
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "permissions_boundary" {
  description = "Policy that bounds every created role"
  type        = string
  default     = null
}

################################################################################
# What the roles are bound to
################################################################################

variable "cluster_arn" {
  description = "ECS cluster in which the worker starts and stops tasks"
  type        = string
}

variable "cluster_name" {
  description = "Name of that cluster, as it stands in the ARNs of its tasks"
  type        = string
}

variable "task_families" {
  description = "Task definition families that the worker may run, with `*` as wildcard"
  type        = list(string)
  default     = ["prefect_*"]
}

variable "secret_arn" {
  description = "The one secret that the execution role may read. Null means none"
  type        = string
  default     = null
}

variable "secret_kms_key_arn" {
  description = "Customer managed KMS key of that secret"
  type        = string
  default     = null
}

variable "worker_log_group_arn" {
  description = "Log group of the worker"
  type        = string
}

variable "flow_run_log_group_arn" {
  description = "Log group of flow runs"
  type        = string
}

variable "events_queue_arn" {
  description = "Queue with the cluster's task state changes. Null means none"
  type        = string
  default     = null
}

variable "ecr_repository_arns" {
  description = "ECR repositories that the execution role may pull from. Null means all of this account and region"
  type        = list(string)
  default     = null
}

variable "additional_pass_role_arns" {
  description = "Further roles that the worker may pass to ECS"
  type        = list(string)
  default     = []
}

variable "flow_run_iam_statements" {
  description = "What the flow-run role may do"
  type = list(object({
    sid       = optional(string)
    effect    = optional(string, "Allow")
    actions   = list(string)
    resources = list(string)
    condition = optional(map(map(list(string))), {})
  }))
  default = []
}

variable "flow_run_policy_arns" {
  description = "Managed policies attached to the flow-run role, by a name of your choice"
  type        = map(string)
  default     = {}
}

################################################################################
# Roles of your own
################################################################################

variable "create_execution_role" {
  description = "Whether to create the execution role"
  type        = bool
  default     = true
}

variable "execution_role_arn" {
  description = "Existing execution role, with `create_execution_role = false`"
  type        = string
  default     = null
}

variable "create_worker_role" {
  description = "Whether to create the role of the worker"
  type        = bool
  default     = true
}

variable "worker_role_arn" {
  description = "Existing role of the worker, with `create_worker_role = false`"
  type        = string
  default     = null
}

variable "create_flow_run_role" {
  description = "Whether to create the role of flow runs"
  type        = bool
  default     = true
}

variable "flow_run_role_arn" {
  description = "Existing role of flow runs, with `create_flow_run_role = false`"
  type        = string
  default     = null
}
