data "aws_region" "current" {}

locals {
  # The health check below asks what this variable makes the worker serve.
  environment = merge({ FABER_WITH_HEALTHCHECK = "true" }, var.environment)

  container = {
    name      = "worker"
    image     = var.image
    essential = true
    command   = ["worker", "start"]

    environment = [for name in sort(keys(local.environment)) : { name = name, value = local.environment[name] }]

    # ECS itself reads the keys out of the JSON value: the credentials stand in
    # no task definition and pass no code of ours before the worker starts.
    secrets = var.secret_arn == null ? [] : [
      for key in sort(tolist(var.secret_keys)) : { name = key, valueFrom = "${var.secret_arn}:${key}::" }
    ]

    user                   = "65532:65532"
    readonlyRootFilesystem = true
    stopTimeout            = var.stop_timeout

    # Asked by the binary itself: the image has neither shell nor curl.
    healthCheck = {
      command     = ["CMD", "/faber", "worker", "health"]
      interval    = 30
      timeout     = 5
      retries     = 3
      startPeriod = 60
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = var.log_group_name
        awslogs-region        = data.aws_region.current.id
        awslogs-stream-prefix = "worker"
      }
    }
  }
}

resource "aws_ecs_task_definition" "this" {
  family                   = "${var.name}-worker"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = var.execution_role_arn
  task_role_arn            = var.worker_role_arn
  container_definitions    = jsonencode([local.container])

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  tags = var.tags
}

resource "aws_ecs_service" "this" {
  name            = "${var.name}-worker"
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.this.arn
  desired_count   = var.desired_count
  launch_type     = "FARGATE"

  # Workers of one pool share its runs, so the new one starts before the old ends.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = var.security_group_ids
    assign_public_ip = false
  }

  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"
  wait_for_steady_state   = var.wait_for_steady_state

  tags = var.tags
}
