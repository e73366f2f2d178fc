variable "region" {
  description = "AWS region"
  type        = string
}

variable "name" {
  description = "Put before the bucket's name, which ends in random characters"
  type        = string
  default     = "faber"
}

variable "kms_key_arn" {
  description = "Customer managed KMS key of the states. Null means keys that S3 manages"
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}
