output "name" {
  description = "Name of the service"
  value       = aws_ecs_service.this.name
}

output "arn" {
  description = "ARN of the service"
  value       = aws_ecs_service.this.id
}

output "desired_count" {
  description = "Number of worker tasks asked for"
  value       = aws_ecs_service.this.desired_count
}

output "task_definition_arn" {
  description = "Task definition with its revision"
  value       = aws_ecs_task_definition.this.arn
}

output "task_definition_family" {
  description = "Family of the task definition"
  value       = aws_ecs_task_definition.this.family
}
