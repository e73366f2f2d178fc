################################################################################
# Network
################################################################################

output "vpc_id" {
  description = "VPC of the worker and the flow runs"
  value       = module.network.vpc_id
}

output "private_subnet_ids" {
  description = "Subnets of the worker and the flow runs"
  value       = module.network.private_subnet_ids
}

output "public_subnet_ids" {
  description = "Public subnets of the created VPC"
  value       = module.network.public_subnet_ids
}

output "private_route_table_ids" {
  description = "Route tables of the created private subnets, for routes of your own"
  value       = module.network.private_route_table_ids
}

output "endpoints_security_group_id" {
  description = "Security group of the interface endpoints, into which further tasks may be let; null without"
  value       = module.network.endpoints_security_group_id
}

output "flow_logs_log_group_name" {
  description = "Log group of the VPC's flow logs; null without"
  value       = module.network.flow_logs_log_group_name
}

output "nat_public_ips" {
  description = "Addresses from which worker and flow runs are seen outside, for allow lists"
  value       = module.network.nat_public_ips
}

output "security_group_id" {
  description = "Security group of the worker"
  value       = module.network.worker_security_group_id
}

output "flow_run_security_group_id" {
  description = "Security group of flow runs"
  value       = module.network.flow_run_security_group_id
}

################################################################################
# IAM
################################################################################

output "task_exec_iam_role_arn" {
  description = "Role with which ECS starts tasks"
  value       = module.iam.execution_role_arn
}

output "tasks_iam_role_arn" {
  description = "Role of the worker"
  value       = module.iam.worker_role_arn
}

output "flow_run_role_arn" {
  description = "Role of flow runs"
  value       = module.iam.flow_run_role_arn
}

################################################################################
# Credentials
################################################################################

output "secret_arn" {
  description = "Secret with the Prefect credentials; null when there is none"
  value       = local.secret_arn
}

output "secret_keys" {
  description = "Keys of the secret that the task definition names; none while the value is not known to be there"
  value       = local.has_secret && local.secret_value_ready ? var.prefect_secret_keys : toset([])
}

output "secret_value_ready" {
  description = "Whether the secret is known to have a value. While false the service runs 0 tasks"
  value       = local.secret_value_ready
}

################################################################################
# Cluster and service
################################################################################

output "region" {
  description = "AWS region of the stack"
  value       = data.aws_region.current.id
}

output "cluster_arn" {
  description = "ECS cluster"
  value       = module.cluster.arn
}

output "cluster_name" {
  description = "Name of the ECS cluster"
  value       = module.cluster.name
}

output "service_name" {
  description = "Name of the worker's ECS service"
  value       = module.service.name
}

output "service_arn" {
  description = "The worker's ECS service"
  value       = module.service.arn
}

output "desired_count" {
  description = "Number of worker tasks that the service was asked to run"
  value       = module.service.desired_count
}

output "task_definition_arn" {
  description = "Task definition of the worker, with its revision"
  value       = module.service.task_definition_arn
}

output "log_group_name" {
  description = "Log group of the worker"
  value       = module.cluster.worker_log_group_name
}

output "flow_run_log_group_name" {
  description = "Log group of flow runs"
  value       = module.cluster.flow_run_log_group_name
}

################################################################################
# Events
################################################################################

output "events_queue_name" {
  description = "Queue that receives the cluster's task state changes; null without task events"
  value       = one(module.events[*].queue_name)
}

output "events_queue_url" {
  description = "URL of the queue that receives the cluster's task state changes; null without task events"
  value       = one(module.events[*].queue_url)
}

output "events_dlq_url" {
  description = "URL of the queue for events that no worker could handle; null without task events"
  value       = one(module.events[*].dlq_url)
}

################################################################################
# Prefect
################################################################################

output "work_pool_name" {
  description = "Work pool that the worker serves"
  value       = var.work_pool_name
}

output "base_job_template" {
  description = "Base job template of the work pool as JSON, with every default pointing at this stack"
  value       = jsonencode(local.base_job_template)
}

################################################################################
# Encryption
################################################################################

output "kms_key_arn" {
  description = "Customer managed KMS key of the stack; null when AWS's own keys are used"
  value       = local.kms_key_arn
}

################################################################################
# Auto-scaling and monitoring
################################################################################

output "autoscaling_capacity" {
  description = "Fewest and most worker tasks that auto-scaling may set; null without it. `max` is the cap, whatever the work"
  value       = var.enable_autoscaling ? { min = module.autoscaling[0].min_capacity, max = module.autoscaling[0].max_capacity } : null
}

output "tick_task_definition_arn" {
  description = "Task definition of the tick, with its revision; null without `scale_to_zero`"
  value       = module.service.tick_task_definition_arn
}

output "dashboard_name" {
  description = "CloudWatch dashboard; null without one"
  value       = one(module.observability[*].dashboard_name)
}

output "sns_topic_arn" {
  description = "SNS topic that alarms go to; null without alarms"
  value       = one(module.observability[*].topic_arn)
}

################################################################################
# Images, budget, pipeline
################################################################################

output "ecr_repository_urls" {
  description = "Addresses of the created ECR repositories by their name; empty without"
  value       = var.create_ecr ? module.ecr[0].repository_urls : {}
}

output "budget_scope" {
  description = "What the budget counts: `stack` (what carries the tag) or `account`; null without a budget"
  value       = one(module.budget[*].scope)
}

output "pipeline_name" {
  description = "Name of the pipeline; null without one"
  value       = one(module.pipeline[*].pipeline_name)
}

output "connection_status" {
  description = "State of the connection that was created for the pipeline: while it is PENDING, somebody has to complete it in the console. Null when none was created"
  value       = one(module.pipeline[*].connection_status)
}
