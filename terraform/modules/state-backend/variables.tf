variable "name" {
  description = "Put before the bucket's name, which ends in random characters. At most 30 characters"
  type        = string
  default     = "faber"
}

variable "bucket_name" {
  description = "Full name of the bucket, with no random characters. Null means a unique name that starts with `<name>-state-`"
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "kms_key_arn" {
  description = "Customer managed KMS key of the states. Null means keys that S3 manages (SSE-S3)"
  type        = string
  default     = null
}

variable "noncurrent_days" {
  description = "Days after which a state that was replaced may go"
  type        = number
  default     = 90
}

variable "newer_noncurrent_versions" {
  description = "Replaced states that are kept however old they are, 1 to 100"
  type        = number
  default     = 20
}

variable "force_destroy" {
  description = "Whether a destroy takes the states along. Off, so that a bucket with a state in it cannot be destroyed by mistake"
  type        = bool
  default     = false
}
