variable "name" {
  description = "Name of the stack, put before the name of each resource"
  type        = string
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "create_vpc" {
  description = "Whether to create a VPC. With false only the security groups are made in `vpc_id`, and endpoints if asked for"
  type        = bool
  default     = true
}

variable "vpc_id" {
  description = "Existing VPC, with `create_vpc = false`"
  type        = string
  default     = null
}

variable "private_subnet_ids" {
  description = "Existing subnets, with `create_vpc = false`; handed through to the outputs"
  type        = list(string)
  default     = []
}

variable "vpc_cidr" {
  description = "IPv4 range of the created VPC, /16 to /20"
  type        = string
  default     = "10.42.0.0/16"
}

variable "azs" {
  description = "Availability zones. Empty means the first `az_count` of the region that run Fargate. Zones may be added and removed anywhere in the list, but for the first: it holds the NAT gateway of `nat_mode = \"single\"`"
  type        = list(string)
  default     = []
}

variable "az_count" {
  description = "Number of availability zones, used when `azs` is empty"
  type        = number
  default     = 2
}

variable "nat_mode" {
  description = "NAT gateways: `none`, `single` or `per_az`"
  type        = string
  default     = "single"

  validation {
    condition     = contains(["none", "single", "per_az"], var.nat_mode)
    error_message = "nat_mode must be \"none\", \"single\" or \"per_az\"."
  }
}

variable "prefect_api_port" {
  description = "Port of the Prefect API, open to worker and flow runs beside 443"
  type        = number
  default     = 443
}

variable "flow_run_egress_rules" {
  description = "What flow runs may reach"
  type = map(object({
    description = optional(string)
    ip_protocol = optional(string, "tcp")
    from_port   = optional(number)
    to_port     = optional(number)
    cidr_ipv4   = optional(string, "0.0.0.0/0")
  }))
  default = {
    https = { description = "HTTPS", from_port = 443, to_port = 443 }
  }
}

################################################################################
# Endpoints
################################################################################

variable "enable_s3_endpoint" {
  description = "Whether to make the gateway endpoint for S3, which is free. Null means: in a created VPC, and wherever interface endpoints are made"
  type        = bool
  default     = null
}

variable "enable_vpc_endpoints" {
  description = "Whether to make interface endpoints for `vpc_endpoints`"
  type        = bool
  default     = false
}

variable "vpc_endpoints" {
  description = "Services that get an interface endpoint, by the last part of their name"
  type        = list(string)
  default     = ["ec2", "ecr.api", "ecr.dkr", "ecs", "logs", "secretsmanager", "sqs"]
}

################################################################################
# Flow logs
################################################################################

variable "enable_flow_logs" {
  description = "Whether the created VPC writes flow logs to CloudWatch"
  type        = bool
  default     = false
}

variable "flow_logs_role_arn" {
  description = "Role with which the VPC writes its flow logs"
  type        = string
  default     = null
}

variable "flow_logs_retention_in_days" {
  description = "Days for which CloudWatch keeps the flow logs"
  type        = number
  default     = 30
}

variable "kms_key_arn" {
  description = "Customer managed KMS key of the flow logs' log group"
  type        = string
  default     = null
}

################################################################################
# Addresses
################################################################################

variable "worker_max_count" {
  description = "Most workers that run at a time, for the count of addresses"
  type        = number
  default     = 1
}

variable "expected_flow_runs" {
  description = "Flow runs expected to run at a time, for the count of addresses"
  type        = number
  default     = 10
}
