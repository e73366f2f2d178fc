# Image repositories: a tag names one image for ever, and old images go.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name           = "data"
  work_pool_name = "ecs-production"
  image          = "faber:1.0.0"
}

run "repositories" {
  command = apply

  module {
    source = "./modules/ecr"
  }

  variables {
    kms_key_arn   = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000"
    untagged_days = 3
    keep_images   = 9
  }

  assert {
    condition     = toset([for repository in aws_ecr_repository.this : repository.name]) == toset(["data/worker", "data/flows"])
    error_message = "One repository for the worker, one for flows."
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_tag_mutability == "IMMUTABLE" && repository.image_scanning_configuration[0].scan_on_push && !repository.force_delete])
    error_message = "Tags stay, images are scanned, and a destroy does not take them along."
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.encryption_configuration[0].encryption_type == "KMS" && repository.encryption_configuration[0].kms_key == var.kms_key_arn])
    error_message = "A key of yours encrypts the images."
  }
  assert {
    condition     = [for rule in jsondecode(aws_ecr_lifecycle_policy.this["worker"].policy).rules : "${rule.selection.tagStatus} ${rule.selection.countType} ${rule.selection.countNumber}"] == ["untagged sinceImagePushed 3", "any imageCountMoreThan 9"]
    error_message = "The untagged go first; the newest of the others stay."
  }
}

run "without_a_key" {
  command = apply

  module {
    source = "./modules/ecr"
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.encryption_configuration[0].encryption_type == "AES256"])
    error_message = "Without a key of yours ECR encrypts with its own."
  }
}

run "whole" {
  command = apply

  variables {
    create_ecr          = true
    prefect_credentials = { prefect_api_key = "pnu_canary" }
  }

  assert {
    condition     = toset(keys(output.ecr_repository_urls)) == toset(["worker", "flows"])
    error_message = "The addresses to push to are shown."
  }
}

run "none" {
  command = plan

  assert {
    condition     = length(output.ecr_repository_urls) == 0
    error_message = "No repository is made that was not asked for."
  }
}

run "refused" {
  command = plan

  variables {
    ecr_repositories  = ["Worker"]
    ecr_untagged_days = 0
    ecr_keep_images   = 1.5
  }

  expect_failures = [var.ecr_repositories, var.ecr_untagged_days, var.ecr_keep_images]
}
