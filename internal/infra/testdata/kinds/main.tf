# One of each kind of resource that the module's switches can create, with the
# arguments that the module sets. `changed` changes each of them in place.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "= 5.100.0"
    }
  }
}

# Endpoint, credentials and region come from the environment, as anywhere.
provider "aws" {
  default_tags {
    tags = { "faber:stack" = var.name }
  }
}

variable "name" {
  type    = string
  default = "faber-kinds"
}

variable "changed" {
  type    = bool
  default = false
}

locals {
  azs = var.changed ? 3 : 2
}

data "aws_caller_identity" "this" {}
data "aws_region" "this" {}
data "aws_partition" "this" {}

data "aws_availability_zones" "this" {
  state = "available"
}
