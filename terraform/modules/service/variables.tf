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
  description = "Number of worker tasks; with `autoscaled`, the number to begin with"
  type        = number
  default     = 1
}

variable "autoscaled" {
  description = "Whether something else than Terraform sets the number of tasks once the service exists. Changing it makes the service anew, under the same name"
  type        = bool
  default     = false
}

variable "capacity_provider_strategy" {
  description = "Capacity providers of the service. Empty means the launch type FARGATE"
  type = list(object({
    capacity_provider = string
    weight            = optional(number, 1)
    base              = optional(number, 0)
  }))
  default = []
}

variable "enable_execute_command" {
  description = "Whether ECS Exec may run commands in the worker's container. Its root file system is then writable"
  type        = bool
  default     = false
}

variable "worker" {
  description = "Which worker the image holds: `faber`, or `prefect` for Prefect's own"
  type        = string
  default     = "faber"
}

variable "work_pool_name" {
  description = "Work pool, for the command of Prefect's own worker. faber's is told by its environment"
  type        = string
  default     = ""
}

variable "create_tick" {
  description = "Whether to create the task definition of the tick, which tells the pool's backlog while no worker runs"
  type        = bool
  default     = false
}

variable "tick_role_arn" {
  description = "Role of the tick"
  type        = string
  default     = null
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
