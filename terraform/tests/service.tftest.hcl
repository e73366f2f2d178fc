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
    condition     = aws_ecs_service.this.network_configuration[0].assign_public_ip == false && aws_ecs_service.this.network_configuration[0].subnets == toset(["subnet-0123456789abcdef0"])
    error_message = "The worker runs in the private subnets, without a public address."
  }
  assert {
    condition     = aws_ecs_service.this.deployment_circuit_breaker[0].enable && aws_ecs_service.this.deployment_circuit_breaker[0].rollback
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
    condition     = aws_ecs_task_definition.this.runtime_platform[0].cpu_architecture == "ARM64" && aws_ecs_service.this.desired_count == 0
    error_message = "Architecture and count are the given ones."
  }
}
