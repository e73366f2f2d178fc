output "queue_arn" {
  description = "ARN of the queue"
  value       = aws_sqs_queue.this.arn
}

output "queue_name" {
  description = "Name of the queue"
  value       = aws_sqs_queue.this.name
}

output "queue_url" {
  description = "URL of the queue"
  value       = aws_sqs_queue.this.url
}

output "dlq_url" {
  description = "URL of the queue for events that no worker could handle"
  value       = aws_sqs_queue.dlq.url
}

output "dlq_name" {
  description = "Name of the queue for events that no worker could handle"
  value       = aws_sqs_queue.dlq.name
}

output "rule_arn" {
  description = "ARN of the EventBridge rule"
  value       = aws_cloudwatch_event_rule.task_state.arn
}
