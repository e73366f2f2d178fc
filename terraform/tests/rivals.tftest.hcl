# What other modules for a Prefect worker on ECS have been seen to do, by the numbers
# of the list in docs/terraform.md. What needs a real event, a resolved template or
# every file at once is in internal/modulecheck/rivals_test.go: 2, 3, 6, 7 and 8.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name           = "data"
  work_pool_name = "ecs-production"
  image          = "faber:1.0.0"

  prefect_credentials = { prefect_api_key = "pnu_canary" } # unused; an apply wants it set
}

# 1. The key of a self-hosted server under the name that Prefect reads.
run "rival_1_worker_gets_the_auth_string" {
  command = plan

  module {
    source = "./modules/service"
  }

  variables {
    cluster_arn        = "arn:aws:ecs:eu-central-1:123456789012:cluster/data"
    subnet_ids         = ["subnet-0123456789abcdef0"]
    security_group_ids = ["sg-0123456789abcdef0"]
    execution_role_arn = "arn:aws:iam::123456789012:role/execution"
    worker_role_arn    = "arn:aws:iam::123456789012:role/worker"
    log_group_name     = "/faber/data/worker"
    environment        = { PREFECT_API_URL = "https://prefect.example.org/api" }
    secret_arn         = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-AbCdEf"
    secret_keys        = ["PREFECT_API_AUTH_STRING"]
  }

  assert {
    condition = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].secrets == [{
      name      = "PREFECT_API_AUTH_STRING"
      valueFrom = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-AbCdEf:PREFECT_API_AUTH_STRING::"
    }]
    error_message = "The worker gets the auth string as PREFECT_API_AUTH_STRING, out of the secret."
  }

  # 8. It watches itself, runs as nobody and installs nothing when it starts.
  assert {
    condition = alltrue([for container in jsondecode(aws_ecs_task_definition.this.container_definitions) :
      container.healthCheck.command == ["CMD", "/faber", "worker", "health"] && container.command == ["worker", "start"]
      && container.user == "65532:65532" && container.readonlyRootFilesystem
    ])
    error_message = "The container has a health check, a user of its own, a root that it cannot write, and no command but the worker's."
  }

  # 8. The address that was given, and no other.
  assert {
    condition     = !strcontains(aws_ecs_task_definition.this.container_definitions, "prefect.cloud")
    error_message = "Who named a server of his own is not sent to Prefect Cloud."
  }
}

# 1. Flow runs get the same. 2. The network as one default at the top of the template,
# which is where Prefect reads defaults, and all of it.
run "rival_2_template_points_at_the_stack" {
  command = apply

  variables {
    prefect_api_url     = "https://prefect.example.org/api"
    prefect_secret_keys = ["PREFECT_API_AUTH_STRING"]
  }

  assert {
    condition     = endswith(jsondecode(output.base_job_template).variables.properties.prefect_api_auth_string_secret_arn.default, ":PREFECT_API_AUTH_STRING::")
    error_message = "Flow runs get the auth string out of the secret."
  }
  assert {
    condition = length(output.private_subnet_ids) > 0 && jsonencode(jsondecode(output.base_job_template).variables.properties.network_configuration.default) == jsonencode({
      subnets        = output.private_subnet_ids
      securityGroups = [output.flow_run_security_group_id]
      assignPublicIp = "DISABLED"
    })
    error_message = "Subnets, security group and no public address are one default of network_configuration."
  }
  assert {
    condition     = jsondecode(output.base_job_template).job_configuration.network_configuration == "{{ network_configuration }}"
    error_message = "The configuration takes that variable as a whole."
  }
}

# 4. Alarms that are there, speak to somebody, and say what to do.
run "rival_4_alarms_exist" {
  command = apply

  module {
    source = "./modules/observability"
  }

  variables {
    cluster_name      = "data"
    service_name      = "data-worker"
    events_dlq_name   = "data-task-events-dlq"
    events_queue_name = "data-task-events"
    task_events       = true
    workers_expected  = true
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.this) >= 9
    error_message = "Worker gone, not polling, late runs, launch failures, DLQ, event age, throttling, CPU and memory each have an alarm."
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : length(alarm.alarm_actions) > 0 && strcontains(alarm.alarm_description, "runbooks")])
    error_message = "Each alarm goes to the topic and names its runbook."
  }
}

# 5. The work is what workers are scaled on, beside CPU and memory.
run "rival_5_scaled_on_backlog" {
  command = plan

  module {
    source = "./modules/autoscaling"
  }

  variables {
    cluster_name = "data"
    service_name = "data-worker"
  }

  assert {
    condition = alltrue([for specification in aws_appautoscaling_policy.backlog[0].target_tracking_scaling_policy_configuration[0].customized_metric_specification :
      specification.namespace == "Faber" && specification.metric_name == "BacklogPerWorker"
    ])
    error_message = "A policy tracks the backlog per worker, which faber publishes."
  }
}

# 6. What the worker may pass on: the roles of this stack, to ECS tasks, no other.
run "rival_6_passes_its_roles_alone" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    cluster_arn            = "arn:aws:ecs:eu-central-1:123456789012:cluster/data"
    cluster_name           = "data"
    worker_log_group_arn   = "arn:aws:logs:eu-central-1:123456789012:log-group:/faber/data/worker"
    flow_run_log_group_arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/faber/data/flow-runs"
    create_execution_role  = false
    execution_role_arn     = "arn:aws:iam::123456789012:role/execution"
    create_flow_run_role   = false
    flow_run_role_arn      = "arn:aws:iam::123456789012:role/flow-run"
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : statement if contains(flatten([statement.Action]), "iam:PassRole")] == [{
      Sid       = "PassRoles"
      Effect    = "Allow"
      Action    = "iam:PassRole"
      Resource  = ["arn:aws:iam::123456789012:role/execution", "arn:aws:iam::123456789012:role/flow-run"]
      Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
    }]
    error_message = "The worker passes two roles, by name, to one service."
  }
}

# 6. A key of one's own, wherever something is kept.
run "rival_6_queue_with_a_key" {
  command = plan

  module {
    source = "./modules/events"
  }

  variables {
    cluster_arn = "arn:aws:ecs:eu-central-1:123456789012:cluster/data"
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000003"
  }

  assert {
    condition     = aws_sqs_queue.this.kms_master_key_id == var.kms_key_arn && aws_sqs_queue.dlq.kms_master_key_id == var.kms_key_arn
    error_message = "The queue and its dead letters are encrypted with the key."
  }

  # 7. Names of this stack, and a dead-letter queue.
  assert {
    condition     = startswith(aws_cloudwatch_event_rule.task_state.name, "data-") && startswith(aws_sqs_queue.this.name, "data-") && startswith(aws_sqs_queue.dlq.name, "data-")
    error_message = "Two stacks of different names live side by side."
  }
}

# 8. Images that are not what they were yesterday are not possible.
run "rival_8_immutable_images" {
  command = plan

  module {
    source = "./modules/ecr"
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_tag_mutability == "IMMUTABLE"])
    error_message = "A tag names one image for ever."
  }
}
