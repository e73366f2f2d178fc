data "aws_region" "current" {}

locals {
  log_configuration = {
    for stream in ["worker", "tick"] : stream => {
      logDriver = "awslogs"
      options = {
        awslogs-group         = var.log_group_name
        awslogs-region        = data.aws_region.current.id
        awslogs-stream-prefix = stream
      }
    }
  }

  # ECS itself reads the keys out of the JSON value: the credentials stand in
  # no task definition and pass no code of ours before the worker starts.
  secrets = var.secret_arn == null ? [] : [
    for key in sort(tolist(var.secret_keys)) : { name = key, valueFrom = "${var.secret_arn}:${key}::" }
  ]

  # What differs between the two workers.
  workers = {
    faber = {
      command = ["worker", "start"]
      # The health check below asks what this variable makes the worker serve.
      environment = merge({ FABER_WITH_HEALTHCHECK = "true" }, var.environment)
      # Asked by the binary itself: the image has neither shell nor curl.
      health = ["CMD", "/faber", "worker", "health"]
      user   = "65532:65532"
      # ECS Exec puts its agent into the container and wants to write there.
      read_only = !var.enable_execute_command
    }
    prefect = {
      # The shell is there for one thing: Prefect's worker knows no account and
      # workspace ids, only the URL that is made of them.
      command     = ["sh", "-c", "${local.prefect_url}exec prefect worker start --type ecs --pool \"$1\" --with-healthcheck", "sh", var.work_pool_name]
      environment = var.environment
      # As the image has Python and no curl. The answer is 503 once the worker has
      # not polled for 30 of its intervals, which urlopen makes an error.
      health = ["CMD", "python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
      # The image's own user, who may write what Prefect keeps in its home.
      user      = null
      read_only = false
    }
  }
  prefect_url = contains(keys(var.environment), "PREFECT_API_URL") ? "" : "PREFECT_API_URL=\"$${PREFECT_CLOUD_API_URL:-https://api.prefect.cloud/api}/accounts/$PREFECT_ACCOUNT_ID/workspaces/$PREFECT_WORKSPACE_ID\"; export PREFECT_API_URL; "
  worker      = local.workers[var.worker]

  container = merge(
    {
      name      = "worker"
      image     = var.image
      essential = true
      command   = local.worker.command

      environment = [for name in sort(keys(local.worker.environment)) : { name = name, value = local.worker.environment[name] }]
      secrets     = local.secrets

      readonlyRootFilesystem = local.worker.read_only
      stopTimeout            = var.stop_timeout

      healthCheck = {
        command     = local.worker.health
        interval    = 30
        timeout     = 5
        retries     = 3
        startPeriod = 60
      }

      logConfiguration = local.log_configuration["worker"]
    },
    { for key, value in { user = local.worker.user } : key => value if value != null },
    # Exec's sessions leave children behind that only an init process reaps.
    { for key, value in { linuxParameters = { initProcessEnabled = true } } : key => value if var.enable_execute_command },
  )
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

################################################################################
# The service, with a fixed number of tasks or with one that auto-scaling sets
################################################################################

moved {
  from = aws_ecs_service.this
  to   = aws_ecs_service.this[0]
}

resource "aws_ecs_service" "this" {
  count = var.autoscaled ? 0 : 1

  name            = "${var.name}-worker"
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.this.arn
  desired_count   = var.desired_count
  launch_type     = local.launch_type

  dynamic "capacity_provider_strategy" {
    for_each = var.capacity_provider_strategy

    content {
      capacity_provider = capacity_provider_strategy.value.capacity_provider
      weight            = capacity_provider_strategy.value.weight
      base              = capacity_provider_strategy.value.base
    }
  }
  force_new_deployment = local.force_new_deployment

  # Workers of one pool share its runs, so the new one starts before the old ends.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  availability_zone_rebalancing      = "ENABLED"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = var.security_group_ids
    assign_public_ip = false
  }

  enable_execute_command  = var.enable_execute_command
  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"
  wait_for_steady_state   = var.wait_for_steady_state

  tags = var.tags
}

# The same but for one line, since `ignore_changes` takes no condition: once the
# service exists, the number of its tasks is none of Terraform's. A test holds
# the two alike. Both have one name, hence the order: the one goes before the
# other comes, in both directions.
resource "aws_ecs_service" "autoscaled" {
  count      = var.autoscaled ? 1 : 0
  depends_on = [aws_ecs_service.this]

  name            = "${var.name}-worker"
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.this.arn
  desired_count   = var.desired_count
  launch_type     = local.launch_type

  dynamic "capacity_provider_strategy" {
    for_each = var.capacity_provider_strategy

    content {
      capacity_provider = capacity_provider_strategy.value.capacity_provider
      weight            = capacity_provider_strategy.value.weight
      base              = capacity_provider_strategy.value.base
    }
  }
  force_new_deployment = local.force_new_deployment

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  availability_zone_rebalancing      = "ENABLED"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = var.security_group_ids
    assign_public_ip = false
  }

  enable_execute_command  = var.enable_execute_command
  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"
  wait_for_steady_state   = var.wait_for_steady_state

  tags = var.tags

  lifecycle {
    ignore_changes = [desired_count]
  }
}

locals {
  service = one(concat(aws_ecs_service.this, aws_ecs_service.autoscaled))

  # ECS takes either of the two. The provider changes a strategy in place only
  # together with a new deployment, and would replace the service otherwise.
  launch_type          = length(var.capacity_provider_strategy) == 0 ? "FARGATE" : null
  force_new_deployment = length(var.capacity_provider_strategy) > 0
}

################################################################################
# The tick: the same image, started by a schedule, that tells the backlog while
# no worker runs
################################################################################

locals {
  tick_container = {
    name      = "tick"
    image     = var.image
    essential = true
    command   = ["tick"]

    environment = [for name in sort(keys(var.environment)) : { name = name, value = var.environment[name] }]
    secrets     = local.secrets

    user                   = "65532:65532"
    readonlyRootFilesystem = true
    # It ends by itself within 10 seconds, and holds nothing to hand over.
    stopTimeout = 10

    logConfiguration = local.log_configuration["tick"]
  }
}

resource "aws_ecs_task_definition" "tick" {
  count = var.create_tick ? 1 : 0

  family                   = "${var.name}-tick"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  # The smallest that Fargate has.
  cpu                   = 256
  memory                = 512
  execution_role_arn    = var.execution_role_arn
  task_role_arn         = var.tick_role_arn
  container_definitions = jsonencode([local.tick_container])

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  tags = var.tags
}
