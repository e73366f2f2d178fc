variable "name" {
  description = "Name of the stack; dashboard, topic and alarms are named after it, and it is the metrics' dimension `Stack`"
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
  description = "Name of the worker's ECS service"
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
  description = "Whether the worker publishes faber's metrics. Without them the alarms and graphs of the work pool are left out"
  type        = bool
  default     = true
}

variable "workers_expected" {
  description = "Whether a worker or a tick should be looking at the pool. With false the alarms that miss one tell nobody"
  type        = bool
  default     = true
}

variable "scale_to_zero" {
  description = "Whether no worker runs while the pool has no work"
  type        = bool
  default     = false
}

variable "tick_interval_minutes" {
  description = "Minutes between two looks at the pool, with `scale_to_zero`"
  type        = number
  default     = 5
}

variable "task_events" {
  description = "Whether there is a queue with task events"
  type        = bool
  default     = true
}

variable "events_queue_name" {
  description = "Queue with the task events"
  type        = string
  default     = null
}

variable "events_dlq_name" {
  description = "Queue with the task events that no worker could handle"
  type        = string
  default     = null
}

variable "create_dashboard" {
  description = "Whether to create the dashboard"
  type        = bool
  default     = true
}

variable "create_alarms" {
  description = "Whether to create the alarms"
  type        = bool
  default     = true
}

variable "thresholds" {
  description = "What the alarms' metrics must rise above"
  type = object({
    late_seconds       = optional(number, 600)
    launch_failures    = optional(number, 2)
    event_age_seconds  = optional(number, 300)
    throttles          = optional(number, 100)
    cpu_percent        = optional(number, 85)
    memory_percent     = optional(number, 85)
    spot_interruptions = optional(number, 10)
  })
  default = {}
}

variable "runbook_url" {
  description = "Page with a heading for each alarm, to which the alarms link"
  type        = string
  default     = "docs/runbooks.md"
}

variable "create_topic" {
  description = "Whether to create the SNS topic that the alarms go to"
  type        = bool
  default     = true
}

variable "topic_arn" {
  description = "Existing topic, with `create_topic = false`"
  type        = string
  default     = null
}

variable "emails" {
  description = "Addresses that are told of alarms by the created topic"
  type        = set(string)
  default     = []
}

variable "kms_key_arn" {
  description = "Customer managed KMS key of the topic, which must let `cloudwatch.amazonaws.com` use it. Null means no encryption at rest"
  type        = string
  default     = null
}
