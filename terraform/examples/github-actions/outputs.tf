output "plan_role_arn" {
  description = "For the workflow: variable `PLAN_ROLE_ARN` of the repository"
  value       = aws_iam_role.this["plan"].arn
}

output "apply_role_arn" {
  description = "For the workflow: variable `APPLY_ROLE_ARN` of the environment"
  value       = aws_iam_role.this["apply"].arn
}
