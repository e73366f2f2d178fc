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

variable "vpc_id" {
  description = "VPC that exists"
  type        = string
}

variable "private_subnet_ids" {
  description = "Its subnets for the worker and the flow runs"
  type        = list(string)
}

variable "nat_mode" {
  description = "What the subnets are expected to have: `single` or `per_az` mean a default route to a NAT gateway or another way out, `none` the endpoints instead. Nothing is made of it in an existing VPC"
  type        = string
  default     = "single"
}

variable "enable_vpc_endpoints" {
  description = "Whether to make interface endpoints in the VPC, which must not have them yet"
  type        = bool
  default     = false
}

variable "vpc_endpoints" {
  description = "Services that get one, or that are expected to have one. Null means those that the stack needs"
  type        = list(string)
  default     = null
}

variable "expected_flow_runs" {
  description = "Flow runs expected to run at a time: each takes an address of the subnets"
  type        = number
  default     = 10
}

variable "prefect_secret_arn" {
  description = "Secret that exists, with the keys PREFECT_API_KEY, PREFECT_ACCOUNT_ID and PREFECT_WORKSPACE_ID"
  type        = string
}

variable "check_secret_keys" {
  description = "Whether each plan asks if the secret has its keys. Whoever plans then needs `secretsmanager:GetSecretValue`: a pipeline sets this to false"
  type        = bool
  default     = true
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

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}
