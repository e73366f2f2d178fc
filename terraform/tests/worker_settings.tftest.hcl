# What the worker is told of its metrics, its credentials and its work pool.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name           = "data"
  work_pool_name = "ecs-production"
  image          = "faber:1.0.0"

  prefect_credentials = { prefect_api_key = "pnu_canary" }
}

run "defaults" {
  command = apply

  assert {
    condition = { for name, value in local.worker_environment : name => value if startswith(name, "FABER_STACK") || startswith(name, "FABER_METRICS") } == {
      FABER_STACK             = "data"
      FABER_METRICS_TRANSPORT = "emf"
      FABER_METRICS_NAMESPACE = "Faber"
    }
    error_message = "The worker publishes its metrics in its log, under the stack's name."
  }
  assert {
    condition     = local.worker_environment.FABER_API_SECRET_ARN == output.secret_arn
    error_message = "The worker knows the secret that it may read again."
  }
  assert {
    condition     = !contains(keys(local.worker_environment), "FABER_WORK_POOL_DEFAULTS")
    error_message = "The worker leaves the work pool alone unless it is told otherwise."
  }
}

run "worker_sets_the_pool" {
  command = apply

  variables {
    work_pool_template   = "worker"
    metrics_transport    = "put_metric_data"
    metrics_namespace    = "Team/Faber"
    flow_run_image       = "prefecthq/prefect:3-latest"
    flow_run_cpu         = 512
    flow_run_environment = { TZ = "UTC" }
  }

  assert {
    condition = local.worker_environment.FABER_WORK_POOL_DEFAULTS == jsonencode({
      cluster                    = output.cluster_arn
      launch_type                = "FARGATE"
      image                      = "prefecthq/prefect:3-latest"
      cpu                        = 512
      env                        = { TZ = "UTC" }
      execution_role_arn         = output.task_exec_iam_role_arn
      task_role_arn              = output.flow_run_role_arn
      prefect_api_key_secret_arn = "${output.secret_arn}:PREFECT_API_KEY::"
      vpc_id                     = output.vpc_id
      network_configuration = {
        subnets        = output.private_subnet_ids
        securityGroups = [output.flow_run_security_group_id]
        assignPublicIp = "DISABLED"
      }
      configure_cloudwatch_logs = true
      cloudwatch_logs_prefix    = "flow-run"
      cloudwatch_logs_options   = { awslogs-group = "/faber/data/flow-runs", awslogs-region = output.region, awslogs-create-group = "false" }
    })
    error_message = "The worker is told every default that the output base_job_template has, and no other."
  }
  assert {
    condition     = alltrue([for name, value in jsondecode(local.worker_environment.FABER_WORK_POOL_DEFAULTS) : jsonencode(jsondecode(output.base_job_template).variables.properties[name].default) == jsonencode(value)])
    error_message = "What the worker sets is what the output says."
  }
  assert {
    condition     = local.worker_environment.FABER_METRICS_TRANSPORT == "put_metric_data" && local.worker_environment.FABER_METRICS_NAMESPACE == "Team/Faber"
    error_message = "Transport and namespace are the given ones."
  }
}

run "without_secret" {
  command = apply

  variables {
    create_secret   = false
    prefect_api_url = "http://prefect.internal:4200/api"
  }

  assert {
    condition     = !contains(keys(local.worker_environment), "FABER_API_SECRET_ARN")
    error_message = "Without a secret there is none to read again."
  }
}

run "unknown_transport" {
  command = plan

  variables {
    metrics_transport = "statsd"
  }

  expect_failures = [var.metrics_transport]
}

run "namespace_of_aws" {
  command = plan

  variables {
    metrics_namespace = "AWS/Faber"
  }

  expect_failures = [var.metrics_namespace]
}

run "unknown_work_pool_template" {
  command = plan

  variables {
    work_pool_template = "always"
  }

  expect_failures = [var.work_pool_template]
}
