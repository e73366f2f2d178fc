output "arn" {
  description = "ARN of the cluster, known once its capacity providers are set"
  value       = aws_ecs_cluster.this.arn

  depends_on = [aws_ecs_cluster_capacity_providers.this]
}

output "name" {
  description = "Name of the cluster"
  value       = aws_ecs_cluster.this.name
}

output "worker_log_group_name" {
  description = "Log group of the worker"
  value       = aws_cloudwatch_log_group.worker.name
}

output "worker_log_group_arn" {
  description = "ARN of the worker's log group"
  value       = aws_cloudwatch_log_group.worker.arn
}

output "flow_run_log_group_name" {
  description = "Log group of flow runs"
  value       = aws_cloudwatch_log_group.flow_runs.name
}

output "flow_run_log_group_arn" {
  description = "ARN of the flow runs' log group"
  value       = aws_cloudwatch_log_group.flow_runs.arn
}
