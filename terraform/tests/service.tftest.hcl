# The worker's task: shut in, without credentials in sight, watched.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name               = "data"
  cluster_arn        = "arn:aws:ecs:eu-central-1:123456789012:cluster/data"
  subnet_ids         = ["subnet-0123456789abcdef0"]
  security_group_ids = ["sg-0123456789abcdef0"]
  execution_role_arn = "arn:aws:iam::123456789012:role/execution"
  worker_role_arn    = "arn:aws:iam::123456789012:role/worker"
  log_group_name     = "/faber/data/worker"
  image              = "faber:1.0.0"
  environment        = { FABER_WORK_POOL = "ecs-production", AWS_REGION = "eu-central-1" }
  secret_arn         = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-AbCdEf"
  secret_keys        = ["PREFECT_API_KEY", "PREFECT_ACCOUNT_ID"]
}

run "container" {
  command = plan

  module {
    source = "./modules/service"
  }

  assert {
    condition = jsondecode(aws_ecs_task_definition.this.container_definitions) == [{
      name      = "worker"
      image     = "faber:1.0.0"
      essential = true
      command   = ["worker", "start"]
      environment = [
        { name = "AWS_REGION", value = "eu-central-1" },
        { name = "FABER_WITH_HEALTHCHECK", value = "true" },
        { name = "FABER_WORK_POOL", value = "ecs-production" },
      ]
      secrets = [
        { name = "PREFECT_ACCOUNT_ID", valueFrom = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-AbCdEf:PREFECT_ACCOUNT_ID::" },
        { name = "PREFECT_API_KEY", valueFrom = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-AbCdEf:PREFECT_API_KEY::" },
      ]
      user                   = "65532:65532"
      readonlyRootFilesystem = true
      stopTimeout            = 60
      healthCheck            = { command = ["CMD", "/faber", "worker", "health"], interval = 30, timeout = 5, retries = 3, startPeriod = 60 }
      logConfiguration = {
        logDriver = "awslogs"
        options   = { awslogs-group = "/faber/data/worker", awslogs-region = "eu-central-1", awslogs-stream-prefix = "worker" }
      }
    }]
    error_message = "The container is started as documented."
  }
  assert {
    condition     = aws_ecs_task_definition.this.runtime_platform[0].cpu_architecture == "X86_64" && aws_ecs_task_definition.this.network_mode == "awsvpc" && aws_ecs_task_definition.this.requires_compatibilities == toset(["FARGATE"])
    error_message = "The task is for Fargate."
  }
  assert {
    condition     = aws_ecs_service.this[0].network_configuration[0].assign_public_ip == false && aws_ecs_service.this[0].network_configuration[0].subnets == toset(["subnet-0123456789abcdef0"])
    error_message = "The worker runs in the private subnets, without a public address."
  }
  assert {
    condition     = aws_ecs_service.this[0].deployment_circuit_breaker[0].enable && aws_ecs_service.this[0].deployment_circuit_breaker[0].rollback
    error_message = "A deployment that does not come up is rolled back."
  }
}

run "without_secret_on_arm" {
  command = plan

  module {
    source = "./modules/service"
  }

  variables {
    secret_arn       = null
    cpu_architecture = "ARM64"
    desired_count    = 0
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].secrets == []
    error_message = "No secret, no secrets."
  }
  assert {
    condition     = aws_ecs_task_definition.this.runtime_platform[0].cpu_architecture == "ARM64" && aws_ecs_service.this[0].desired_count == 0
    error_message = "Architecture and count are the given ones."
  }
}

run "strategy_instead_of_launch_type" {
  command = plan

  module {
    source = "./modules/service"
  }

  variables {
    capacity_provider_strategy = [
      { capacity_provider = "FARGATE", base = 1, weight = 0 },
      { capacity_provider = "FARGATE_SPOT" },
    ]
  }

  assert {
    condition     = { for item in aws_ecs_service.this[0].capacity_provider_strategy : item.capacity_provider => [item.base, item.weight] } == { FARGATE = [1, 0], FARGATE_SPOT = [0, 1] }
    error_message = "The strategy is the given one."
  }
  assert {
    condition     = aws_ecs_service.this[0].force_new_deployment
    error_message = "Without it the provider replaces the service when the strategy changes."
  }
}

# What Terraform may not touch is the only difference between the two services.
run "autoscaled" {
  command = apply

  module {
    source = "./modules/service"
  }

  variables {
    autoscaled             = true
    desired_count          = 2
    enable_execute_command = true
    capacity_provider_strategy = [
      { capacity_provider = "FARGATE_SPOT" },
    ]
  }

  assert {
    condition     = length(aws_ecs_service.this) == 0 && aws_ecs_service.autoscaled[0].desired_count == 2
    error_message = "There is one service, which begins with the given number of tasks."
  }
  assert {
    condition     = aws_ecs_service.autoscaled[0].enable_execute_command && aws_ecs_service.autoscaled[0].force_new_deployment && one(aws_ecs_service.autoscaled[0].capacity_provider_strategy).capacity_provider == "FARGATE_SPOT"
    error_message = "What holds for the one service holds for the other."
  }
}

run "autoscaled_service_keeps_its_number" {
  command = plan

  module {
    source = "./modules/service"
  }

  variables {
    autoscaled             = true
    desired_count          = 1
    enable_execute_command = true
    capacity_provider_strategy = [
      { capacity_provider = "FARGATE_SPOT" },
    ]
  }

  assert {
    condition     = aws_ecs_service.autoscaled[0].desired_count == 2
    error_message = "Terraform does not take back what auto-scaling did."
  }
}

run "exec" {
  command = plan

  module {
    source = "./modules/service"
  }

  variables {
    enable_execute_command = true
  }

  assert {
    condition     = aws_ecs_service.this[0].enable_execute_command && !jsondecode(aws_ecs_task_definition.this.container_definitions)[0].readonlyRootFilesystem && jsondecode(aws_ecs_task_definition.this.container_definitions)[0].linuxParameters == { initProcessEnabled = true }
    error_message = "Exec's agent needs a root file system to write to, and an init process."
  }
}

run "tick" {
  command = plan

  module {
    source = "./modules/service"
  }

  variables {
    create_tick      = true
    tick_role_arn    = "arn:aws:iam::123456789012:role/tick"
    cpu              = 1024
    memory           = 2048
    cpu_architecture = "ARM64"
  }

  assert {
    condition     = aws_ecs_task_definition.tick[0].family == "data-tick" && aws_ecs_task_definition.tick[0].task_role_arn == "arn:aws:iam::123456789012:role/tick" && aws_ecs_task_definition.tick[0].cpu == "256" && aws_ecs_task_definition.tick[0].runtime_platform[0].cpu_architecture == "ARM64"
    error_message = "The tick is a small task with a role of its own."
  }
  assert {
    condition = jsondecode(aws_ecs_task_definition.tick[0].container_definitions) == [{
      name      = "tick"
      image     = "faber:1.0.0"
      essential = true
      command   = ["tick"]
      environment = [
        { name = "AWS_REGION", value = "eu-central-1" },
        { name = "FABER_WORK_POOL", value = "ecs-production" },
      ]
      secrets = [
        { name = "PREFECT_ACCOUNT_ID", valueFrom = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-AbCdEf:PREFECT_ACCOUNT_ID::" },
        { name = "PREFECT_API_KEY", valueFrom = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-AbCdEf:PREFECT_API_KEY::" },
      ]
      user                   = "65532:65532"
      readonlyRootFilesystem = true
      stopTimeout            = 10
      logConfiguration = {
        logDriver = "awslogs"
        options   = { awslogs-group = "/faber/data/worker", awslogs-region = "eu-central-1", awslogs-stream-prefix = "tick" }
      }
    }]
    error_message = "It is the worker's image with another command, and no less shut in."
  }
}

run "prefects_own_worker" {
  command = plan

  module {
    source = "./modules/service"
  }

  variables {
    worker         = "prefect"
    work_pool_name = "it's $HOME"
    image          = "prefecthq/prefect-aws:latest"
    environment    = { AWS_REGION = "eu-central-1" }
  }

  assert {
    condition = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].command == [
      "sh", "-c",
      "PREFECT_API_URL=\"$${PREFECT_CLOUD_API_URL:-https://api.prefect.cloud/api}/accounts/$PREFECT_ACCOUNT_ID/workspaces/$PREFECT_WORKSPACE_ID\"; export PREFECT_API_URL; exec prefect worker start --type ecs --pool \"$1\" --with-healthcheck",
      "sh", "it's $HOME",
    ]
    error_message = "Prefect's worker is started for the pool, whose name no shell reads."
  }
  assert {
    condition     = strcontains(jsondecode(aws_ecs_task_definition.this.container_definitions)[0].healthCheck.command[3], "127.0.0.1:8080/health") && !jsondecode(aws_ecs_task_definition.this.container_definitions)[0].readonlyRootFilesystem && !contains(keys(jsondecode(aws_ecs_task_definition.this.container_definitions)[0]), "user")
    error_message = "It is asked by Python, and keeps the image's user and a root file system to write to."
  }
}

run "prefects_own_worker_self_hosted" {
  command = plan

  module {
    source = "./modules/service"
  }

  variables {
    worker         = "prefect"
    work_pool_name = "ecs"
    environment    = { PREFECT_API_URL = "http://prefect.internal:4200/api" }
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].command[2] == "exec prefect worker start --type ecs --pool \"$1\" --with-healthcheck"
    error_message = "A URL that is given is not made up."
  }
}
