data "aws_region" "current" {}

locals {
  tags = merge(var.tags, { "faber:stack" = var.name })

  # The URL in use, for its port alone: the worker finds its own URL the same way.
  api_url   = coalesce(var.prefect_api_url, var.prefect_cloud_api_url, "https://api.prefect.cloud/api")
  api_parts = regex("^(?P<scheme>https?)://(?:[^/@]*@)?(?:\\[[^]]*\\]|[^/:]*)(?P<port>:[0-9]+)?", local.api_url)
  api_port = tonumber(coalesce(
    trimprefix(coalesce(local.api_parts.port, ":"), ":"),
    local.api_parts.scheme == "http" ? "80" : "443",
  ))

  has_secret       = var.create_secret || var.prefect_secret_arn != null
  secret_arn       = var.create_secret ? module.secrets[0].arn : var.prefect_secret_arn
  api_key_from     = local.has_secret && contains(var.prefect_secret_keys, "PREFECT_API_KEY") ? "${local.secret_arn}:PREFECT_API_KEY::" : null
  auth_string_from = local.has_secret && contains(var.prefect_secret_keys, "PREFECT_API_AUTH_STRING") ? "${local.secret_arn}:PREFECT_API_AUTH_STRING::" : null

  # A task whose secret has no value cannot start: ECS would try again and again
  # until the circuit breaker gives up on the very first deployment.
  secret_value_ready = !var.create_secret || var.manage_secret_value || var.secret_value_ready
  desired_count      = local.secret_value_ready ? local.initial_count : 0
}

module "network" {
  source = "./modules/network"

  name = var.name
  tags = local.tags

  create_vpc            = var.create_vpc
  vpc_id                = var.vpc_id
  private_subnet_ids    = var.private_subnet_ids
  vpc_cidr              = var.vpc_cidr
  azs                   = var.azs
  az_count              = var.az_count
  nat_mode              = var.nat_mode
  prefect_api_port      = local.api_port
  flow_run_egress_rules = var.flow_run_egress_rules

  enable_s3_endpoint   = var.enable_s3_endpoint
  enable_vpc_endpoints = var.enable_vpc_endpoints
  vpc_endpoints        = local.vpc_endpoints

  enable_flow_logs            = var.enable_flow_logs
  flow_logs_role_arn          = module.iam.flow_logs_role_arn
  flow_logs_retention_in_days = var.log_retention_in_days
  kms_key_arn                 = local.kms_key_arn

  worker_max_count   = local.worker_max_count
  expected_flow_runs = var.expected_flow_runs
}

locals {
  # What is called from inside the tasks, by Fargate on their behalf or by the
  # worker: modules/network tells who calls which.
  needed_endpoints = concat(
    ["ec2", "ecr.api", "ecr.dkr", "ecs", "logs"],
    local.has_secret ? ["secretsmanager"] : [],
    var.enable_task_events ? ["sqs"] : [],
    var.scale_to_zero || var.metrics_transport == "put_metric_data" ? ["monitoring"] : [],
    var.enable_execute_command ? ["ssmmessages"] : [],
  )
  vpc_endpoints = var.vpc_endpoints != null ? var.vpc_endpoints : local.needed_endpoints
}

# A warning and no error: a route of your own, through a transit gateway say, may
# lead there.
check "prefect_cloud_is_reached" {
  assert {
    condition     = !(var.create_vpc && var.nat_mode == "none" && var.prefect_api_url == null && var.prefect_cloud_api_url == null)
    error_message = "With nat_mode = \"none\" nothing in the private subnets reaches Prefect Cloud, which has no VPC endpoint: neither worker nor flow runs. Give prefect_api_url of a server inside the VPC, a NAT gateway, or routes of your own (output private_route_table_ids)."
  }
}

module "checks" {
  source = "./modules/checks"

  enabled = var.verify
  switch  = "verify"

  vpc_id          = module.network.vpc_id
  subnets         = module.network.private_subnets
  network_created = var.create_vpc
  way_out         = var.nat_mode != "none" ? "nat" : var.enable_vpc_endpoints ? "endpoints" : "unknown"
  way_out_details = module.network.way_out_details
  endpoints       = local.vpc_endpoints

  roles = merge(
    {
      execution = { arn = module.iam.execution_role_arn, created = var.create_task_exec_iam_role }
      worker    = { arn = module.iam.worker_role_arn, created = var.create_tasks_iam_role }
      flow-run  = { arn = module.iam.flow_run_role_arn, created = var.create_flow_run_role }
    },
    var.scale_to_zero ? { tick = { arn = module.iam.tick_role_arn, created = true } } : {},
    { for index, arn in var.additional_pass_role_arns : "additional-${index}" => { arn = arn, created = false } },
  )
}

module "kms" {
  source = "./modules/kms"
  count  = var.create_kms_key ? 1 : 0

  name = var.name
  tags = local.tags
}

locals {
  # The one key of the stack, for every part that encrypts something; null leaves
  # each of them to the key that AWS manages. The secret may have one of its own.
  kms_key_arn        = var.create_kms_key ? module.kms[0].key_arn : var.kms_key_arn
  has_kms_key        = var.create_kms_key || var.kms_key_arn != null
  secret_kms_key_arn = var.secret_kms_key_arn != null ? var.secret_kms_key_arn : local.kms_key_arn
}

module "secrets" {
  source = "./modules/secrets"
  count  = var.create_secret ? 1 : 0

  name        = var.secret_name
  name_prefix = "${var.name}-prefect-"
  tags        = local.tags

  kms_key_arn                 = local.secret_kms_key_arn
  recovery_window_in_days     = var.secret_recovery_window_in_days
  manage_value                = var.manage_secret_value
  prefect_credentials         = var.prefect_credentials
  prefect_credentials_version = var.prefect_credentials_version

  # ECS reads the secret with the execution role; worker and tick may read it again
  # when the API has refused them.
  create_policy = var.secret_reader_arns != null
  reader_arns   = concat(compact([module.iam.execution_role_arn, module.iam.worker_role_arn, module.iam.tick_role_arn]), coalesce(var.secret_reader_arns, []))
}

module "cluster" {
  source = "./modules/cluster"

  name = var.name
  tags = local.tags

  container_insights    = var.container_insights
  log_retention_in_days = var.log_retention_in_days
  kms_key_arn           = local.kms_key_arn
}

module "events" {
  source = "./modules/events"
  count  = var.enable_task_events ? 1 : 0

  name = var.name
  tags = local.tags

  cluster_arn = module.cluster.arn
  kms_key_arn = local.kms_key_arn
  # By name, since the service comes after the queue that its worker reads.
  ignored_groups = var.scale_to_zero ? ["service:${var.name}-worker", "family:${var.name}-tick"] : []
}

module "iam" {
  source = "./modules/iam"

  name                 = var.name
  tags                 = local.tags
  permissions_boundary = var.iam_role_permissions_boundary

  cluster_arn            = module.cluster.arn
  cluster_name           = module.cluster.name
  task_families          = local.task_families
  secret_arn             = local.secret_arn
  secret_kms_key_arn     = local.has_secret ? local.secret_kms_key_arn : null
  kms_key_arn            = local.kms_key_arn
  worker_log_group_arn   = module.cluster.worker_log_group_arn
  flow_run_log_group_arn = module.cluster.flow_run_log_group_arn
  events_queue_arn       = one(module.events[*].queue_arn)
  enable_execute_command = var.enable_execute_command

  # Prefect's own worker keeps the key that it was started with.
  worker_reads_secret = var.worker == "faber"

  ecr_repository_arns       = var.ecr_repository_arns
  additional_pass_role_arns = var.additional_pass_role_arns
  flow_run_iam_statements   = var.flow_run_iam_statements
  flow_run_policy_arns      = var.flow_run_policy_arns
  boundary_statements       = var.iam_role_boundary_statements
  metrics_transport         = var.metrics_transport
  metrics_namespace         = var.metrics_namespace

  create_execution_role = var.create_task_exec_iam_role
  execution_role_arn    = var.task_exec_iam_role_arn
  create_worker_role    = var.create_tasks_iam_role
  worker_role_arn       = var.tasks_iam_role_arn
  create_flow_run_role  = var.create_flow_run_role
  flow_run_role_arn     = var.flow_run_role_arn

  # The roles below are made with the part that takes them.

  create_tick_role      = var.scale_to_zero
  create_scheduler_role = var.scale_to_zero

  create_flow_logs_role   = var.create_vpc && var.enable_flow_logs && var.create_flow_logs_role
  flow_logs_role_arn      = var.flow_logs_role_arn
  flow_logs_log_group_arn = module.network.flow_logs_log_group_arn

  create_codepipeline_role    = var.create_pipeline
  create_codebuild_plan_role  = var.create_pipeline
  create_codebuild_apply_role = var.create_pipeline
  create_event_trigger_role   = var.create_pipeline

  # By index: module.pipeline[*] would mean the whole pipeline, which needs the roles first.
  artifact_bucket_arn = var.create_pipeline ? module.pipeline[0].artifact_bucket_arn : null
  connection_arn      = var.create_pipeline ? module.pipeline[0].connection_arn : null
  source_bucket_arn   = var.create_pipeline ? module.pipeline[0].source_bucket_arn : null
  source_object_key   = try(var.pipeline_source.key, null)
  approval_topic_arn  = var.create_pipeline ? local.approval_topic_arn : null
  state_bucket_arn    = var.create_pipeline ? module.pipeline[0].state_bucket_arn : null
  state_key           = var.pipeline_state_key
  state_kms_key_arn   = var.pipeline_state_kms_key_arn
}

module "service" {
  source = "./modules/service"

  name = var.name
  tags = local.tags

  cluster_arn        = module.cluster.arn
  subnet_ids         = module.network.private_subnet_ids
  security_group_ids = [module.network.worker_security_group_id]
  execution_role_arn = module.iam.execution_role_arn
  worker_role_arn    = module.iam.worker_role_arn
  log_group_name     = module.cluster.worker_log_group_name

  image                 = var.image
  cpu                   = var.cpu
  memory                = var.memory
  cpu_architecture      = var.cpu_architecture
  desired_count         = local.desired_count
  environment           = local.worker_environment
  secret_arn            = local.secret_arn
  secret_keys           = var.prefect_secret_keys
  stop_timeout          = var.stop_timeout
  wait_for_steady_state = var.wait_for_steady_state

  worker                     = var.worker
  work_pool_name             = var.work_pool_name
  capacity_provider_strategy = var.capacity_provider_strategy
  enable_execute_command     = var.enable_execute_command
  autoscaled                 = var.enable_autoscaling
  create_tick                = var.scale_to_zero
  tick_role_arn              = module.iam.tick_role_arn
}

locals {
  # Published by faber alone; Prefect's own worker has no metrics.
  custom_metrics = var.worker == "faber" && var.metrics_transport != "none"

  # For the addresses that the subnets must have: the cap, and a tick beside it.
  worker_max_count = !var.enable_autoscaling ? var.desired_count : (
    max(var.autoscaling_max_capacity, [for action in var.autoscaling_scheduled_actions : action.max_capacity]...) + (var.scale_to_zero ? 1 : 0)
  )

  # Auto-scaling moves the number within its bounds from the first minute on.
  initial_count = var.enable_autoscaling ? min(max(var.desired_count, var.scale_to_zero ? 0 : var.autoscaling_min_capacity), var.autoscaling_max_capacity) : var.desired_count
}

module "autoscaling" {
  source = "./modules/autoscaling"
  count  = var.enable_autoscaling ? 1 : 0

  name = var.name
  tags = local.tags

  cluster_name      = module.cluster.name
  service_name      = module.service.name
  work_pool_name    = var.work_pool_name
  metrics_namespace = var.metrics_namespace
  custom_metrics    = local.custom_metrics

  min_capacity       = var.autoscaling_min_capacity
  max_capacity       = var.autoscaling_max_capacity
  suspended          = !local.secret_value_ready
  cpu_target         = var.autoscaling_cpu_target
  memory_target      = var.autoscaling_memory_target
  backlog_per_worker = var.autoscaling_backlog_per_worker
  scheduled_actions  = var.autoscaling_scheduled_actions

  scale_to_zero              = var.scale_to_zero
  tick_interval_minutes      = var.tick_interval_minutes
  tick_task_definition_arn   = module.service.tick_task_definition_arn
  scheduler_role_arn         = module.iam.scheduler_role_arn
  cluster_arn                = module.cluster.arn
  capacity_provider_strategy = var.capacity_provider_strategy
  subnet_ids                 = module.network.private_subnet_ids
  security_group_ids         = [module.network.worker_security_group_id]
  kms_key_arn                = local.kms_key_arn
}

module "observability" {
  source = "./modules/observability"
  count  = var.create_dashboard || var.create_alarms ? 1 : 0

  name = var.name
  tags = local.tags

  cluster_name      = module.cluster.name
  service_name      = module.service.name
  work_pool_name    = var.work_pool_name
  metrics_namespace = var.metrics_namespace
  custom_metrics    = local.custom_metrics

  workers_expected      = local.secret_value_ready && (var.enable_autoscaling || var.desired_count > 0)
  scale_to_zero         = var.scale_to_zero
  tick_interval_minutes = var.tick_interval_minutes
  task_events           = var.enable_task_events
  events_queue_name     = one(module.events[*].queue_name)
  events_dlq_name       = one(module.events[*].dlq_name)

  create_dashboard = var.create_dashboard
  create_alarms    = var.create_alarms
  thresholds       = var.alarm_thresholds
  runbook_url      = var.alarm_runbook_url
  create_topic     = var.alarm_topic_arn == null
  topic_arn        = var.alarm_topic_arn
  emails           = var.alarm_emails
  kms_key_arn      = local.kms_key_arn
}

locals {
  worker_environment = merge(
    { AWS_REGION = data.aws_region.current.id },
    { for name, value in var.worker == "faber" ? local.faber_environment : local.prefect_environment : name => value if value != null },
    { for name, value in {
      PREFECT_API_URL       = var.prefect_api_url
      PREFECT_CLOUD_API_URL = var.prefect_cloud_api_url
    } : name => value if value != null },
    var.worker_environment,
  )

  faber_environment = {
    FABER_WORK_POOL                    = var.work_pool_name
    FABER_WORKER_TYPE                  = "ecs"
    FABER_REFUSE_PLAINTEXT_CREDENTIALS = "true"
    FABER_EVENTS_QUEUE                 = one(module.events[*].queue_name)
    FABER_API_KEY_SECRET_ARN           = local.api_key_from
    FABER_STACK                        = var.name
    FABER_METRICS_TRANSPORT            = var.metrics_transport
    FABER_METRICS_NAMESPACE            = var.metrics_namespace
    # Read again when the API refuses the key, so that it can be changed without a new task.
    FABER_API_SECRET_ARN     = local.secret_arn
    FABER_WORK_POOL_DEFAULTS = var.work_pool_template == "worker" ? jsonencode({ for name, value in local.job_variable_defaults : name => value if value != null }) : null
  }

  # prefect-aws reads one queue, whose name it wants; it watches nothing without.
  prefect_environment = {
    AWS_DEFAULT_REGION                                   = data.aws_region.current.id
    PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_ENABLED        = tostring(var.enable_task_events)
    PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME = one(module.events[*].queue_name)
  }

  # The worker names a family prefect_<pool>_<deployment>, with a hyphen for what
  # ECS takes in no name; a wildcard stands for that here.
  task_families = coalesce(var.flow_run_task_families, ["prefect_${replace(var.work_pool_name, "/[^a-zA-Z0-9_-]+/", "*")}_*"])
}

module "ecr" {
  source = "./modules/ecr"
  count  = var.create_ecr ? 1 : 0

  name = var.name
  tags = local.tags

  kms_key_arn   = local.kms_key_arn
  repositories  = var.ecr_repositories
  untagged_days = var.ecr_untagged_days
  keep_images   = var.ecr_keep_images
  force_delete  = var.ecr_force_delete
}

module "budget" {
  source = "./modules/budget"
  count  = var.budget_limit_usd != null ? 1 : 0

  name = var.name
  tags = local.tags

  limit_usd                    = var.budget_limit_usd
  tag_value                    = var.name
  activate_cost_allocation_tag = var.activate_cost_allocation_tag
  actual_thresholds            = var.budget_actual_thresholds
  forecast_thresholds          = var.budget_forecast_thresholds
  emails                       = var.budget_emails
  sns_topic_arns               = compact([var.budget_topic_arn])
}

module "pipeline" {
  source = "./modules/pipeline"
  count  = var.create_pipeline ? 1 : 0

  name = var.name
  tags = local.tags

  kms_key_arn           = local.kms_key_arn
  log_retention_in_days = var.log_retention_in_days

  pipeline_source          = var.pipeline_source
  connection_arn           = var.connection_arn
  connection_provider_type = var.connection_provider_type
  terraform_directory      = var.pipeline_terraform_directory
  scripts_directory        = var.pipeline_scripts_directory

  codepipeline_role_arn    = module.iam.codepipeline_role_arn
  codebuild_plan_role_arn  = module.iam.codebuild_plan_role_arn
  codebuild_apply_role_arn = module.iam.codebuild_apply_role_arn
  event_trigger_role_arn   = module.iam.event_trigger_role_arn

  state_bucket      = var.pipeline_state_bucket
  state_key         = var.pipeline_state_key
  state_region      = var.pipeline_state_region
  state_kms_key_arn = var.pipeline_state_kms_key_arn

  terraform_version  = var.pipeline_terraform_version
  terraform_sha256   = var.pipeline_terraform_sha256
  build_environment  = var.pipeline_build_environment
  build_architecture = var.pipeline_build_architecture
  build_image        = var.pipeline_build_image

  approval_topic_arn       = local.approval_topic_arn
  approval_timeout_minutes = var.pipeline_approval_timeout_minutes
  drift_schedule           = var.pipeline_drift_schedule
  drift_alarm_actions      = local.drift_topic_arn[*]
}

locals {
  # By index, as above. What is null does not go through coalesce, which takes no
  # list of nulls alone.
  alarm_topic_arn    = var.create_dashboard || var.create_alarms ? module.observability[0].topic_arn : null
  approval_topic_arn = var.pipeline_approval_topic_arn != null ? var.pipeline_approval_topic_arn : local.alarm_topic_arn
  drift_topic_arn    = var.pipeline_drift_topic_arn != null ? var.pipeline_drift_topic_arn : local.alarm_topic_arn
}
