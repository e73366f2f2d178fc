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
  description = "Whether to create a VPC. With false only the security groups are made, in `vpc_id`"
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
  description = "Availability zones. Empty means the first `az_count` of the region"
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
