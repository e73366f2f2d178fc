locals {
  # What the policies and alarms read. The worker publishes all of these, the
  # tick all but the last.
  metrics = {
    backlog            = "Backlog"
    starting           = "StartingRuns"
    running            = "RunningRuns"
    backlog_per_worker = "BacklogPerWorker"
  }
  dimensions = { Stack = var.name, WorkPool = var.work_pool_name }

  # While the secret has no value every task would fail to start: nothing may run then.
  min_capacity = var.suspended || var.scale_to_zero ? 0 : var.min_capacity
  max_capacity = var.suspended ? 0 : var.max_capacity

  scheduled = length(var.scheduled_actions) > 0
  target    = one(concat(aws_appautoscaling_target.this, aws_appautoscaling_target.scheduled))
}

################################################################################
# Bounds
################################################################################

# AWS brings the service inside the bounds whenever they are registered.
# https://docs.aws.amazon.com/autoscaling/application/userguide/getting-started.html
resource "aws_appautoscaling_target" "this" {
  count = local.scheduled ? 0 : 1

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${var.cluster_name}/${var.service_name}"
  min_capacity       = local.min_capacity
  max_capacity       = local.max_capacity

  tags = var.tags
}

# The same target, whose bounds the scheduled actions move: what they did is no
# drift that the next apply may take back. Bounds that change in the
# configuration make the target anew instead.
resource "aws_appautoscaling_target" "scheduled" {
  count      = local.scheduled ? 1 : 0
  depends_on = [aws_appautoscaling_target.this]

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${var.cluster_name}/${var.service_name}"
  min_capacity       = local.min_capacity
  max_capacity       = local.max_capacity

  tags = var.tags

  lifecycle {
    ignore_changes       = [min_capacity, max_capacity]
    replace_triggered_by = [terraform_data.target]
  }
}

# AWS deletes policies and scheduled actions together with their target, so they
# have to be made anew when it is.
resource "terraform_data" "target" {
  input = local.scheduled ? "scheduled, ${local.min_capacity} to ${local.max_capacity}" : "fixed bounds"
}

resource "aws_appautoscaling_scheduled_action" "this" {
  for_each = var.scheduled_actions

  name               = "${var.name}-${each.key}"
  service_namespace  = local.target.service_namespace
  scalable_dimension = local.target.scalable_dimension
  resource_id        = local.target.resource_id
  schedule           = each.value.schedule
  timezone           = each.value.timezone

  scalable_target_action {
    min_capacity = each.value.min_capacity
    max_capacity = each.value.max_capacity
  }

  lifecycle {
    replace_triggered_by = [terraform_data.target]
  }
}

################################################################################
# Target tracking: AWS makes and owns the alarms. It scales out when one policy
# wants it, and in when all do.
################################################################################

locals {
  # None of them with scale_to_zero, whose policies set the number of tasks from
  # the work alone: a second judge would take back what the first did.
  utilization = var.scale_to_zero ? {} : { for name, policy in {
    cpu    = { metric = "ECSServiceAverageCPUUtilization", target = var.cpu_target }
    memory = { metric = "ECSServiceAverageMemoryUtilization", target = var.memory_target }
  } : name => policy if policy.target != null }

  tracks_backlog = !var.scale_to_zero && var.custom_metrics && var.backlog_per_worker != null
}

resource "aws_appautoscaling_policy" "utilization" {
  for_each = local.utilization

  name               = "${var.name}-${each.key}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = local.target.service_namespace
  scalable_dimension = local.target.scalable_dimension
  resource_id        = local.target.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = each.value.target
    scale_out_cooldown = var.scale_out_cooldown
    scale_in_cooldown  = var.scale_in_cooldown

    predefined_metric_specification {
      predefined_metric_type = each.value.metric
    }
  }

  lifecycle {
    replace_triggered_by = [terraform_data.target]
  }
}

# Halves when the workers double, as target tracking asks of a metric. Published
# by workers only: without one it is missing, and AWS then does nothing.
resource "aws_appautoscaling_policy" "backlog" {
  count = local.tracks_backlog ? 1 : 0

  name               = "${var.name}-backlog"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = local.target.service_namespace
  scalable_dimension = local.target.scalable_dimension
  resource_id        = local.target.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.backlog_per_worker
    scale_out_cooldown = var.scale_out_cooldown
    scale_in_cooldown  = var.scale_in_cooldown

    customized_metric_specification {
      namespace   = var.metrics_namespace
      metric_name = local.metrics.backlog_per_worker
      statistic   = "Average"

      dynamic "dimensions" {
        for_each = local.dimensions

        content {
          name  = dimensions.key
          value = dimensions.value
        }
      }
    }
  }

  lifecycle {
    replace_triggered_by = [terraform_data.target]
  }
}

################################################################################
# Scale to zero: the number of tasks follows from the work
#
#   no work for idle_minutes                 0 tasks
#   work, fewer than backlog_per_worker due  1 task, which watches what runs
#   n x backlog_per_worker due               n + 1 tasks, up to the cap
#
# Exact numbers, so that an action which AWS repeats every minute changes nothing.
################################################################################

locals {
  # A step more per worker. AWS takes 20 steps a policy; the last then goes to the cap.
  # https://docs.aws.amazon.com/general/latest/gr/as-app.html
  step_count = var.backlog_per_worker == null ? 1 : min(var.max_capacity, 20)
  steps = [for i in range(local.step_count) : {
    # The alarm's value is 1 + the due runs, its threshold 0.
    from  = i == 0 ? 0 : 1 + i * coalesce(var.backlog_per_worker, 1)
    to    = i == local.step_count - 1 ? null : 1 + (i + 1) * coalesce(var.backlog_per_worker, 1)
    tasks = i == local.step_count - 1 && i > 0 ? var.max_capacity : i + 1
  }]

  # The tick's metrics may be `tick_interval_minutes` apart; two must fit in.
  busy_minutes = max(10, 2 * var.tick_interval_minutes)
  idle_minutes = local.busy_minutes + 5

  work_metrics = { backlog = local.metrics.backlog, starting = local.metrics.starting, running = local.metrics.running }
}

resource "aws_appautoscaling_policy" "work" {
  count = var.scale_to_zero ? 1 : 0

  name               = "${var.name}-work"
  policy_type        = "StepScaling"
  service_namespace  = local.target.service_namespace
  scalable_dimension = local.target.scalable_dimension
  resource_id        = local.target.resource_id

  step_scaling_policy_configuration {
    adjustment_type         = "ExactCapacity"
    metric_aggregation_type = "Maximum"
    cooldown                = var.scale_out_cooldown

    dynamic "step_adjustment" {
      for_each = local.steps

      content {
        metric_interval_lower_bound = step_adjustment.value.from
        metric_interval_upper_bound = step_adjustment.value.to
        scaling_adjustment          = step_adjustment.value.tasks
      }
    }
  }

  lifecycle {
    replace_triggered_by = [terraform_data.target]
  }
}

# One datapoint over the last minutes, looked at anew every minute: the largest
# backlog of that time decides. So it goes up at once, and comes down when that
# time is over.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
resource "aws_cloudwatch_metric_alarm" "work" {
  count = var.scale_to_zero ? 1 : 0

  alarm_name          = "${var.name}-scaling-work"
  alarm_description   = "Auto-scaling, not a fault: the work pool has work, ${aws_appautoscaling_policy.work[0].name} sets the number of workers"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_appautoscaling_policy.work[0].arn]

  metric_query {
    id          = "workers"
    expression  = "IF(backlog + starting + running > 0, 1 + backlog, 0)"
    label       = "1 + due runs, 0 without work"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.work_metrics

    content {
      id = metric_query.key

      metric {
        namespace   = var.metrics_namespace
        metric_name = metric_query.value
        dimensions  = local.dimensions
        stat        = "Maximum"
        period      = local.busy_minutes * 60
      }
    }
  }

  tags = var.tags
}

resource "aws_appautoscaling_policy" "idle" {
  count = var.scale_to_zero ? 1 : 0

  name               = "${var.name}-idle"
  policy_type        = "StepScaling"
  service_namespace  = local.target.service_namespace
  scalable_dimension = local.target.scalable_dimension
  resource_id        = local.target.resource_id

  step_scaling_policy_configuration {
    adjustment_type         = "ExactCapacity"
    metric_aggregation_type = "Maximum"
    cooldown                = var.scale_in_cooldown

    step_adjustment {
      metric_interval_upper_bound = 0
      scaling_adjustment          = 0
    }
  }

  lifecycle {
    replace_triggered_by = [terraform_data.target]
  }
}

# Every minute of a while must have said that nothing is due, starting or
# running, and somebody must have said it: running tasks want a worker that
# watches them, and a pool that nobody could read is not idle. It waits longer
# than the alarm above looks back, so the two never speak at once.
resource "aws_cloudwatch_metric_alarm" "idle" {
  count = var.scale_to_zero ? 1 : 0

  alarm_name          = "${var.name}-scaling-idle"
  alarm_description   = "Auto-scaling, not a fault: the work pool has had no work for ${local.idle_minutes} minutes, ${aws_appautoscaling_policy.idle[0].name} stops the workers"
  comparison_operator = "LessThanOrEqualToThreshold"
  threshold           = 0
  evaluation_periods  = local.idle_minutes
  datapoints_to_alarm = local.idle_minutes
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_appautoscaling_policy.idle[0].arn]

  metric_query {
    id          = "work"
    expression  = "backlog + starting + running"
    label       = "runs due, starting or running"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.work_metrics

    content {
      id = metric_query.key

      metric {
        namespace   = var.metrics_namespace
        metric_name = metric_query.value
        dimensions  = local.dimensions
        stat        = "Maximum"
        period      = 60
      }
    }
  }

  tags = var.tags
}

################################################################################
# The tick's schedule: somebody has to look at the pool while no worker does
################################################################################

resource "aws_scheduler_schedule" "tick" {
  count = var.scale_to_zero ? 1 : 0

  name                = "${var.name}-tick"
  description         = "Publishes the backlog of work pool ${var.work_pool_name}, which wakes the worker"
  schedule_expression = var.tick_interval_minutes == 1 ? "rate(1 minute)" : "rate(${var.tick_interval_minutes} minutes)"
  state               = var.suspended ? "DISABLED" : "ENABLED"
  kms_key_arn         = var.kms_key_arn

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = var.cluster_arn
    role_arn = var.scheduler_role_arn

    ecs_parameters {
      task_definition_arn     = var.tick_task_definition_arn
      launch_type             = length(var.capacity_provider_strategy) == 0 ? "FARGATE" : null
      enable_ecs_managed_tags = true
      propagate_tags          = "TASK_DEFINITION"

      dynamic "capacity_provider_strategy" {
        for_each = var.capacity_provider_strategy

        content {
          capacity_provider = capacity_provider_strategy.value.capacity_provider
          weight            = capacity_provider_strategy.value.weight
          base              = capacity_provider_strategy.value.base
        }
      }

      network_configuration {
        subnets          = var.subnet_ids
        security_groups  = var.security_group_ids
        assign_public_ip = false
      }
    }

    # The next one comes soon enough, and an old backlog is nothing to publish.
    retry_policy {
      maximum_event_age_in_seconds = 60
      maximum_retry_attempts       = 0
    }
  }
}
