output "dashboard_name" {
  description = "CloudWatch dashboard; null without one"
  value       = one(aws_cloudwatch_dashboard.this[*].dashboard_name)
}

output "alarm_names" {
  description = "Names of the alarms"
  value       = [for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name]
}

output "topic_arn" {
  description = "SNS topic that the alarms go to; null without alarms"
  value       = var.create_alarms ? local.topic_arn : null
}
