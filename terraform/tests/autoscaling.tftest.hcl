# Who sets the number of workers, in which bounds, and on what.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name           = "data"
  cluster_name   = "data"
  cluster_arn    = "arn:aws:ecs:eu-central-1:123456789012:cluster/data"
  service_name   = "data-worker"
  work_pool_name = "ecs-production"

  tick_task_definition_arn = "arn:aws:ecs:eu-central-1:123456789012:task-definition/data-tick:1"
  scheduler_role_arn       = "arn:aws:iam::123456789012:role/scheduler"
  subnet_ids               = ["subnet-0123456789abcdef0"]
  security_group_ids       = ["sg-0123456789abcdef0"]
}

run "target_tracking" {
  command = apply

  module {
    source = "./modules/autoscaling"
  }

  assert {
    condition     = aws_appautoscaling_target.this[0].resource_id == "service/data/data-worker" && aws_appautoscaling_target.this[0].min_capacity == 1 && aws_appautoscaling_target.this[0].max_capacity == 3
    error_message = "The worker's service is scaled, from 1 to 3."
  }
  assert {
    condition = { for key, policy in aws_appautoscaling_policy.utilization : key => [
      policy.target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type,
      policy.target_tracking_scaling_policy_configuration[0].target_value,
      ] } == {
      cpu    = ["ECSServiceAverageCPUUtilization", 70]
      memory = ["ECSServiceAverageMemoryUtilization", 80]
    }
    error_message = "CPU and memory are tracked."
  }
  assert {
    condition = (
      aws_appautoscaling_policy.backlog[0].target_tracking_scaling_policy_configuration[0].target_value == 100
      && aws_appautoscaling_policy.backlog[0].target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metric_name == "BacklogPerWorker"
      && { for dimension in aws_appautoscaling_policy.backlog[0].target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].dimensions : dimension.name => dimension.value } == { Stack = "data", WorkPool = "ecs-production" }
    )
    error_message = "The backlog for each worker is tracked."
  }
  assert {
    condition = alltrue([
      for policy in concat(values(aws_appautoscaling_policy.utilization), aws_appautoscaling_policy.backlog) :
      policy.target_tracking_scaling_policy_configuration[0].scale_out_cooldown == 60 && policy.target_tracking_scaling_policy_configuration[0].scale_in_cooldown == 300 && policy.target_tracking_scaling_policy_configuration[0].disable_scale_in != true
    ])
    error_message = "More workers come soon, and go late."
  }
  assert {
    condition     = length(aws_appautoscaling_policy.work) + length(aws_appautoscaling_policy.idle) + length(aws_cloudwatch_metric_alarm.work) + length(aws_cloudwatch_metric_alarm.idle) + length(aws_scheduler_schedule.tick) == 0
    error_message = "Without scale_to_zero there is always a worker that looks at the pool."
  }
}

run "nothing_tracked_that_was_not_asked_for" {
  command = plan

  module {
    source = "./modules/autoscaling"
  }

  variables {
    cpu_target     = null
    memory_target  = null
    custom_metrics = false
  }

  assert {
    condition     = length(aws_appautoscaling_policy.utilization) == 0 && length(aws_appautoscaling_policy.backlog) == 0
    error_message = "A worker without metrics is not scaled on one."
  }
}

run "suspended" {
  command = plan

  module {
    source = "./modules/autoscaling"
  }

  variables {
    suspended     = true
    scale_to_zero = true
  }

  assert {
    condition     = aws_appautoscaling_target.this[0].min_capacity == 0 && aws_appautoscaling_target.this[0].max_capacity == 0 && aws_scheduler_schedule.tick[0].state == "DISABLED"
    error_message = "While the secret has no value nothing is started."
  }
}

run "schedule" {
  command = apply

  module {
    source = "./modules/autoscaling"
  }

  variables {
    scheduled_actions = {
      morning = { schedule = "cron(0 7 ? * MON-FRI *)", timezone = "Europe/Berlin", min_capacity = 2, max_capacity = 6 }
      evening = { schedule = "cron(0 19 ? * * *)", min_capacity = 1, max_capacity = 3 }
    }
  }

  assert {
    condition     = length(aws_appautoscaling_target.this) == 0 && aws_appautoscaling_target.scheduled[0].min_capacity == 1
    error_message = "The bounds of a schedule are not Terraform's to take back."
  }
  assert {
    condition = { for key, action in aws_appautoscaling_scheduled_action.this : key => [
      action.name, action.schedule, action.timezone, tonumber(action.scalable_target_action[0].min_capacity), tonumber(action.scalable_target_action[0].max_capacity), action.resource_id,
      ] } == {
      morning = ["data-morning", "cron(0 7 ? * MON-FRI *)", "Europe/Berlin", 2, 6, "service/data/data-worker"]
      evening = ["data-evening", "cron(0 19 ? * * *)", "UTC", 1, 3, "service/data/data-worker"]
    }
    error_message = "Each action sets its bounds at its time."
  }
}

run "scale_to_zero" {
  command = apply

  module {
    source = "./modules/autoscaling"
  }

  variables {
    scale_to_zero         = true
    tick_interval_minutes = 5
  }

  assert {
    condition     = aws_appautoscaling_target.this[0].min_capacity == 0 && length(aws_appautoscaling_policy.utilization) == 0 && length(aws_appautoscaling_policy.backlog) == 0
    error_message = "The work alone decides."
  }
  assert {
    condition = { for step in aws_appautoscaling_policy.work[0].step_scaling_policy_configuration[0].step_adjustment : step.scaling_adjustment => "${step.metric_interval_lower_bound} to ${try(tonumber(step.metric_interval_upper_bound), null) == null ? "any" : step.metric_interval_upper_bound}" } == {
      1 = "0 to 101"
      2 = "101 to 201"
      3 = "201 to any"
    }
    error_message = "A worker more for each 100 due runs, up to the cap."
  }
  assert {
    condition     = aws_appautoscaling_policy.work[0].step_scaling_policy_configuration[0].adjustment_type == "ExactCapacity" && aws_appautoscaling_policy.idle[0].step_scaling_policy_configuration[0].adjustment_type == "ExactCapacity" && one(aws_appautoscaling_policy.idle[0].step_scaling_policy_configuration[0].step_adjustment).scaling_adjustment == 0
    error_message = "Repeated every minute, an action must change nothing."
  }
  assert {
    condition     = one([for query in aws_cloudwatch_metric_alarm.work[0].metric_query : query.metric[0].period if query.id == "backlog"]) == 600 && aws_cloudwatch_metric_alarm.idle[0].evaluation_periods == 15
    error_message = "Idle is asked for longer than work is looked back at."
  }
  assert {
    condition     = aws_scheduler_schedule.tick[0].schedule_expression == "rate(5 minutes)" && aws_scheduler_schedule.tick[0].target[0].ecs_parameters[0].task_definition_arn == "arn:aws:ecs:eu-central-1:123456789012:task-definition/data-tick:1" && aws_scheduler_schedule.tick[0].target[0].role_arn == "arn:aws:iam::123456789012:role/scheduler"
    error_message = "The tick is started by the schedule, with the scheduler's role."
  }
}

run "more_workers_than_steps" {
  command = plan

  module {
    source = "./modules/autoscaling"
  }

  variables {
    scale_to_zero      = true
    max_capacity       = 50
    backlog_per_worker = 10
  }

  assert {
    condition     = length(aws_appautoscaling_policy.work[0].step_scaling_policy_configuration[0].step_adjustment) == 20 && max([for step in aws_appautoscaling_policy.work[0].step_scaling_policy_configuration[0].step_adjustment : step.scaling_adjustment]...) == 50
    error_message = "AWS takes 20 steps; the last goes to the cap."
  }
}

run "one_worker_at_most" {
  command = plan

  module {
    source = "./modules/autoscaling"
  }

  variables {
    scale_to_zero      = true
    backlog_per_worker = null
  }

  assert {
    condition     = one(aws_appautoscaling_policy.work[0].step_scaling_policy_configuration[0].step_adjustment).scaling_adjustment == 1
    error_message = "Without a look at the backlog, one worker comes for whatever work."
  }
}
