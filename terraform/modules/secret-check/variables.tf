variable "enabled" {
  description = "Whether the secret is read at all"
  type        = bool
  default     = true
}

variable "secret_arn" {
  description = "Secret with the Prefect credentials"
  type        = string
}

variable "secret_keys" {
  description = "Keys that its value must have. Empty while there is no value yet"
  type        = set(string)
}

variable "created" {
  description = "Whether the secret is made in the same configuration. It is then read once it is there, and at each plan from then on; an existing one at the first plan already"
  type        = bool
  default     = false
}

variable "value_version" {
  description = "Version of the value, where Terraform writes it: the plan that changes it looks at the new value, after it was written"
  type        = number
  default     = 0
}
