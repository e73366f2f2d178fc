terraform {
  # 1.11 brings write-only arguments: the Prefect credentials pass through Terraform without being stored.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.88, < 7.0"
    }
  }
}
