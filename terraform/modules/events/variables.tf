variable "name" {
  description = "Name of the stack, put before the name of each resource"
  type        = string
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "cluster_arn" {
  description = "ECS cluster whose task state changes are sent to the queue"
  type        = string
}

variable "ignored_groups" {
  description = "Task groups whose events are left out: `service:<name>` or `family:<name>`"
  type        = list(string)
  default     = []
}

variable "kms_key_arn" {
  description = "Customer managed KMS key of the queues. Null means the key that AWS manages"
  type        = string
  default     = null
}
