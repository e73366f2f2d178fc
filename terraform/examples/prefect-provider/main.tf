# Credentials come from where the AWS CLI takes them: environment, profile or role.
provider "aws" {
  region = var.region
}

# Key, account and workspace for Terraform itself, from the environment:
# PREFECT_API_KEY and PREFECT_CLOUD_ACCOUNT_ID. They are not those of the worker,
# which gets its own out of the secret.
provider "prefect" {
  endpoint     = var.prefect_api_url
  workspace_id = var.prefect_workspace_id
}

module "faber" {
  source = "../.."

  name = var.name

  work_pool_name  = var.work_pool_name
  prefect_api_url = var.prefect_api_url

  # The secret is filled by `faber secret put` after the first apply.
  secret_value_ready = var.secret_value_ready

  image = var.image
}

# The pool, with a template that points at this stack: the next apply mends what
# somebody changed in it by hand. The module takes the name and not this resource,
# since its template is made of what the module makes; a worker that comes up before
# the pool waits for it and says so.
resource "prefect_work_pool" "this" {
  name              = var.work_pool_name
  type              = "ecs"
  description       = "Flow runs on ECS Fargate, stack ${var.name}"
  concurrency_limit = var.concurrency_limit
  base_job_template = module.faber.base_job_template
}
