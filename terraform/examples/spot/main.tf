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

  image            = var.image
  cpu_architecture = "ARM64"
  desired_count    = var.desired_count

  # All on Spot. A worker that is taken away is replaced, and the next one finds
  # its runs again; a flow run that is taken away is launched again, the last
  # time on FARGATE.
  capacity_provider_strategy          = [{ capacity_provider = "FARGATE_SPOT" }]
  flow_run_capacity_provider_strategy = [{ capacity_provider = "FARGATE_SPOT", weight = 4 }, { capacity_provider = "FARGATE", weight = 1 }]

  # No worker while there is no work.
  enable_autoscaling       = true
  scale_to_zero            = true
  tick_interval_minutes    = var.tick_interval_minutes
  autoscaling_max_capacity = 3

  # Interruptions are part of the plan; more than this an hour are not.
  alarm_thresholds = { spot_interruptions = 50 }
  alarm_emails     = var.alarm_emails
}
