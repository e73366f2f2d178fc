variable "name" {
  description = "Name of the stack, put before the name of each repository"
  type        = string
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "repositories" {
  description = "Repositories to make, each named `<name>/<this>`"
  type        = set(string)
  default     = ["worker", "flows"]
}

variable "kms_key_arn" {
  description = "Customer managed KMS key of the images. Null means keys that ECR manages (AES-256). Cannot be changed later: ECR makes a repository anew for it"
  type        = string
  default     = null
}

variable "untagged_days" {
  description = "Days after which an untagged image goes"
  type        = number
  default     = 7
}

variable "keep_images" {
  description = "Number of images that each repository keeps, the newest first"
  type        = number
  default     = 50
}

variable "force_delete" {
  description = "Whether a destroy takes the images along. Off, so that a repository with images in it cannot be destroyed by mistake"
  type        = bool
  default     = false
}
