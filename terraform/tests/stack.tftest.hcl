# The whole: what the worker is started with, and what the work pool is told.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name           = "data"
  work_pool_name = "ecs production"
  image          = "faber:1.0.0"

  # Set throughout, though only looked at while the value is managed: `terraform
  # test` wants an ephemeral variable of the root set for an apply.
  prefect_credentials = { prefect_api_key = "pnu_canary" }
}

run "unfilled_secret_runs_nothing" {
  command = plan

  variables {
    desired_count = 2
  }

  assert {
    condition     = output.desired_count == 0 && !output.secret_value_ready
    error_message = "With a secret that has no value yet, no task is started."
  }
}

run "filled_secret_runs_workers" {
  command = plan

  variables {
    desired_count      = 2
    secret_value_ready = true
  }

  assert {
    condition     = output.desired_count == 2
    error_message = "Once the secret was filled, the service runs what was asked for."
  }
}

run "managed_secret_runs_workers" {
  command = plan

  variables {
    manage_secret_value = true
  }

  assert {
    condition     = output.desired_count == 1 && output.secret_value_ready
    error_message = "A value that Terraform writes is there before the service is."
  }
}

run "existing_secret_runs_workers" {
  command = apply

  variables {
    create_secret      = false
    prefect_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:mine-AbCdEf"
  }

  assert {
    condition     = output.desired_count == 1 && output.secret_arn == "arn:aws:secretsmanager:eu-central-1:123456789012:secret:mine-AbCdEf"
    error_message = "An existing secret is used as it is."
  }
  assert {
    condition     = jsondecode(output.base_job_template).variables.properties.prefect_api_key_secret_arn.default == "arn:aws:secretsmanager:eu-central-1:123456789012:secret:mine-AbCdEf:PREFECT_API_KEY::"
    error_message = "Flow runs get the key from the existing secret."
  }
}

run "without_task_events" {
  command = apply

  variables {
    enable_task_events = false
  }

  assert {
    condition     = output.events_queue_url == null && output.events_dlq_url == null && output.events_queue_name == null
    error_message = "No queue is made that was not asked for."
  }
}

run "base_job_template" {
  command = apply

  variables {
    azs                  = ["eu-central-1a"]
    flow_run_image       = "prefecthq/prefect:3-latest"
    flow_run_cpu         = 512
    flow_run_memory      = 1024
    flow_run_environment = { TZ = "UTC" }
  }

  assert {
    condition     = toset(keys(jsondecode(output.base_job_template))) == toset(["job_configuration", "variables"])
    error_message = "The template has the two parts that Prefect knows."
  }
  assert {
    condition     = alltrue([for name in keys(jsondecode(output.base_job_template).variables.properties) : strcontains(jsonencode(jsondecode(output.base_job_template).job_configuration), "{{ ${name} }}")])
    error_message = "Every variable is used."
  }
  assert {
    condition = jsonencode({ for name, property in jsondecode(output.base_job_template).variables.properties : name => property.default if try(property.default, null) != null }) == jsonencode({
      auto_deregister_task_definition = false
      cloudwatch_logs_options         = { awslogs-create-group = "false", awslogs-group = "/faber/data/flow-runs", awslogs-region = "eu-central-1" }
      cloudwatch_logs_prefix          = "flow-run"
      cluster                         = output.cluster_arn
      configure_cloudwatch_logs       = true
      cpu                             = 512
      env                             = { TZ = "UTC" }
      execution_role_arn              = output.task_exec_iam_role_arn
      image                           = "prefecthq/prefect:3-latest"
      launch_type                     = "FARGATE"
      match_latest_revision_in_family = false
      memory                          = 1024
      network_configuration = {
        assignPublicIp = "DISABLED"
        securityGroups = [output.flow_run_security_group_id]
        subnets        = output.private_subnet_ids
      }
      prefect_api_key_secret_arn = "${output.secret_arn}:PREFECT_API_KEY::"
      task_role_arn              = output.flow_run_role_arn
      vpc_id                     = output.vpc_id
    })
    error_message = "The defaults point at this stack, and at nothing else."
  }
}

run "self_hosted_with_basic_auth" {
  command = apply

  variables {
    prefect_api_url     = "http://prefect.internal:4200/api"
    prefect_secret_keys = ["PREFECT_API_AUTH_STRING"]
  }

  assert {
    condition     = jsondecode(output.base_job_template).variables.properties.prefect_api_auth_string_secret_arn.default == "${output.secret_arn}:PREFECT_API_AUTH_STRING::" && jsondecode(output.base_job_template).variables.properties.prefect_api_key_secret_arn.default == null
    error_message = "Flow runs get the auth string from the secret, and no key."
  }
}

run "scale_to_zero" {
  command = apply

  variables {
    secret_value_ready       = true
    enable_autoscaling       = true
    scale_to_zero            = true
    desired_count            = 0
    cpu_architecture         = "ARM64"
    alarm_topic_arn          = "arn:aws:sns:eu-central-1:123456789012:mine"
    create_dashboard         = false
    enable_task_events       = true
    autoscaling_max_capacity = 5

    capacity_provider_strategy          = [{ capacity_provider = "FARGATE_SPOT" }]
    flow_run_capacity_provider_strategy = [{ capacity_provider = "FARGATE_SPOT", weight = 4 }, { capacity_provider = "FARGATE", weight = 1 }]
  }

  assert {
    condition     = output.autoscaling_capacity == { min = 0, max = 5 } && output.tick_task_definition_arn != null && output.desired_count == 0
    error_message = "No worker is started before there is work, and somebody looks."
  }
  assert {
    condition     = output.sns_topic_arn == "arn:aws:sns:eu-central-1:123456789012:mine" && output.dashboard_name == null
    error_message = "Alarms go to the given topic."
  }
  assert {
    condition = jsondecode(output.base_job_template).variables.properties.capacity_provider_strategy.default == [
      { base = 0, capacityProvider = "FARGATE_SPOT", weight = 4 },
      { base = 0, capacityProvider = "FARGATE", weight = 1 },
    ]
    error_message = "Flow runs go to Spot by default, in RunTask's words."
  }
  assert {
    condition     = jsondecode(output.base_job_template).job_configuration.task_definition.runtimePlatform == { cpuArchitecture = "ARM64", operatingSystemFamily = "LINUX" }
    error_message = "One switch puts worker and flow runs on ARM64."
  }
}

run "unfilled_secret_scales_nothing" {
  command = apply

  variables {
    enable_autoscaling = true
    desired_count      = 2
  }

  assert {
    condition     = output.autoscaling_capacity == { min = 0, max = 0 } && output.desired_count == 0
    error_message = "Auto-scaling starts no task that would fail to start."
  }
}

run "flow_runs_on_another_processor" {
  command = apply

  variables {
    cpu_architecture          = "ARM64"
    flow_run_cpu_architecture = "X86_64"
  }

  assert {
    condition     = !can(jsondecode(output.base_job_template).job_configuration.task_definition.runtimePlatform)
    error_message = "Flow runs may stay where their images run."
  }
}

run "prefects_own_worker" {
  command = apply

  variables {
    worker             = "prefect"
    image              = "prefecthq/prefect-aws:latest"
    secret_value_ready = true
    enable_autoscaling = true
  }

  assert {
    condition     = output.desired_count == 1 && output.autoscaling_capacity == { min = 1, max = 3 } && output.dashboard_name == "data"
    error_message = "Prefect's own worker runs on the same infrastructure."
  }
}
