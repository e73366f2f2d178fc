# The emulator's address comes from AWS_ENDPOINT_URL in the environment. The
# module is the very one that goes to AWS; only this block differs.
provider "aws" {
  region     = var.region
  access_key = var.account_id
  secret_key = "emulated"

  # There is nobody to ask: no metadata service, no list of regions, no account behind the key.
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true

  # An emulator that is gone should be noticed at once.
  max_retries = 4
}

module "faber" {
  source = "../.."

  name = var.name

  work_pool_name        = var.work_pool_name
  prefect_api_url       = var.prefect_api_url
  prefect_cloud_api_url = var.prefect_cloud_api_url

  manage_secret_value            = var.manage_secret_value
  secret_value_ready             = var.secret_value_ready
  prefect_credentials            = var.prefect_credentials
  prefect_credentials_version    = var.prefect_credentials_version
  prefect_secret_keys            = var.prefect_secret_keys
  secret_recovery_window_in_days = 0

  az_count = var.az_count
  nat_mode = var.nat_mode
  verify   = var.verify

  image              = var.image
  desired_count      = var.desired_count
  enable_task_events = var.enable_task_events
  cpu_architecture   = var.cpu_architecture
  worker_environment = var.worker_environment

  flow_run_image       = var.flow_run_image
  flow_run_cpu         = var.flow_run_cpu
  flow_run_memory      = var.flow_run_memory
  flow_run_environment = var.flow_run_environment

  log_retention_in_days = 1

  # Nobody looks at an emulator's dashboard, and nobody is to be told.
  create_dashboard = false
  create_alarms    = false
}

# Asks, at each plan, if the secret has the keys that the task definition names.
module "secret_check" {
  source = "../../modules/secret-check"

  enabled       = var.check_secret_keys
  secret_arn    = module.faber.secret_arn
  secret_keys   = module.faber.secret_keys
  created       = true
  value_version = var.prefect_credentials_version
}
