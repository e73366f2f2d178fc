# The state's bucket as the example makes it, except that it may be destroyed.
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  region = "us-east-1"
}

module "state_backend" {
  source = "../../modules/state-backend"

  name          = "faber-pipeline"
  force_destroy = true
}

output "bucket" {
  value = module.state_backend.bucket
}
