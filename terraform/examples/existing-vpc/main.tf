# Credentials come from where the AWS CLI takes them: environment, profile or role.
provider "aws" {
  region = var.region
}

module "faber" {
  source = "../.."

  name = var.name
  tags = var.tags

  work_pool_name = var.work_pool_name

  create_vpc         = false
  vpc_id             = var.vpc_id
  private_subnet_ids = var.private_subnet_ids
  nat_mode           = var.nat_mode
  expected_flow_runs = var.expected_flow_runs

  enable_vpc_endpoints = var.enable_vpc_endpoints
  vpc_endpoints        = var.vpc_endpoints

  create_secret      = false
  prefect_secret_arn = var.prefect_secret_arn

  image         = var.image
  desired_count = var.desired_count
}

# Asks, at each plan, if the secret has the keys that the task definition names.
# A module apart, since it reads the secret: a pipeline, which must not, switches it off.
module "secret_check" {
  source = "../../modules/secret-check"

  enabled     = var.check_secret_keys
  secret_arn  = module.faber.secret_arn
  secret_keys = module.faber.secret_keys
}
