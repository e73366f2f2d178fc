output "vpc_id" {
  description = "VPC of the worker and the flow runs"
  value       = module.faber.vpc_id
}

output "private_subnet_ids" {
  description = "Subnets of the worker and the flow runs"
  value       = module.faber.private_subnet_ids
}

output "public_subnet_ids" {
  description = "Public subnets of the created VPC"
  value       = module.faber.public_subnet_ids
}

output "nat_public_ips" {
  description = "Addresses from which worker and flow runs are seen outside, for allow lists"
  value       = module.faber.nat_public_ips
}

output "security_group_id" {
  description = "Security group of the worker"
  value       = module.faber.security_group_id
}

output "flow_run_security_group_id" {
  description = "Security group of flow runs"
  value       = module.faber.flow_run_security_group_id
}

output "task_exec_iam_role_arn" {
  description = "Role with which ECS starts tasks"
  value       = module.faber.task_exec_iam_role_arn
}

output "tasks_iam_role_arn" {
  description = "Role of the worker"
  value       = module.faber.tasks_iam_role_arn
}

output "flow_run_role_arn" {
  description = "Role of flow runs"
  value       = module.faber.flow_run_role_arn
}

output "secret_arn" {
  description = "Secret with the Prefect credentials; null when there is none"
  value       = module.faber.secret_arn
}

output "secret_value_ready" {
  description = "Whether the secret is known to have a value. While false the service runs 0 tasks"
  value       = module.faber.secret_value_ready
}

output "region" {
  description = "AWS region of the stack"
  value       = module.faber.region
}

output "cluster_arn" {
  description = "ECS cluster"
  value       = module.faber.cluster_arn
}

output "cluster_name" {
  description = "Name of the ECS cluster"
  value       = module.faber.cluster_name
}

output "service_name" {
  description = "Name of the worker's ECS service"
  value       = module.faber.service_name
}

output "service_arn" {
  description = "The worker's ECS service"
  value       = module.faber.service_arn
}

output "desired_count" {
  description = "Number of worker tasks that the service was asked to run"
  value       = module.faber.desired_count
}

output "task_definition_arn" {
  description = "Task definition of the worker, with its revision"
  value       = module.faber.task_definition_arn
}

output "log_group_name" {
  description = "Log group of the worker"
  value       = module.faber.log_group_name
}

output "flow_run_log_group_name" {
  description = "Log group of flow runs"
  value       = module.faber.flow_run_log_group_name
}

output "events_queue_name" {
  description = "Queue that receives the cluster's task state changes; null without task events"
  value       = module.faber.events_queue_name
}

output "events_queue_url" {
  description = "URL of the queue that receives the cluster's task state changes; null without task events"
  value       = module.faber.events_queue_url
}

output "events_dlq_url" {
  description = "URL of the queue for events that no worker could handle; null without task events"
  value       = module.faber.events_dlq_url
}

output "work_pool_name" {
  description = "Work pool that the worker serves"
  value       = module.faber.work_pool_name
}

output "base_job_template" {
  description = "Base job template of the work pool as JSON, with every default pointing at this stack"
  value       = module.faber.base_job_template
}

output "autoscaling_capacity" {
  description = "Fewest and most worker tasks that auto-scaling may set; null without it"
  value       = module.faber.autoscaling_capacity
}

output "tick_task_definition_arn" {
  description = "Task definition of the tick; null without scale to zero"
  value       = module.faber.tick_task_definition_arn
}

output "dashboard_name" {
  description = "CloudWatch dashboard"
  value       = module.faber.dashboard_name
}

output "sns_topic_arn" {
  description = "SNS topic that alarms go to"
  value       = module.faber.sns_topic_arn
}

output "ecr_repository_urls" {
  description = "Where to push the images of worker and flow runs"
  value       = module.faber.ecr_repository_urls
}

output "pipeline_name" {
  description = "Name of the pipeline; null without one"
  value       = module.faber.pipeline_name
}

output "connection_status" {
  description = "State of the pipeline's connection: while it is PENDING, somebody has to complete it in the console"
  value       = module.faber.connection_status
}
