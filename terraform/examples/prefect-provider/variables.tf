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
  description = "Prefect work pool that is made and that the worker serves"
  type        = string
}

variable "concurrency_limit" {
  description = "Most flow runs of the pool at a time. Null means no limit"
  type        = number
  default     = null
}

variable "image" {
  description = "Container image of the worker"
  type        = string
}

variable "secret_value_ready" {
  description = "Whether the secret has got its value"
  type        = bool
  default     = false
}

variable "prefect_api_url" {
  description = "Full URL of a self-hosted server's API. Null means Prefect Cloud"
  type        = string
  default     = null
}

variable "prefect_workspace_id" {
  description = "Workspace of Prefect Cloud. Null for a self-hosted server"
  type        = string
  default     = null
}
