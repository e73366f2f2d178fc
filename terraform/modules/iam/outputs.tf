output "execution_role_arn" {
  description = "Role with which ECS starts tasks, known once it has its rights"
  value       = local.execution_role_arn

  depends_on = [aws_iam_role_policy.execution]
}

output "worker_role_arn" {
  description = "Role of the worker, known once it has its rights"
  value       = local.worker_role_arn

  depends_on = [aws_iam_role_policy.worker]
}

output "flow_run_role_arn" {
  description = "Role of flow runs, known once it has its rights"
  value       = local.flow_run_role_arn

  depends_on = [aws_iam_role_policy.flow_run, aws_iam_role_policy_attachment.flow_run]
}

output "trust_policy" {
  description = "Trust policy of the created roles as JSON"
  value       = jsonencode(local.trust_policy)
}

output "execution_policy" {
  description = "Rights of the created execution role as JSON, to build one of your own from"
  value       = jsonencode(local.execution_policy)
}

output "worker_policy" {
  description = "Rights of the created worker role as JSON, to build one of your own from"
  value       = jsonencode(local.worker_policy)
}
