variable "region" {
  description = "AWS region"
  type        = string
}

variable "name" {
  description = "Name of the stack, put before the name of each role"
  type        = string
  default     = "faber"
}

variable "repository" {
  description = "Repository with the configuration, `owner/name`"
  type        = string

  validation {
    condition     = can(regex("^[^/* ]+/[^/* ]+$", var.repository))
    error_message = "repository must be \"owner/name\": a wildcard would let others in."
  }
}

variable "branch" {
  description = "Branch that is applied"
  type        = string
  default     = "main"
}

variable "environment" {
  description = "GitHub environment whose reviewers approve an apply"
  type        = string
  default     = "production"
}

variable "create_oidc_provider" {
  description = "Whether to create the account's identity provider for GitHub. An account has one: with false the existing one is used"
  type        = bool
  default     = true
}

variable "state_bucket" {
  description = "Bucket with the state"
  type        = string
}

variable "state_key" {
  description = "Object with the state"
  type        = string
  default     = "faber/terraform.tfstate"
}

variable "plan_policy_arns" {
  description = "What a plan may do besides reading the state, by a name of your choice: read the stack"
  type        = map(string)
  default     = { read = "arn:aws:iam::aws:policy/ReadOnlyAccess" }
}

variable "apply_policy_arns" {
  description = "What an apply may do besides writing the state, by a name of your choice"
  type        = map(string)
}

variable "permissions_boundary" {
  description = "Policy that bounds both roles"
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}
