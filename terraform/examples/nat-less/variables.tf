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

variable "prefect_api_url" {
  description = "Full URL of a Prefect server that is reached inside the VPC, such as `http://prefect.internal:4200/api`"
  type        = string
}

variable "prefect_secret_arn" {
  description = "Secret with the key PREFECT_API_AUTH_STRING, for a server with basic auth. Null means that it asks for no credentials"
  type        = string
  default     = null
}

variable "image" {
  description = "Container image of the worker, in ECR of this region"
  type        = string

  validation {
    condition     = strcontains(var.image, ".dkr.ecr.")
    error_message = "image must lie in ECR (ACCOUNT.dkr.ecr.REGION.amazonaws.com/…): without NAT gateway no other registry is reached."
  }
}

variable "flow_run_image" {
  description = "Default image of flow runs, in ECR of this region: Docker Hub, from where Prefect's own images come, is not reached"
  type        = string

  validation {
    condition     = strcontains(var.flow_run_image, ".dkr.ecr.")
    error_message = "flow_run_image must lie in ECR (ACCOUNT.dkr.ecr.REGION.amazonaws.com/…): without NAT gateway no other registry is reached."
  }
}

variable "vpc_cidr" {
  description = "IPv4 range of the VPC, /16 to /20"
  type        = string
  default     = "10.42.0.0/16"
}

variable "az_count" {
  description = "Number of availability zones. Each endpoint costs in each of them"
  type        = number
  default     = 2
}

variable "vpc_endpoints" {
  description = "Services that get an interface endpoint. Null means those that the stack needs"
  type        = list(string)
  default     = null
}

variable "enable_flow_logs" {
  description = "Whether the VPC writes flow logs"
  type        = bool
  default     = true
}

variable "flow_run_egress_rules" {
  description = "What flow runs may reach beside the Prefect API and the endpoints, such as a database inside the VPC"
  type = map(object({
    description = optional(string)
    ip_protocol = optional(string, "tcp")
    from_port   = optional(number)
    to_port     = optional(number)
    cidr_ipv4   = optional(string, "0.0.0.0/0")
  }))
  default = {}
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
