variable "name" {
  description = "Name of the stack; service, family and container are named after it"
  type        = string
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "cluster_arn" {
  description = "ECS cluster"
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets of the worker"
  type        = list(string)
}

variable "security_group_ids" {
  description = "Security groups of the worker"
  type        = list(string)
}

variable "execution_role_arn" {
  description = "Role with which ECS starts the worker"
  type        = string
}

variable "worker_role_arn" {
  description = "Role of the worker"
  type        = string
}

variable "log_group_name" {
  description = "Log group of the worker"
  type        = string
}

variable "image" {
  description = "Container image of the worker"
  type        = string
}

variable "cpu" {
  description = "CPU units"
  type        = number
  default     = 256
}

variable "memory" {
  description = "Memory in MiB"
  type        = number
  default     = 512
}

variable "cpu_architecture" {
  description = "`X86_64` or `ARM64`"
  type        = string
  default     = "X86_64"
}

variable "desired_count" {
  description = "Number of worker tasks"
  type        = number
  default     = 1
}

variable "environment" {
  description = "Environment variables, in plain text"
  type        = map(string)
  default     = {}
}

variable "secret_arn" {
  description = "Secret with the Prefect credentials. Null means none"
  type        = string
  default     = null
}

variable "secret_keys" {
  description = "Keys of the secret that become environment variables of the same name"
  type        = set(string)
  default     = []
}

variable "stop_timeout" {
  description = "Seconds between SIGTERM and SIGKILL"
  type        = number
  default     = 60
}

variable "wait_for_steady_state" {
  description = "Whether apply waits until the service runs its tasks"
  type        = bool
  default     = false
}
