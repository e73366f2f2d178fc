# Credentials come from where the AWS CLI takes them: environment, profile or role.
provider "aws" {
  region = var.region
}

module "faber" {
  source = "../.."

  name = var.name
  tags = var.tags

  work_pool_name = var.work_pool_name

  manage_secret_value         = var.manage_secret_value
  secret_value_ready          = var.secret_value_ready
  prefect_credentials         = var.prefect_credentials
  prefect_credentials_version = var.prefect_credentials_version
  secret_reader_arns          = var.secret_reader_arns

  az_count = 3
  nat_mode = var.nat_mode

  image            = var.image
  cpu_architecture = var.cpu_architecture
  desired_count    = var.desired_count

  flow_run_image  = "prefecthq/prefect:3-latest"
  flow_run_cpu    = 512
  flow_run_memory = 1024

  container_insights = "enabled"

  # More workers on CPU, memory and backlog; two at least in working hours, so
  # that one that is being replaced is not missed.
  enable_autoscaling       = var.enable_autoscaling
  autoscaling_min_capacity = 1
  autoscaling_max_capacity = 3
  autoscaling_scheduled_actions = var.enable_autoscaling ? {
    morning = { schedule = "cron(0 7 ? * MON-FRI *)", timezone = var.timezone, min_capacity = 2, max_capacity = 6 }
    evening = { schedule = "cron(0 19 ? * MON-FRI *)", timezone = var.timezone, min_capacity = 1, max_capacity = 3 }
  } : {}

  alarm_emails      = var.alarm_emails
  alarm_thresholds  = var.alarm_thresholds
  alarm_runbook_url = var.alarm_runbook_url

  # One key of the account's own for all that is kept, made or yours, and logs for as
  # long as an auditor asks for them.
  create_kms_key        = var.create_kms_key
  kms_key_arn           = var.kms_key_arn
  enable_flow_logs      = var.enable_flow_logs
  log_retention_in_days = var.log_retention_in_days

  # What the flows themselves may do; the worker's own role stays out of it.
  flow_run_iam_statements = [for arn in [var.data_bucket_arn] : {
    sid       = "Data"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${arn}/*"]
  } if arn != null]

  # Where the images of worker and flow runs are pushed to.
  create_ecr = true

  # Warns once there is somebody to warn: of the whole account's costs, until the
  # tag is activated.
  budget_limit_usd             = length(var.budget_emails) > 0 ? var.budget_limit_usd : null
  budget_emails                = var.budget_emails
  activate_cost_allocation_tag = var.activate_cost_allocation_tag

  # Plans, asks and applies on each change of the repository that this is in.
  create_pipeline       = var.repository != null
  pipeline_source       = var.repository != null ? { repository = var.repository } : null
  pipeline_state_bucket = var.state_bucket
  pipeline_state_key    = "${var.name}/terraform.tfstate"

  # The pipeline may not read the secret.
  pipeline_build_environment = { TF_VAR_check_secret_keys = "false" }
}

# Asks, at each plan, if the secret has the keys that the task definition names.
# A module apart, since it reads the secret: a pipeline, which must not, switches it off.
module "secret_check" {
  source = "../../modules/secret-check"

  enabled       = var.check_secret_keys
  secret_arn    = module.faber.secret_arn
  secret_keys   = module.faber.secret_keys
  created       = true
  value_version = var.prefect_credentials_version
}
