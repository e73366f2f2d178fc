variable "region" {
  description = "AWS region"
  type        = string
}

variable "name" {
  description = "Name of the stack"
  type        = string
  default     = "faber"
}

variable "work_pool_name" {
  description = "Prefect work pool that the worker serves"
  type        = string
}

variable "image" {
  description = "Container image of the worker"
  type        = string
}

variable "desired_count" {
  description = "Number of worker tasks; with auto-scaling, the number to begin with"
  type        = number
  default     = 1
}

variable "cpu_architecture" {
  description = "Processor that the image was built for: `X86_64` or `ARM64`"
  type        = string
  default     = "X86_64"
}

variable "manage_secret_value" {
  description = "Whether Terraform writes the secret's value, from `prefect_credentials`"
  type        = bool
  default     = false
}

variable "secret_value_ready" {
  description = "Whether the secret, not managed by Terraform, has got its value"
  type        = bool
  default     = false
}

variable "prefect_credentials" {
  description = "Credentials for the secret, never stored. From the environment: `TF_VAR_prefect_credentials`"
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
  description = "Raise it to have changed credentials written"
  type        = number
  default     = 1
}

variable "secret_reader_arns" {
  description = "Roles and users that may read the secret's value beside the stack's own; it is denied to everybody else. Null means that IAM decides"
  type        = list(string)
  default     = null
}

variable "nat_mode" {
  description = "NAT gateways: `none`, `single` or `per_az`"
  type        = string
  default     = "single"
}

variable "data_bucket_arn" {
  description = "Bucket that flow runs read and write. Null means none"
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "enable_autoscaling" {
  description = "Whether auto-scaling sets the number of worker tasks"
  type        = bool
  default     = true
}

variable "timezone" {
  description = "Time zone of the working hours"
  type        = string
  default     = "UTC"
}

variable "alarm_emails" {
  description = "E-mail addresses that are told of alarms"
  type        = set(string)
  default     = []
}

variable "alarm_thresholds" {
  description = "Thresholds of the alarms that should not be the usual ones"
  type = object({
    late_seconds       = optional(number)
    launch_failures    = optional(number)
    event_age_seconds  = optional(number)
    throttles          = optional(number)
    cpu_percent        = optional(number)
    memory_percent     = optional(number)
    spot_interruptions = optional(number)
  })
  default = {}
}

variable "alarm_runbook_url" {
  description = "Where your team reads the runbooks, a copy of `docs/runbooks.md`"
  type        = string
  default     = "docs/runbooks.md"
}

variable "check_secret_keys" {
  description = "Whether each plan asks if the secret has its keys. Whoever plans then needs `secretsmanager:GetSecretValue`: a pipeline sets this to false"
  type        = bool
  default     = true
}

variable "budget_limit_usd" {
  description = "US dollars a month, of which `budget_emails` are told"
  type        = number
  default     = 100
}

variable "budget_emails" {
  description = "Who is warned when costs near the limit. Empty means no budget"
  type        = list(string)
  default     = []
}

variable "activate_cost_allocation_tag" {
  description = "Whether the budget counts this stack alone. Needs the account that pays, a day after the first apply"
  type        = bool
  default     = false
}

variable "repository" {
  description = "Repository with this configuration, `owner/name`, for a pipeline. Null means none"
  type        = string
  default     = null
}

variable "state_bucket" {
  description = "Bucket with this configuration's state, which the pipeline needs"
  type        = string
  default     = null
}

variable "create_kms_key" {
  description = "Whether everything that is kept is encrypted with a customer managed key"
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "Existing customer managed key for everything that is kept, with `create_kms_key = false`"
  type        = string
  default     = null
}

variable "enable_flow_logs" {
  description = "Whether the VPC writes flow logs"
  type        = bool
  default     = false
}

variable "log_retention_in_days" {
  description = "Days for which logs are kept"
  type        = number
  default     = 30
}
