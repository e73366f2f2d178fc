variable "name" {
  description = "Name of the cluster, and part of the names of the log groups"
  type        = string
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "container_insights" {
  description = "Container Insights: `disabled`, `enabled` or `enhanced`"
  type        = string
  default     = "disabled"
}

variable "log_retention_in_days" {
  description = "Days for which logs are kept; 0 means for ever"
  type        = number
  default     = 30
}

variable "kms_key_arn" {
  description = "Customer managed KMS key of the log groups. Null means the key that AWS manages"
  type        = string
  default     = null
}
