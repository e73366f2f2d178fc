variable "name" {
  description = "Name of the stack and of the pipeline, put before the name of each resource. At most 24 characters"
  type        = string
}

variable "tags" {
  description = "Tags added to every resource"
  type        = map(string)
  default     = {}
}

variable "kms_key_arn" {
  description = "Customer managed KMS key of artefacts and logs. Null means keys that AWS manages"
  type        = string
  default     = null
}

################################################################################
# Source
################################################################################

variable "pipeline_source" {
  description = "Where the configuration comes from: `repository` (`owner/name`) and `branch`, through a connection; or `bucket` and `key` of a zip archive in a versioned bucket that sends its events to EventBridge"
  type = object({
    repository = optional(string)
    branch     = optional(string, "main")
    bucket     = optional(string)
    key        = optional(string)
  })
}

variable "connection_arn" {
  description = "Existing connection to the repository. Null makes one, which stays PENDING until somebody completes it in the console"
  type        = string
  default     = null
}

variable "connection_provider_type" {
  description = "Where the repository is: `GitHub`, `GitLab` or `Bitbucket`"
  type        = string
  default     = "GitHub"
}

variable "terraform_directory" {
  description = "Directory of the root module within the source"
  type        = string
  default     = "."
}

variable "scripts_directory" {
  description = "Directory of `validate.sh`, `plan.sh` and `apply.sh` within the source"
  type        = string
  default     = "pipeline"
}

################################################################################
# Roles
################################################################################

variable "codepipeline_role_arn" {
  description = "Role of the pipeline"
  type        = string
}

variable "codebuild_plan_role_arn" {
  description = "Role of the builds that validate, plan and look for drift"
  type        = string
}

variable "codebuild_apply_role_arn" {
  description = "Role of the build that applies"
  type        = string
}

variable "event_trigger_role_arn" {
  description = "Role with which EventBridge starts the pipeline and the search for drift"
  type        = string
}

################################################################################
# Builds
################################################################################

variable "state_bucket" {
  description = "Bucket with the Terraform state that the builds work on"
  type        = string
}

variable "state_key" {
  description = "Object with that state"
  type        = string
}

variable "state_region" {
  description = "Region of that bucket. Null means the pipeline's"
  type        = string
  default     = null
}

variable "state_kms_key_arn" {
  description = "Customer managed KMS key of the state. Null means the bucket's own setting"
  type        = string
  default     = null
}

variable "terraform_version" {
  description = "Terraform that the builds download. Null means the one that the scripts name. Needs `terraform_sha256`"
  type        = string
  default     = null
}

variable "terraform_sha256" {
  description = "SHA-256 sums of that version's `linux_amd64` and `linux_arm64` archives, from its file `SHA256SUMS`"
  type = object({
    amd64 = optional(string)
    arm64 = optional(string)
  })
  default = null
}

variable "build_environment" {
  description = "Further environment variables of the builds, `TF_VAR_…` among them. They are shown in the console: no credentials"
  type        = map(string)
  default     = {}
}

variable "build_architecture" {
  description = "Processor of the builds: `X86_64` or `ARM64`"
  type        = string
  default     = "X86_64"
}

variable "build_image" {
  description = "Image of the builds, with sh, curl, jq, tar and unzip. Null means Amazon Linux 2023 as CodeBuild brings it"
  type        = string
  default     = null
}

variable "build_compute_type" {
  description = "Size of the builds' machines"
  type        = string
  default     = "BUILD_GENERAL1_SMALL"
}

variable "log_retention_in_days" {
  description = "Days for which CloudWatch keeps the builds' logs; 0 means for ever"
  type        = number
  default     = 30
}

################################################################################
# Approval and drift
################################################################################

variable "approval_topic_arn" {
  description = "SNS topic that is told when a plan waits for approval. Null means none"
  type        = string
  default     = null
}

variable "approval_timeout_minutes" {
  description = "Minutes for which a plan waits for approval, 5 to 8640: artefacts are deleted after 7 days"
  type        = number
  default     = 2880
}

variable "drift_schedule" {
  description = "When to look for drift, as an EventBridge schedule in UTC. Null means never"
  type        = string
  default     = "cron(0 6 * * ? *)"
}

variable "drift_alarm_actions" {
  description = "What is told of drift, and of its end: ARNs of SNS topics"
  type        = list(string)
  default     = []
}
