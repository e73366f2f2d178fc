output "min_capacity" {
  description = "Fewest tasks that the service is scaled to"
  value       = local.min_capacity
}

output "max_capacity" {
  description = "The cap: most tasks that the service is scaled to, whatever the work"
  value       = local.max_capacity
}

output "policy_names" {
  description = "Names of the scaling policies"
  value = concat(
    [for policy in aws_appautoscaling_policy.utilization : policy.name],
    aws_appautoscaling_policy.backlog[*].name,
    aws_appautoscaling_policy.work[*].name,
    aws_appautoscaling_policy.idle[*].name,
  )
}

output "tick_schedule_name" {
  description = "Schedule of the tick; null without `scale_to_zero`"
  value       = one(aws_scheduler_schedule.tick[*].name)
}
