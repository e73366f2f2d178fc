output "arn" {
  description = "ARN of the secret, known once its value was written if Terraform writes it"
  value       = aws_secretsmanager_secret.this.arn

  depends_on = [aws_secretsmanager_secret_version.this]
}

output "name" {
  description = "Name of the secret"
  value       = aws_secretsmanager_secret.this.name
}

output "policy" {
  description = "Policy of the secret as JSON. Null without `create_policy`"
  value       = one(aws_secretsmanager_secret_policy.this[*].policy)
}
