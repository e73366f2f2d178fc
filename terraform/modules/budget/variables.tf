variable "name" {
  description = "Name of the stack, put before the name of the budget"
  type        = string
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "limit_usd" {
  description = "US dollars a month"
  type        = number
}

variable "tag_key" {
  description = "Tag by which costs are told apart, once it is activated"
  type        = string
  default     = "faber:stack"
}

variable "tag_value" {
  description = "Value of that tag on the resources to be counted"
  type        = string
}

variable "activate_cost_allocation_tag" {
  description = "Whether to activate the tag for billing and to count only what carries it. Needs the account that pays. With false the budget counts the whole account"
  type        = bool
  default     = false
}

variable "actual_thresholds" {
  description = "Percentages of the limit at which somebody is told of what was spent"
  type        = list(number)
  default     = [80, 100]
}

variable "forecast_thresholds" {
  description = "Percentages of the limit at which somebody is told of what the month will probably cost"
  type        = list(number)
  default     = [100]
}

variable "emails" {
  description = "Who is told by e-mail, at most 10 for each threshold"
  type        = list(string)
  default     = []
}

variable "sns_topic_arns" {
  description = "SNS topic that is told, at most one. Its policy must let `budgets.amazonaws.com` publish"
  type        = list(string)
  default     = []
}
