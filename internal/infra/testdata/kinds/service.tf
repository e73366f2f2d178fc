resource "aws_ecs_cluster" "this" {
  name = var.name
  setting {
    name  = "containerInsights"
    value = var.changed ? "enhanced" : "enabled"
  }
  configuration {
    execute_command_configuration {
      logging    = "OVERRIDE"
      kms_key_id = aws_kms_key.this.arn
      log_configuration {
        cloud_watch_log_group_name     = aws_cloudwatch_log_group.exec.name
        cloud_watch_encryption_enabled = true
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "exec" {
  name              = "/${var.name}/exec"
  retention_in_days = 7
}

resource "aws_cloudwatch_log_group" "worker" {
  name              = "/${var.name}/worker"
  retention_in_days = var.changed ? 60 : 30
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.changed ? 512 : 256
  memory                   = var.changed ? 1024 : 512
  execution_role_arn       = aws_iam_role.this.arn
  task_role_arn            = aws_iam_role.this.arn
  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "ARM64"
  }
  ephemeral_storage {
    size_in_gib = 30
  }
  container_definitions = jsonencode([{
    name                   = "worker"
    image                  = var.changed ? "faber:b" : "faber:a"
    essential              = true
    command                = ["worker", "start"]
    readonlyRootFilesystem = true
    user                   = "65532:65532"
    stopTimeout            = 120
    linuxParameters        = { initProcessEnabled = true }
    healthCheck            = { command = ["CMD", "/faber", "health"], interval = 30, timeout = 5, retries = 3, startPeriod = 60 }
    environment            = [{ name = "A", value = "b" }]
    secrets                = [{ name = "PREFECT_API_KEY", valueFrom = "${aws_secretsmanager_secret.this.arn}:PREFECT_API_KEY::" }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.worker.name
        awslogs-region        = data.aws_region.this.name
        awslogs-stream-prefix = "worker"
        mode                  = "non-blocking"
        max-buffer-size       = "4m"
      }
    }
  }])
}

resource "aws_ecs_service" "spot" {
  name            = "${var.name}-spot"
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.this.arn
  desired_count   = 0

  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = 1
    weight            = var.changed ? 1 : 0
  }
  capacity_provider_strategy {
    capacity_provider = "FARGATE_SPOT"
    weight            = 1
  }
  # Another strategy would replace the service otherwise.
  force_new_deployment               = true
  enable_execute_command             = var.changed
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"
  availability_zone_rebalancing      = "ENABLED"
  deployment_maximum_percent         = 200
  deployment_minimum_healthy_percent = var.changed ? 50 : 100
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  deployment_controller {
    type = "ECS"
  }
  network_configuration {
    subnets         = aws_subnet.this[*].id
    security_groups = [aws_security_group.this.id]
  }
  lifecycle {
    ignore_changes = [desired_count]
  }
  depends_on = [aws_ecs_cluster_capacity_providers.this]
}

resource "aws_ecs_service" "fargate" {
  name                               = "${var.name}-fargate"
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this.arn
  desired_count                      = var.changed ? 2 : 0
  launch_type                        = "FARGATE"
  platform_version                   = "LATEST"
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"
  deployment_maximum_percent         = 200
  deployment_minimum_healthy_percent = 100
  network_configuration {
    subnets          = aws_subnet.this[*].id
    security_groups  = [aws_security_group.this.id]
    assign_public_ip = false
  }
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.spot.name}"
  min_capacity       = 0
  max_capacity       = var.changed ? 5 : 3
}

resource "aws_appautoscaling_policy" "predefined" {
  for_each           = { cpu = "ECSServiceAverageCPUUtilization", memory = "ECSServiceAverageMemoryUtilization" }
  name               = "${var.name}-${each.key}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id
  target_tracking_scaling_policy_configuration {
    target_value       = var.changed ? 70 : 60
    scale_in_cooldown  = 300
    scale_out_cooldown = 60
    predefined_metric_specification {
      predefined_metric_type = each.value
    }
  }
}

resource "aws_appautoscaling_policy" "backlog" {
  name               = "${var.name}-backlog"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id
  target_tracking_scaling_policy_configuration {
    target_value     = var.changed ? 20 : 10
    disable_scale_in = false
    customized_metric_specification {
      metric_name = "BacklogPerWorker"
      namespace   = "Faber"
      statistic   = "Average"
      dimensions {
        name  = "Stack"
        value = var.name
      }
      dimensions {
        name  = "WorkPool"
        value = "pool"
      }
    }
  }
}

resource "aws_appautoscaling_policy" "math" {
  name               = "${var.name}-math"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id
  target_tracking_scaling_policy_configuration {
    target_value = var.changed ? 20 : 10
    customized_metric_specification {
      metrics {
        id          = "e1"
        label       = "backlog per worker"
        expression  = "m1 / 2"
        return_data = true
      }
      metrics {
        id          = "m1"
        return_data = false
        metric_stat {
          stat = "Maximum"
          metric {
            metric_name = "Backlog"
            namespace   = "Faber"
            dimensions {
              name  = "Stack"
              value = var.name
            }
          }
        }
      }
    }
  }
}

resource "aws_appautoscaling_policy" "step" {
  for_each           = { out = "ExactCapacity", in = "ChangeInCapacity" }
  name               = "${var.name}-${each.key}"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id
  step_scaling_policy_configuration {
    adjustment_type         = each.value
    cooldown                = var.changed ? 120 : 60
    metric_aggregation_type = "Maximum"
    step_adjustment {
      metric_interval_lower_bound = 0
      metric_interval_upper_bound = each.key == "out" ? null : 10
      scaling_adjustment          = 1
    }
    dynamic "step_adjustment" {
      for_each = each.key == "out" ? [] : [1]
      content {
        metric_interval_lower_bound = 10
        scaling_adjustment          = 2
      }
    }
  }
}

resource "aws_appautoscaling_scheduled_action" "this" {
  for_each           = { cron = "cron(0 6 ? * MON-FRI *)", rate = "rate(1 hour)" }
  name               = "${var.name}-${each.key}"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id
  schedule           = each.value
  timezone           = var.changed ? "Europe/Berlin" : "UTC"
  scalable_target_action {
    min_capacity = 1
    max_capacity = var.changed ? 4 : 3
  }
}

resource "aws_scheduler_schedule_group" "this" {
  name = var.name
}

resource "aws_scheduler_schedule" "this" {
  name                         = "${var.name}-tick"
  group_name                   = aws_scheduler_schedule_group.this.name
  description                  = "Publishes the backlog"
  schedule_expression          = var.changed ? "rate(2 minutes)" : "rate(1 minute)"
  schedule_expression_timezone = "UTC"
  state                        = "ENABLED"
  kms_key_arn                  = aws_kms_key.this.arn
  flexible_time_window {
    mode = "OFF"
  }
  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = aws_iam_role.this.arn
    input    = jsonencode({})
    retry_policy {
      maximum_event_age_in_seconds = 60
      maximum_retry_attempts       = 0
    }
    dead_letter_config {
      arn = aws_sqs_queue.dlq.arn
    }
    ecs_parameters {
      task_definition_arn     = aws_ecs_task_definition.this.arn
      task_count              = 1
      launch_type             = "FARGATE"
      platform_version        = "LATEST"
      enable_ecs_managed_tags = true
      propagate_tags          = "TASK_DEFINITION"
      tags                    = { "faber:stack" = var.name }
      network_configuration {
        subnets          = aws_subnet.this[*].id
        security_groups  = [aws_security_group.this.id]
        assign_public_ip = false
      }
    }
  }
}
