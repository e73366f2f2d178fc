# The stack whose roles are looked at, and every role once more: what the module
# makes of them does not depend on whether the part that takes it is there.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.83, < 7.0"
    }
  }
}

variable "prefect_api_url" {
  description = "Prefect API that the worker of the test uses"
  type        = string
}

variable "prefect_credentials" {
  description = "Value of the secret"
  type        = map(string)
  ephemeral   = true
  default     = null
}

provider "aws" {
  region     = "us-east-1"
  access_key = "123456789012"
  secret_key = "emulated"

  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  s3_use_path_style           = true
  max_retries                 = 4
}

module "stack" {
  source = "../.."

  name            = "lp"
  work_pool_name  = "fargate"
  image           = "faber:test"
  prefect_api_url = var.prefect_api_url
  desired_count   = 0

  az_count = 1
  nat_mode = "none"

  manage_secret_value            = true
  secret_recovery_window_in_days = 0
  prefect_credentials = var.prefect_credentials == null ? null : {
    prefect_api_key      = var.prefect_credentials["prefect_api_key"]
    prefect_account_id   = var.prefect_credentials["prefect_account_id"]
    prefect_workspace_id = var.prefect_credentials["prefect_workspace_id"]
  }

  # Nothing that any role has to do with.
  create_dashboard = false
  create_alarms    = false

  create_kms_key    = true
  metrics_transport = "put_metric_data"
}

module "roles" {
  source = "../../modules/iam"

  name = "all"

  create_tick_role            = true
  create_scheduler_role       = true
  create_flow_logs_role       = true
  create_codepipeline_role    = true
  create_codebuild_plan_role  = true
  create_codebuild_apply_role = true
  create_event_trigger_role   = true

  cluster_arn             = "arn:aws:ecs:us-east-1:123456789012:cluster/all"
  cluster_name            = "all"
  task_families           = ["prefect_pool_*"]
  secret_arn              = "arn:aws:secretsmanager:us-east-1:123456789012:secret:all-prefect-AbCdEf"
  secret_kms_key_arn      = "arn:aws:kms:us-east-1:123456789012:key/secret"
  kms_key_arn             = "arn:aws:kms:us-east-1:123456789012:key/stack"
  worker_log_group_arn    = "arn:aws:logs:us-east-1:123456789012:log-group:/faber/all/worker"
  flow_run_log_group_arn  = "arn:aws:logs:us-east-1:123456789012:log-group:/faber/all/flow-runs"
  events_queue_arn        = "arn:aws:sqs:us-east-1:123456789012:all-task-events"
  flow_logs_log_group_arn = "arn:aws:logs:us-east-1:123456789012:log-group:/faber/all/vpc-flow-logs"
  artifact_bucket_arn     = "arn:aws:s3:::all-pipeline-x"
  state_bucket_arn        = "arn:aws:s3:::states"
  state_kms_key_arn       = "arn:aws:kms:us-east-1:123456789012:key/state"
  connection_arn          = "arn:aws:codeconnections:us-east-1:123456789012:connection/c"
  approval_topic_arn      = "arn:aws:sns:us-east-1:123456789012:all-alarms"
  metrics_transport       = "put_metric_data"
  enable_execute_command  = true
}

output "cluster_arn" {
  description = "ECS cluster"
  value       = module.stack.cluster_arn
}

output "task_definition_arn" {
  description = "Task definition of the worker"
  value       = module.stack.task_definition_arn
}

output "base_job_template" {
  description = "Template of the work pool"
  value       = module.stack.base_job_template
}

output "secret_arn" {
  description = "The secret"
  value       = module.stack.secret_arn
}

output "kms_key_arn" {
  description = "The key"
  value       = module.stack.kms_key_arn
}

output "events_queue_url" {
  description = "Queue with task events"
  value       = module.stack.events_queue_url
}

output "worker_role_arn" {
  description = "Role of the worker"
  value       = module.stack.tasks_iam_role_arn
}

output "roles" {
  description = "Every role, by name"
  value = {
    execution       = module.roles.execution_role_arn
    worker          = module.roles.worker_role_arn
    flow_run        = module.roles.flow_run_role_arn
    tick            = module.roles.tick_role_arn
    scheduler       = module.roles.scheduler_role_arn
    flow_logs       = module.roles.flow_logs_role_arn
    codepipeline    = module.roles.codepipeline_role_arn
    codebuild_plan  = module.roles.codebuild_plan_role_arn
    codebuild_apply = module.roles.codebuild_apply_role_arn
    event_trigger   = module.roles.event_trigger_role_arn
  }
}
