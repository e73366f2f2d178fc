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

output "tick_role_arn" {
  description = "Role of `faber tick`, known once it has its rights; null when there is none"
  value       = local.tick_role_arn

  depends_on = [aws_iam_role_policy.tick]
}

output "scheduler_role_arn" {
  description = "Role with which EventBridge Scheduler runs `faber tick`, known once it has its rights; null when there is none"
  value       = local.scheduler_role_arn

  depends_on = [aws_iam_role_policy.scheduler]
}

output "flow_logs_role_arn" {
  description = "Role with which the VPC writes its flow logs, known once it has its rights; null when there is none"
  value       = local.flow_logs_role_arn

  depends_on = [aws_iam_role_policy.flow_logs]
}

output "codepipeline_role_arn" {
  description = "Role of the pipeline, known once it has its rights; null when there is none"
  value       = local.codepipeline_role_arn

  depends_on = [aws_iam_role_policy.codepipeline]
}

output "codebuild_plan_role_arn" {
  description = "Role of the builds that validate, plan and look for drift, known once it has its rights; null when there is none"
  value       = local.codebuild_plan_role_arn

  depends_on = [aws_iam_role_policy.codebuild_plan]
}

output "codebuild_apply_role_arn" {
  description = "Role of the build that applies, known once it has its rights; null when there is none"
  value       = local.codebuild_apply_role_arn

  depends_on = [aws_iam_role_policy.codebuild_apply, aws_iam_role_policy_attachment.codebuild_apply_network]
}

output "event_trigger_role_arn" {
  description = "Role with which EventBridge starts the pipeline and the search for drift, known once it has its rights; null when there is none"
  value       = local.event_trigger_role_arn

  depends_on = [aws_iam_role_policy.event_trigger]
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
