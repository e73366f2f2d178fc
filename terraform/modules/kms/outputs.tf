output "key_arn" {
  description = "ARN of the key, known once its policy lets the services use it"
  value       = aws_kms_key.this.arn
}

output "alias_name" {
  description = "Alias of the key"
  value       = aws_kms_alias.this.name
}

output "key_policy" {
  description = "Policy of the key as JSON, to build one of your own from"
  value       = jsonencode(local.key_policy)
}
