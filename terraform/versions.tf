terraform {
  # 1.11 brings write-only arguments: the Prefect credentials pass through Terraform without being stored.
  required_version = ">= 1.11"

  required_providers {
    # 5.88 brings the write-only argument of the secret's value. Run with 5.100.0; not
    # with 6, whose upgrade guide takes away nothing that is used here.
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.88, < 7.0"
    }
  }
}
