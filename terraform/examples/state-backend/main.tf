# Credentials come from where the AWS CLI takes them: environment, profile or role.
provider "aws" {
  region = var.region
}

module "state_backend" {
  source = "../../modules/state-backend"

  name        = var.name
  kms_key_arn = var.kms_key_arn
  tags        = var.tags
}
