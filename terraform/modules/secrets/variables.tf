variable "name" {
  description = "Name of the secret. Null means a unique one that starts with `name_prefix`"
  type        = string
  default     = null
}

variable "name_prefix" {
  description = "Start of the secret's name when `name` is null"
  type        = string
  default     = "prefect-"
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "kms_key_arn" {
  description = "Customer managed KMS key. Null means the key that AWS manages"
  type        = string
  default     = null
}

variable "recovery_window_in_days" {
  description = "Days in which a destroyed secret can be brought back: 0 or 7 to 30"
  type        = number
  default     = 7
}

variable "manage_value" {
  description = "Whether to write the value, from `prefect_credentials`. A plain bool of its own, since what exists may not depend on a value that is not stored"
  type        = bool
  default     = false
}

variable "prefect_credentials" {
  description = "Value of the secret, never stored in plan or state"
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
  description = "Raise it to have changed `prefect_credentials` written"
  type        = number
  default     = 1
}

variable "create_policy" {
  description = "Whether the secret gets a policy that lets nobody but `reader_arns` read the value. A plain bool of its own, since roles that are yet to be made have no ARN at plan"
  type        = bool
  default     = false
}

variable "reader_arns" {
  description = "Roles and users that may read the value, with `*` as wildcard. Whoever runs Terraform must be among them when `manage_value` is true: version 5 of the provider reads the value back at each refresh (hashicorp/terraform-provider-aws#42383)"
  type        = list(string)
  default     = []
}
