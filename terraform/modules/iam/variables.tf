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
  description = "Policy that bounds every created role. Null means none, or with `create_codebuild_apply_role` a policy that the module makes"
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "Customer managed KMS key of queue, schedule, artefacts and state. Null means that AWS's own keys are used"
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

variable "create_tick_role" {
  description = "Whether to create the role of `faber tick`, which publishes the backlog"
  type        = bool
  default     = false
}

variable "tick_role_arn" {
  description = "Existing role of `faber tick`, with `create_tick_role = false`"
  type        = string
  default     = null
}

variable "create_scheduler_role" {
  description = "Whether to create the role with which EventBridge Scheduler runs `faber tick`"
  type        = bool
  default     = false
}

variable "scheduler_role_arn" {
  description = "Existing role of the scheduler, with `create_scheduler_role = false`"
  type        = string
  default     = null
}

variable "create_flow_logs_role" {
  description = "Whether to create the role with which the VPC writes its flow logs"
  type        = bool
  default     = false
}

variable "flow_logs_role_arn" {
  description = "Existing role of the flow logs, with `create_flow_logs_role = false`"
  type        = string
  default     = null
}

variable "create_codepipeline_role" {
  description = "Whether to create the role of the pipeline"
  type        = bool
  default     = false
}

variable "codepipeline_role_arn" {
  description = "Existing role of the pipeline, with `create_codepipeline_role = false`"
  type        = string
  default     = null
}

variable "create_codebuild_plan_role" {
  description = "Whether to create the role of the builds that validate, plan and look for drift: it reads, and locks the state"
  type        = bool
  default     = false
}

variable "codebuild_plan_role_arn" {
  description = "Existing role of the builds that plan, with `create_codebuild_plan_role = false`"
  type        = string
  default     = null
}

variable "create_codebuild_apply_role" {
  description = "Whether to create the role of the build that applies. It comes with a permissions boundary for every role of the stack, unless `permissions_boundary` is given"
  type        = bool
  default     = false
}

variable "codebuild_apply_role_arn" {
  description = "Existing role of the build that applies, with `create_codebuild_apply_role = false`"
  type        = string
  default     = null
}

variable "create_event_trigger_role" {
  description = "Whether to create the role with which EventBridge starts the pipeline and the search for drift"
  type        = bool
  default     = false
}

variable "event_trigger_role_arn" {
  description = "Existing role of EventBridge, with `create_event_trigger_role = false`"
  type        = string
  default     = null
}

################################################################################
# Metrics and tick
################################################################################

variable "metrics_transport" {
  description = "How the worker publishes its metrics: with `put_metric_data` its role may do so; with `emf` it writes log lines and needs no right"
  type        = string
  default     = "emf"
}

variable "metrics_namespace" {
  description = "CloudWatch namespace to which worker and tick may publish"
  type        = string
  default     = "Faber"
}

variable "worker_reads_secret" {
  description = "Whether the worker itself may read the secret, to pick up a new value without being started again"
  type        = bool
  default     = true
}

variable "enable_execute_command" {
  description = "Whether ECS Exec may be used on the worker"
  type        = bool
  default     = false
}

variable "tick_task_family" {
  description = "Task definition family of `faber tick`. Null means `<name>-tick`"
  type        = string
  default     = null
}

variable "schedule_group_name" {
  description = "Schedule group whose schedules may take the scheduler's role"
  type        = string
  default     = "default"
}

################################################################################
# Flow logs
################################################################################

variable "flow_logs_log_group_arn" {
  description = "Log group of the VPC's flow logs. Needed with `create_flow_logs_role`"
  type        = string
  default     = null
}

################################################################################
# Pipeline
################################################################################

variable "pipeline_name" {
  description = "Name of the pipeline. Null means the stack's name"
  type        = string
  default     = null
}

variable "codebuild_plan_project_names" {
  description = "CodeBuild projects that take the plan role. Null means `<name>-validate`, `<name>-plan` and `<name>-drift`"
  type        = list(string)
  default     = null
}

variable "codebuild_apply_project_name" {
  description = "CodeBuild project that takes the apply role. Null means `<name>-apply`"
  type        = string
  default     = null
}

variable "drift_project_name" {
  description = "CodeBuild project that EventBridge starts to look for drift. Null means `<name>-drift`"
  type        = string
  default     = null
}

variable "artifact_bucket_arn" {
  description = "Bucket of the pipeline's artefacts. Needed with the roles of pipeline and builds"
  type        = string
  default     = null
}

variable "connection_arn" {
  description = "Connection to the source repository. Null means none"
  type        = string
  default     = null
}

variable "source_bucket_arn" {
  description = "Bucket with the pipeline's source. Null means none"
  type        = string
  default     = null
}

variable "source_object_key" {
  description = "Object with the pipeline's source in that bucket"
  type        = string
  default     = null
}

variable "approval_topic_arn" {
  description = "SNS topic to which the pipeline sends its requests for approval. Null means none"
  type        = string
  default     = null
}

variable "state_bucket_arn" {
  description = "Bucket of the Terraform state that the builds work on. Needed with the roles of builds"
  type        = string
  default     = null
}

variable "state_key" {
  description = "Object with that state; the lock is the object of the same name with `.tflock` behind it"
  type        = string
  default     = null
}

variable "state_kms_key_arn" {
  description = "Customer managed KMS key of the state. Null means none of its own"
  type        = string
  default     = null
}

variable "boundary_statements" {
  description = "Further statements of the permissions boundary that the module makes: what roles of the stack may be given beyond what the module itself gives, in the form of `flow_run_iam_statements`"
  type = list(object({
    sid       = optional(string)
    effect    = optional(string, "Allow")
    actions   = list(string)
    resources = list(string)
    condition = optional(map(map(list(string))), {})
  }))
  default = []
}
