# A configuration for the pipeline's scripts, of few and quick resources.
terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.83, < 7.0"
    }
  }

  backend "s3" {}
}

provider "aws" {
  region = "us-east-1"
}

variable "repositories" {
  type    = set(string)
  default = ["worker", "flows"]
}

variable "keep_images" {
  type    = number
  default = 10
}

module "ecr" {
  source = "../modules/ecr"

  name         = "faber-pipeline"
  repositories = var.repositories
  keep_images  = var.keep_images
}
