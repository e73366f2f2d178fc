output "name" {
  description = "Name of the service"
  value       = local.service.name
}

output "arn" {
  description = "ARN of the service"
  value       = local.service.id
}

output "desired_count" {
  description = "Number of worker tasks asked for"
  value       = local.service.desired_count
}

output "task_definition_arn" {
  description = "Task definition with its revision"
  value       = aws_ecs_task_definition.this.arn
}

output "task_definition_family" {
  description = "Family of the task definition"
  value       = aws_ecs_task_definition.this.family
}

output "tick_task_definition_arn" {
  description = "Task definition of the tick with its revision; null without one"
  value       = one(aws_ecs_task_definition.tick[*].arn)
}
