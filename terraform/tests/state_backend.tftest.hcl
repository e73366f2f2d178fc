# The bucket for states: private, versioned, encrypted, and not destroyed by mistake.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name           = "acme"
  work_pool_name = "unused"
  image          = "unused"
}

run "bucket" {
  command = apply

  module {
    source = "./modules/state-backend"
  }

  assert {
    condition     = aws_s3_bucket.this.bucket_prefix == "acme-state-" && !aws_s3_bucket.this.force_destroy
    error_message = "The name is unique, and a bucket with a state in it stays."
  }
  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled" && one(one(aws_s3_bucket_lifecycle_configuration.this.rule).noncurrent_version_expiration).newer_noncurrent_versions == 20
    error_message = "A state can be brought back."
  }
  assert {
    condition     = aws_s3_bucket_public_access_block.this.block_public_acls && aws_s3_bucket_public_access_block.this.block_public_policy && aws_s3_bucket_public_access_block.this.ignore_public_acls && aws_s3_bucket_public_access_block.this.restrict_public_buckets
    error_message = "Nothing of it is public."
  }
  assert {
    condition     = jsondecode(aws_s3_bucket_policy.this.policy).Statement[0].Effect == "Deny" && jsondecode(aws_s3_bucket_policy.this.policy).Statement[0].Condition == { Bool = { "aws:SecureTransport" = "false" } }
    error_message = "It is reached by TLS alone."
  }
  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "AES256"
    error_message = "Without a key of yours S3 encrypts with its own."
  }
}

run "with_key_and_name" {
  command = apply

  module {
    source = "./modules/state-backend"
  }

  variables {
    bucket_name = "acme-states"
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  }

  assert {
    condition     = aws_s3_bucket.this.bucket == "acme-states"
    error_message = "A name of yours is taken as it is."
  }
  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default[0].kms_master_key_id == var.kms_key_arn && one(aws_s3_bucket_server_side_encryption_configuration.this.rule).bucket_key_enabled
    error_message = "A key of yours encrypts the states."
  }
}
