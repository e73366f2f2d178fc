# What the module refuses, before it asks AWS anything.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name           = "data"
  work_pool_name = "ecs-production"
  image          = "faber:1.0.0"
}

run "name_with_capitals" {
  command = plan

  variables {
    name = "Data"
  }

  expect_failures = [var.name]
}

run "name_too_long" {
  command = plan

  variables {
    name = "abcdefghijklmnopqrstuvwxy"
  }

  expect_failures = [var.name]
}

run "empty_work_pool" {
  command = plan

  variables {
    work_pool_name = " "
  }

  expect_failures = [var.work_pool_name]
}

run "work_pool_with_slash" {
  command = plan

  variables {
    work_pool_name = "a/b"
  }

  expect_failures = [var.work_pool_name]
}

run "empty_image" {
  command = plan

  variables {
    image = ""
  }

  expect_failures = [var.image]
}

run "api_url_without_scheme" {
  command = plan

  variables {
    prefect_api_url = "prefect.example.com/api"
  }

  expect_failures = [var.prefect_api_url]
}

run "cloud_api_url_without_scheme" {
  command = plan

  variables {
    prefect_cloud_api_url = "api.prefect.cloud/api"
  }

  expect_failures = [var.prefect_cloud_api_url]
}

run "unknown_nat_mode" {
  command = plan

  variables {
    nat_mode = "double"
  }

  expect_failures = [var.nat_mode]
}

run "no_zones" {
  command = plan

  variables {
    az_count = 0
  }

  expect_failures = [var.az_count]
}

run "zone_named_twice" {
  command = plan

  variables {
    azs = ["eu-central-1a", "eu-central-1a"]
  }

  expect_failures = [var.azs]
}

run "zone_by_id" {
  command = plan

  variables {
    azs = ["euc1-az1"]
  }

  expect_failures = [var.azs]
}

run "local_zone" {
  command = plan

  variables {
    azs = ["us-west-2-lax-1a"]
  }

  expect_failures = [var.azs]
}

run "endpoint_by_full_name" {
  command = plan

  variables {
    vpc_endpoints = ["com.amazonaws.eu-central-1.ecs"]
  }

  expect_failures = [var.vpc_endpoints]
}

run "endpoint_that_is_a_gateway" {
  command = plan

  variables {
    vpc_endpoints = ["ecs", "s3"]
  }

  expect_failures = [var.vpc_endpoints]
}

run "flow_logs_without_role" {
  command = plan

  variables {
    enable_flow_logs      = true
    create_flow_logs_role = false
  }

  expect_failures = [var.flow_logs_role_arn]
}

run "flow_logs_of_an_existing_vpc" {
  command = plan

  variables {
    create_vpc         = false
    vpc_id             = "vpc-0123456789abcdef0"
    private_subnet_ids = ["subnet-0123456789abcdef0"]
    enable_flow_logs   = true
  }

  expect_failures = [var.enable_flow_logs]
}

run "half_a_flow_run" {
  command = plan

  variables {
    expected_flow_runs = 0.5
  }

  expect_failures = [var.expected_flow_runs]
}

run "cidr_too_small" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0/24"
  }

  expect_failures = [var.vpc_cidr]
}

run "cidr_is_none" {
  command = plan

  variables {
    vpc_cidr = "everything"
  }

  expect_failures = [var.vpc_cidr]
}

run "existing_vpc_without_subnets" {
  command = plan

  variables {
    create_vpc = false
    vpc_id     = "vpc-0123456789abcdef0"
  }

  expect_failures = [var.private_subnet_ids]
}

run "existing_vpc_without_id" {
  command = plan

  variables {
    create_vpc         = false
    private_subnet_ids = ["subnet-0123456789abcdef0"]
  }

  expect_failures = [var.vpc_id]
}

run "memory_fargate_does_not_pair" {
  command = plan

  variables {
    cpu    = 256
    memory = 4096
  }

  expect_failures = [var.memory]
}

run "cpu_fargate_does_not_have" {
  command = plan

  variables {
    cpu = 300
  }

  expect_failures = [var.cpu]
}

run "unknown_architecture" {
  command = plan

  variables {
    cpu_architecture = "arm64"
  }

  expect_failures = [var.cpu_architecture]
}

run "negative_count" {
  command = plan

  variables {
    desired_count = -1
  }

  expect_failures = [var.desired_count]
}

run "retention_cloudwatch_does_not_know" {
  command = plan

  variables {
    log_retention_in_days = 2
  }

  expect_failures = [var.log_retention_in_days]
}

run "recovery_window_too_short" {
  command = plan

  variables {
    secret_recovery_window_in_days = 3
  }

  expect_failures = [var.secret_recovery_window_in_days]
}

run "stop_timeout_beyond_fargate" {
  command = plan

  variables {
    stop_timeout = 300
  }

  expect_failures = [var.stop_timeout]
}

run "key_in_worker_environment" {
  command = plan

  variables {
    worker_environment = { PREFECT_API_KEY = "pnu_1" }
  }

  expect_failures = [var.worker_environment]
}

run "key_in_flow_run_environment" {
  command = plan

  variables {
    flow_run_environment = { PREFECT_API_KEY = "pnu_1" }
  }

  expect_failures = [var.flow_run_environment]
}

run "partial_secret_arn" {
  command = plan

  variables {
    create_secret      = false
    prefect_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prefect"
  }

  expect_failures = [var.prefect_secret_arn]
}

run "secret_both_created_and_given" {
  command = plan

  variables {
    prefect_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prefect-AbCdEf"
  }

  expect_failures = [var.prefect_secret_arn]
}

run "cloud_without_credentials" {
  command = plan

  variables {
    create_secret = false
  }

  expect_failures = [var.prefect_secret_arn]
}

run "unknown_secret_key" {
  command = plan

  variables {
    prefect_secret_keys = ["PREFECT_API_KEY", "AWS_SECRET_ACCESS_KEY"]
  }

  expect_failures = [var.prefect_secret_keys]
}

run "egress_rule_without_ports" {
  command = plan

  variables {
    flow_run_egress_rules = { db = { cidr_ipv4 = "10.0.0.0/8" } }
  }

  expect_failures = [var.flow_run_egress_rules]
}

run "egress_rule_to_no_range" {
  command = plan

  variables {
    flow_run_egress_rules = { db = { cidr_ipv4 = "db", from_port = 1, to_port = 1 } }
  }

  expect_failures = [var.flow_run_egress_rules]
}

run "no_execution_role_at_all" {
  command = plan

  variables {
    create_task_exec_iam_role = false
  }

  expect_failures = [var.task_exec_iam_role_arn]
}

run "no_worker_role_at_all" {
  command = plan

  variables {
    create_tasks_iam_role = false
  }

  expect_failures = [var.tasks_iam_role_arn]
}

run "no_flow_run_role_at_all" {
  command = plan

  variables {
    create_flow_run_role = false
  }

  expect_failures = [var.flow_run_role_arn]
}

run "unknown_insights" {
  command = plan

  variables {
    container_insights = "on"
  }

  expect_failures = [var.container_insights]
}

run "unknown_worker" {
  command = plan

  variables {
    worker = "celery"
  }

  expect_failures = [var.worker]
}

run "unknown_capacity_provider" {
  command = plan

  variables {
    capacity_provider_strategy = [{ capacity_provider = "EC2" }]
  }

  expect_failures = [var.capacity_provider_strategy]
}

run "strategy_without_weight" {
  command = plan

  variables {
    flow_run_capacity_provider_strategy = [{ capacity_provider = "FARGATE", weight = 0 }]
  }

  expect_failures = [var.flow_run_capacity_provider_strategy]
}

run "no_worker_at_least" {
  command = plan

  variables {
    autoscaling_min_capacity = 0
  }

  expect_failures = [var.autoscaling_min_capacity]
}

run "cap_below_the_least" {
  command = plan

  variables {
    autoscaling_min_capacity = 4
  }

  expect_failures = [var.autoscaling_max_capacity]
}

run "cpu_target_above_100" {
  command = plan

  variables {
    autoscaling_cpu_target = 101
  }

  expect_failures = [var.autoscaling_cpu_target]
}

run "schedule_without_form" {
  command = plan

  variables {
    autoscaling_scheduled_actions = { morning = { schedule = "7 o'clock", min_capacity = 1, max_capacity = 2 } }
  }

  expect_failures = [var.autoscaling_scheduled_actions]
}

run "schedule_that_nobody_would_wake_from" {
  command = plan

  variables {
    autoscaling_scheduled_actions = { night = { schedule = "cron(0 19 * * ? *)", min_capacity = 0, max_capacity = 0 } }
  }

  expect_failures = [var.autoscaling_scheduled_actions]
}

run "scale_to_zero_without_autoscaling" {
  command = plan

  variables {
    scale_to_zero = true
  }

  expect_failures = [var.scale_to_zero]
}

run "scale_to_zero_without_metrics" {
  command = plan

  variables {
    enable_autoscaling = true
    scale_to_zero      = true
    metrics_transport  = "none"
  }

  expect_failures = [var.scale_to_zero]
}

run "tick_every_hour_and_a_half" {
  command = plan

  variables {
    tick_interval_minutes = 90
  }

  expect_failures = [var.tick_interval_minutes]
}

run "emails_for_a_topic_of_others" {
  command = plan

  variables {
    alarm_emails    = ["ops@example.com"]
    alarm_topic_arn = "arn:aws:sns:eu-central-1:123456789012:mine"
  }

  expect_failures = [var.alarm_emails]
}
