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
  description = "Container image of the worker, built for ARM64"
  type        = string
}

variable "desired_count" {
  description = "Number of worker tasks to begin with"
  type        = number
  default     = 1
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

variable "tick_interval_minutes" {
  description = "Minutes between two looks at the pool while no worker runs: how late the first run may be noticed"
  type        = number
  default     = 5
}

variable "alarm_emails" {
  description = "E-mail addresses that are told of alarms"
  type        = set(string)
  default     = []
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}
