variable "name" {
  description = "Name of the stack"
  type        = string
  default     = "faber-local"
}

variable "region" {
  description = "Region that the emulator plays"
  type        = string
  default     = "us-east-1"
}

variable "account_id" {
  description = "Account that the emulator plays: it takes a 12-digit access key for the number of the account"
  type        = string
  default     = "123456789012"
}

variable "work_pool_name" {
  description = "Prefect work pool that the worker serves"
  type        = string
  default     = "faber-local"
}

variable "image" {
  description = "Container image of the worker"
  type        = string
}

variable "desired_count" {
  description = "Number of worker tasks"
  type        = number
  default     = 1
}

variable "prefect_api_url" {
  description = "Full URL of a self-hosted Prefect API, as containers reach it"
  type        = string
  default     = null
}

variable "prefect_cloud_api_url" {
  description = "Root of the Prefect Cloud API, as containers reach it"
  type        = string
  default     = null
}

variable "manage_secret_value" {
  description = "Whether Terraform writes the secret's value, from `prefect_credentials`"
  type        = bool
  default     = true
}

variable "secret_value_ready" {
  description = "Whether the secret, not managed by Terraform, has got its value"
  type        = bool
  default     = false
}

variable "prefect_credentials" {
  description = "Credentials for the secret, never stored"
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

variable "prefect_secret_keys" {
  description = "Keys of the secret that become environment variables of the worker"
  type        = set(string)
  default     = ["PREFECT_API_KEY", "PREFECT_ACCOUNT_ID", "PREFECT_WORKSPACE_ID"]
}

variable "worker_environment" {
  description = "Further environment variables of the worker"
  type        = map(string)
  default     = {}
}

variable "flow_run_image" {
  description = "Default image of flow runs"
  type        = string
  default     = null
}

variable "flow_run_cpu" {
  description = "Default CPU units of flow runs"
  type        = number
  default     = null
}

variable "flow_run_memory" {
  description = "Default memory of flow runs in MiB"
  type        = number
  default     = null
}

variable "flow_run_environment" {
  description = "Default environment variables of flow runs"
  type        = map(string)
  default     = {}
}

variable "enable_task_events" {
  description = "Whether task state changes are sent to a queue. Without it an apply is 50 seconds shorter: the provider waits for each queue"
  type        = bool
  default     = true
}

variable "az_count" {
  description = "Number of availability zones"
  type        = number
  default     = 2
}

variable "nat_mode" {
  description = "NAT gateways: `none`, `single` or `per_az`"
  type        = string
  default     = "single"
}

variable "cpu_architecture" {
  description = "Architecture of the worker's image: `X86_64` or `ARM64`"
  type        = string
  default     = "X86_64"
}

variable "verify" {
  description = "Whether each plan asks if routes and trust policies are still as they should be"
  type        = bool
  default     = true
}

variable "check_secret_keys" {
  description = "Whether each plan asks if the secret has its keys. Whoever plans then needs `secretsmanager:GetSecretValue`: a pipeline sets this to false"
  type        = bool
  default     = true
}
