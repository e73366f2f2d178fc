variable "enabled" {
  description = "Whether anything is checked at all"
  type        = bool
  default     = true
}

variable "switch" {
  description = "What the caller calls the input behind `enabled`, for the messages"
  type        = string
  default     = "enabled"
}

################################################################################
# Routes
################################################################################

variable "vpc_id" {
  description = "VPC of the subnets"
  type        = string
  default     = null
}

variable "subnets" {
  description = "Subnets in which tasks run, by keys that are known at plan"
  type        = map(string)
  default     = {}
}

variable "network_created" {
  description = "Whether the subnets are made in the same configuration. They are then looked at once all that `subnets` waits for is there, and at each plan from then on; existing ones at the first plan already"
  type        = bool
  default     = false
}

variable "way_out" {
  description = "What is expected of the subnets: `nat` (a default route to a NAT gateway that is available, or to another target than an internet gateway), `endpoints` (the `endpoints` are there and serve the subnets) or `unknown` (nothing)"
  type        = string
  default     = "nat"

  validation {
    condition     = contains(["nat", "endpoints", "unknown"], var.way_out)
    error_message = "way_out must be \"nat\", \"endpoints\" or \"unknown\"."
  }
}

variable "way_out_details" {
  description = "Whatever changes the routes when the caller changes it: for one plan the check then waits until the change was made"
  type        = string
  default     = ""
}

variable "endpoints" {
  description = "Services whose endpoints are expected with `way_out = \"endpoints\"`, by the last part of their name"
  type        = list(string)
  default     = []
}

################################################################################
# Trust
################################################################################

variable "roles" {
  description = "Roles that ECS tasks are started with, by a name for the messages. `created`: made in the same configuration"
  type = map(object({
    arn     = string
    created = bool
  }))
  default = {}
}
