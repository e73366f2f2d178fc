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
  desired_count      = local.secret_value_ready ? var.desired_count : 0
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

  worker_max_count   = var.desired_count
  expected_flow_runs = var.expected_flow_runs
}

locals {
  # What is called from inside the tasks, by Fargate on their behalf or by the
  # worker: modules/network tells who calls which.
  needed_endpoints = concat(
    ["ec2", "ecr.api", "ecr.dkr", "ecs", "logs"],
    local.has_secret ? ["secretsmanager"] : [],
    var.enable_task_events ? ["sqs"] : [],
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

  ecr_repository_arns       = var.ecr_repository_arns
  additional_pass_role_arns = var.additional_pass_role_arns
  flow_run_iam_statements   = var.flow_run_iam_statements
  flow_run_policy_arns      = var.flow_run_policy_arns

  create_execution_role = var.create_task_exec_iam_role
  execution_role_arn    = var.task_exec_iam_role_arn
  create_worker_role    = var.create_tasks_iam_role
  worker_role_arn       = var.tasks_iam_role_arn
  create_flow_run_role  = var.create_flow_run_role
  flow_run_role_arn     = var.flow_run_role_arn

  # The roles below are made with the part that takes them.

  create_tick_role      = false
  create_scheduler_role = false

  create_flow_logs_role   = var.create_vpc && var.enable_flow_logs && var.create_flow_logs_role
  flow_logs_role_arn      = var.flow_logs_role_arn
  flow_logs_log_group_arn = module.network.flow_logs_log_group_arn

  create_codepipeline_role    = false
  create_codebuild_plan_role  = false
  create_codebuild_apply_role = false
  create_event_trigger_role   = false
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
}

locals {
  worker_environment = merge(
    {
      AWS_REGION                         = data.aws_region.current.id
      FABER_WORK_POOL                    = var.work_pool_name
      FABER_WORKER_TYPE                  = "ecs"
      FABER_REFUSE_PLAINTEXT_CREDENTIALS = "true"
      FABER_STACK                        = var.name
      FABER_METRICS_TRANSPORT            = var.metrics_transport
      FABER_METRICS_NAMESPACE            = var.metrics_namespace
    },
    { for name, value in {
      FABER_EVENTS_QUEUE       = one(module.events[*].queue_name)
      FABER_API_KEY_SECRET_ARN = local.api_key_from
      # Read again when the API refuses the key, so that it can be changed without a new task.
      FABER_API_SECRET_ARN     = local.secret_arn
      FABER_WORK_POOL_DEFAULTS = var.work_pool_template == "worker" ? jsonencode({ for name, value in local.job_variable_defaults : name => value if value != null }) : null
      PREFECT_API_URL          = var.prefect_api_url
      PREFECT_CLOUD_API_URL    = var.prefect_cloud_api_url
    } : name => value if value != null },
    var.worker_environment,
  )

  # The worker names a family prefect_<pool>_<deployment>, with a hyphen for what
  # ECS takes in no name; a wildcard stands for that here.
  task_families = coalesce(var.flow_run_task_families, ["prefect_${replace(var.work_pool_name, "/[^a-zA-Z0-9_-]+/", "*")}_*"])
}
