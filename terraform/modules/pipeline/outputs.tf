output "pipeline_name" {
  description = "Name of the pipeline"
  value       = aws_codepipeline.this.name
}

output "pipeline_arn" {
  description = "ARN of the pipeline"
  value       = aws_codepipeline.this.arn
}

output "artifact_bucket" {
  description = "Name of the bucket with the artefacts"
  value       = aws_s3_bucket.artifacts.bucket
}

output "artifact_bucket_arn" {
  description = "ARN of the bucket with the artefacts"
  value       = aws_s3_bucket.artifacts.arn
}

output "connection_arn" {
  description = "Connection to the repository; null with a bucket as source"
  value       = local.connection_arn
}

output "connection_status" {
  description = "State of the created connection: while it is PENDING, somebody has to complete it in the console. Null when none was created"
  value       = one(aws_codeconnections_connection.this[*].connection_status)
}

output "project_names" {
  description = "Names of the CodeBuild projects by what they do"
  value       = { for name, project in aws_codebuild_project.this : name => project.name }
}

output "log_group_arns" {
  description = "Log groups of the builds"
  value       = [for group in aws_cloudwatch_log_group.build : group.arn]
}

output "drift_alarm_name" {
  description = "Name of the alarm on drift; null without the search for it"
  value       = one(aws_cloudwatch_metric_alarm.drift[*].alarm_name)
}

# What the roles are bound to: put together here, since this is where it is said
# which bucket it is.
output "state_bucket_arn" {
  description = "ARN of the bucket with the state"
  value       = "arn:${local.partition}:s3:::${var.state_bucket}"
}

output "source_bucket_arn" {
  description = "ARN of the bucket that the configuration comes from; null with a repository as source"
  value       = local.from_repository ? null : "arn:${local.partition}:s3:::${var.pipeline_source.bucket}"
}
