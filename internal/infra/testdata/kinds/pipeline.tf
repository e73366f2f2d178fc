resource "aws_s3_bucket" "this" {
  bucket        = "${var.name}-artifacts"
  force_destroy = true
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
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

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this.arn
    }
    bucket_key_enabled = var.changed
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id
  rule {
    id     = "expire"
    status = "Enabled"
    filter {}
    expiration {
      days = var.changed ? 7 : 14
    }
    noncurrent_version_expiration {
      noncurrent_days = 7
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Sid = var.changed ? "TLSOnly" : "TLS", Effect = "Deny", Principal = "*", Action = "s3:*", Resource = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"], Condition = { Bool = { "aws:SecureTransport" = "false" } } }]
  })
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket" "logs" {
  bucket        = "${var.name}-logs"
  force_destroy = true
}

resource "aws_s3_bucket_logging" "this" {
  bucket        = aws_s3_bucket.this.id
  target_bucket = aws_s3_bucket.logs.id
  target_prefix = var.changed ? "b/" : "a/"
}

resource "aws_s3_bucket_notification" "this" {
  bucket      = aws_s3_bucket.this.id
  eventbridge = true
}

resource "aws_s3_object" "this" {
  bucket  = aws_s3_bucket.this.id
  key     = "source.txt"
  content = var.changed ? "b" : "a"
}

resource "aws_codestarconnections_connection" "this" {
  name          = var.name
  provider_type = "GitHub"
  tags          = { Name = var.changed ? "b" : "a" }
}

resource "aws_codeconnections_connection" "this" {
  name          = "${var.name}-new"
  provider_type = "GitHub"
  tags          = { Name = var.changed ? "b" : "a" }
}

resource "aws_cloudwatch_log_group" "build" {
  name = "/aws/codebuild/${var.name}"
}

resource "aws_codebuild_project" "this" {
  name                   = var.name
  description            = var.changed ? "Plans and validates" : "Plans"
  service_role           = aws_iam_role.this.arn
  build_timeout          = var.changed ? 30 : 20
  queued_timeout         = 60
  concurrent_build_limit = 1
  encryption_key         = aws_kms_key.this.arn
  artifacts {
    type = "CODEPIPELINE"
  }
  cache {
    type = "NO_CACHE"
  }
  environment {
    type                        = "LINUX_CONTAINER"
    image                       = "aws/codebuild/amazonlinux2-x86_64-standard:5.0"
    compute_type                = "BUILD_GENERAL1_SMALL"
    image_pull_credentials_type = "CODEBUILD"
    privileged_mode             = false
    environment_variable {
      name  = "TF_VERSION"
      value = var.changed ? "1.12.0" : "1.11.4"
    }
  }
  logs_config {
    cloudwatch_logs {
      group_name  = aws_cloudwatch_log_group.build.name
      stream_name = "plan"
    }
  }
  source {
    type      = "CODEPIPELINE"
    buildspec = "version: 0.2\nphases:\n  build:\n    commands:\n      - ./plan.sh ${var.changed}\n"
  }
}

resource "aws_codebuild_project" "plain" {
  name         = "${var.name}-drift"
  service_role = aws_iam_role.this.arn
  artifacts {
    type = "NO_ARTIFACTS"
  }
  environment {
    type         = "ARM_CONTAINER"
    image        = "aws/codebuild/amazonlinux2-aarch64-standard:3.0"
    compute_type = "BUILD_GENERAL1_SMALL"
  }
  source {
    type            = "GITHUB"
    location        = "https://github.com/example/infra.git"
    git_clone_depth = 1
    buildspec       = "drift.yml"
  }
  source_version = var.changed ? "release" : "main"
  vpc_config {
    vpc_id             = aws_vpc.this.id
    subnets            = aws_subnet.this[*].id
    security_group_ids = [aws_security_group.this.id]
  }
}

resource "aws_codepipeline" "this" {
  name           = var.name
  role_arn       = aws_iam_role.this.arn
  pipeline_type  = "V2"
  execution_mode = var.changed ? "SUPERSEDED" : "QUEUED"
  artifact_store {
    type     = "S3"
    location = aws_s3_bucket.this.bucket
    encryption_key {
      type = "KMS"
      id   = aws_kms_key.this.arn
    }
  }
  variable {
    name          = "name"
    default_value = var.name
    description   = "Stack"
  }
  stage {
    name = "Source"
    action {
      name             = "Source"
      category         = "Source"
      owner            = "AWS"
      provider         = "CodeStarSourceConnection"
      version          = "1"
      namespace        = "source"
      output_artifacts = ["source"]
      configuration = {
        ConnectionArn        = aws_codestarconnections_connection.this.arn
        FullRepositoryId     = "example/infra"
        BranchName           = var.changed ? "release" : "main"
        OutputArtifactFormat = "CODE_ZIP"
        DetectChanges        = "true"
      }
    }
  }
  stage {
    name = "Plan"
    action {
      name             = "Plan"
      category         = "Build"
      owner            = "AWS"
      provider         = "CodeBuild"
      version          = "1"
      run_order        = 1
      namespace        = "plan"
      input_artifacts  = ["source"]
      output_artifacts = ["plan"]
      configuration = {
        ProjectName          = aws_codebuild_project.this.name
        EnvironmentVariables = jsonencode([{ name = "STACK", value = "#{variables.name}", type = "PLAINTEXT" }])
      }
    }
  }
  stage {
    name = "Approve"
    action {
      name      = "Approve"
      category  = "Approval"
      owner     = "AWS"
      provider  = "Manual"
      version   = "1"
      run_order = 1
      configuration = {
        NotificationArn    = aws_sns_topic.this.arn
        CustomData         = "#{plan.SUMMARY}"
        ExternalEntityLink = "#{plan.LOG}"
      }
    }
  }
  trigger {
    provider_type = "CodeStarSourceConnection"
    git_configuration {
      source_action_name = "Source"
      push {
        branches {
          includes = [var.changed ? "release" : "main"]
        }
      }
    }
  }
}
