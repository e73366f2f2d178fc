# Credentials come from where the AWS CLI takes them: environment, profile or role.
provider "aws" {
  region = var.region
}

module "faber" {
  source = "../.."

  name = var.name
  tags = var.tags

  work_pool_name  = var.work_pool_name
  prefect_api_url = var.prefect_api_url

  # No way out: AWS's services are reached through endpoints, the Prefect API
  # inside the VPC, and nothing else is.
  az_count             = var.az_count
  vpc_cidr             = var.vpc_cidr
  nat_mode             = "none"
  enable_vpc_endpoints = true
  vpc_endpoints        = var.vpc_endpoints
  enable_flow_logs     = var.enable_flow_logs

  # Flow runs reach the Prefect API's port and the endpoints without being told.
  flow_run_egress_rules = var.flow_run_egress_rules

  # A server inside the VPC without authentication. With basic auth:
  # prefect_secret_arn, and prefect_secret_keys = ["PREFECT_API_AUTH_STRING"].
  create_secret       = false
  prefect_secret_arn  = var.prefect_secret_arn
  prefect_secret_keys = ["PREFECT_API_AUTH_STRING"]

  image          = var.image
  desired_count  = var.desired_count
  flow_run_image = var.flow_run_image
}
