# The bucket that holds Terraform state. It is applied first and alone, with its
# own state on disk: a state cannot be kept in a bucket that it has yet to make.

resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_18:no input: what reads and writes a state is in CloudTrail's data events, for those who pay for them; a bucket of access logs would need one of its own
  # checkov:skip=CKV_AWS_144:no input: a state describes one region, and is of no use in another while that region is gone; old versions are kept beside it
  # checkov:skip=CKV2_AWS_62:no input: nobody waits for a state to change

  bucket        = var.bucket_name
  bucket_prefix = var.bucket_name == null ? "${var.name}-state-" : null
  force_destroy = var.force_destroy

  tags = var.tags
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# A state that was spoilt is brought back from the version before.
resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    # With a bucket key S3 asks KMS once for many objects: the lock is an object
    # that comes and goes with every plan.
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  # Rules on old versions mean nothing before there are versions.
  depends_on = [aws_s3_bucket_versioning.this]

  rule {
    id     = "old-states"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days           = var.noncurrent_days
      newer_noncurrent_versions = var.newer_noncurrent_versions
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id

  # S3 refuses a policy and a change of the access block at the same time.
  depends_on = [aws_s3_bucket_public_access_block.this]

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        # Wildcards: a refusal, for everybody and for everything.
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}
