variable "name" {
  description = "Name of the stack; policies, alarms and the schedule are named after it, and it is the metrics' dimension `Stack`"
  type        = string
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "cluster_name" {
  description = "Name of the ECS cluster"
  type        = string
}

variable "service_name" {
  description = "Name of the ECS service to scale"
  type        = string
}

variable "work_pool_name" {
  description = "Work pool that the service serves: the metrics' dimension `WorkPool`"
  type        = string
}

variable "metrics_namespace" {
  description = "CloudWatch namespace of faber's metrics"
  type        = string
  default     = "Faber"
}

variable "custom_metrics" {
  description = "Whether the worker publishes faber's metrics. Without them CPU and memory alone decide"
  type        = bool
  default     = true
}

variable "min_capacity" {
  description = "Fewest tasks. 0 with `scale_to_zero`, whatever is given"
  type        = number
  default     = 1
}

variable "max_capacity" {
  description = "Most tasks: the cap"
  type        = number
  default     = 3
}

variable "suspended" {
  description = "Whether to keep the service at 0 tasks for now, as while its secret has no value"
  type        = bool
  default     = false
}

variable "cpu_target" {
  description = "Average CPU utilization to keep, in percent. Null means not to look at it. Not used with `scale_to_zero`"
  type        = number
  default     = 70
}

variable "memory_target" {
  description = "Average memory utilization to keep, in percent. Null means not to look at it. Not used with `scale_to_zero`"
  type        = number
  default     = 80
}

variable "backlog_per_worker" {
  description = "Due runs for each worker to keep. Null means not to look at the backlog; with `scale_to_zero`, never more than one worker"
  type        = number
  default     = 100
}

variable "scale_out_cooldown" {
  description = "Seconds to wait after more tasks were started, before still more are"
  type        = number
  default     = 60
}

variable "scale_in_cooldown" {
  description = "Seconds to wait after tasks were stopped, before further ones are"
  type        = number
  default     = 300
}

variable "scheduled_actions" {
  description = "Bounds that a schedule sets, by a name of your choice. `schedule` is `cron(…)`, `rate(…)` or `at(…)`"
  type = map(object({
    schedule     = string
    timezone     = optional(string, "UTC")
    min_capacity = number
    max_capacity = number
  }))
  default = {}
}

variable "scale_to_zero" {
  description = "Whether no worker runs while the pool has no work. A scheduled tick then looks at the pool"
  type        = bool
  default     = false
}

################################################################################
# The tick, with scale_to_zero
################################################################################

variable "tick_interval_minutes" {
  description = "Minutes from one tick to the next"
  type        = number
  default     = 5
}

variable "tick_task_definition_arn" {
  description = "Task definition of the tick"
  type        = string
  default     = null
}

variable "scheduler_role_arn" {
  description = "Role with which EventBridge Scheduler starts the tick"
  type        = string
  default     = null
}

variable "cluster_arn" {
  description = "ECS cluster in which the tick runs"
  type        = string
  default     = null
}

variable "capacity_provider_strategy" {
  description = "Capacity providers of the tick. Empty means the launch type FARGATE"
  type = list(object({
    capacity_provider = string
    weight            = optional(number, 1)
    base              = optional(number, 0)
  }))
  default = []
}

variable "subnet_ids" {
  description = "Subnets of the tick"
  type        = list(string)
  default     = []
}

variable "security_group_ids" {
  description = "Security groups of the tick"
  type        = list(string)
  default     = []
}

variable "kms_key_arn" {
  description = "Customer managed KMS key of the schedule. Null means the key that AWS owns"
  type        = string
  default     = null
}
