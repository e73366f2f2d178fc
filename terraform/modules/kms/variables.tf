variable "name" {
  description = "Name of the stack: the key's alias is `alias/<name>`, and services may use the key for resources of that name"
  type        = string
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "deletion_window_in_days" {
  description = "Days in which a destroyed key can be brought back, 7 to 30. What it has encrypted can be read by nobody afterwards"
  type        = number
  default     = 30
}
