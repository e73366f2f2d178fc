data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.id

  from_repository = var.pipeline_source.repository != null
  connection_arn  = local.from_repository ? coalesce(var.connection_arn, one(aws_codeconnections_connection.this[*].arn)) : null
  detect_drift    = var.drift_schedule != null

  # Where the configuration that was applied last is kept, for the search for
  # drift. An underscore starts no stack's name: see the bucket's lifecycle.
  applied_key = "_applied/source.zip"
}

################################################################################
# Artefacts
################################################################################

resource "aws_s3_bucket" "artifacts" {
  # checkov:skip=CKV_AWS_18:no input: what is in it is gone after a week; a bucket of access logs would need one of its own, and CloudTrail's data events tell the same
  # checkov:skip=CKV_AWS_144:no input: what is in it is made anew by the next run of the pipeline
  # checkov:skip=CKV2_AWS_62:no input: CodePipeline knows what it put there, and nobody else asks

  bucket_prefix = "${var.name}-pipeline-"

  # Nothing in it is worth keeping once the pipeline is gone.
  force_destroy = true

  tags = var.tags
}

resource "aws_s3_bucket_public_access_block" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  rule {
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  # Rules on old versions mean nothing before there are versions.
  depends_on = [aws_s3_bucket_versioning.artifacts]

  # A plan holds values in clear text, also those that Terraform calls sensitive:
  # it does not outlive the week in which it could be applied. CodePipeline puts
  # its artefacts below the first 20 characters of the pipeline's name
  # (repost.aws/questions/QUI91tw7A9SUOMohJurNqmgA); the configuration that was
  # applied last lies elsewhere, and stays.
  rule {
    id     = "artefacts"
    status = "Enabled"

    filter {
      prefix = substr(var.name, 0, 20)
    }

    expiration {
      days = 7
    }
  }

  rule {
    id     = "versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 1
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_policy" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  # S3 refuses a policy and a change of the access block at the same time.
  depends_on = [aws_s3_bucket_public_access_block.artifacts]

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        # Wildcards: a refusal, for everybody and for everything.
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.artifacts.arn, "${aws_s3_bucket.artifacts.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

################################################################################
# Builds
################################################################################

locals {
  scripts = trimsuffix(var.scripts_directory, "/")

  # The builds do what the scripts do, and nothing else: the same can be done by
  # hand, and is what the tests run. A script's standard output is its result.
  builds = {
    validate = {
      description = "Formatting and validity of the configuration"
      role_arn    = var.codebuild_plan_role_arn
      timeout     = 15
      commands    = ["sh ${local.scripts}/validate.sh"]
      exports     = []
      files       = []
    }
    plan = {
      description = "Plans, and tells what the plan would do"
      role_arn    = var.codebuild_plan_role_arn
      timeout     = 60
      commands = [
        "FABER_APPROVAL=\"$(sh ${local.scripts}/plan.sh)\" && export FABER_APPROVAL",
        "FABER_PLAN_SHA256=\"$(sh ${local.scripts}/plan.sh checksum)\" && export FABER_PLAN_SHA256",
      ]
      exports = ["FABER_APPROVAL", "FABER_PLAN_SHA256", "CODEBUILD_BUILD_ID"]
      files   = ["plan.tar.gz"]
    }
    apply = {
      description = "Applies the plan that was approved"
      role_arn    = var.codebuild_apply_role_arn
      timeout     = 120
      commands    = ["sh ${local.scripts}/apply.sh"]
      exports     = []
      files       = []
    }
    drift = {
      description = "Fails when what runs is no longer what was applied last"
      role_arn    = var.codebuild_plan_role_arn
      timeout     = 60
      commands    = ["sh ${local.scripts}/plan.sh drift"]
      exports     = []
      files       = []
    }
  }
  made = { for name, build in local.builds : name => build if name != "drift" || local.detect_drift }

  buildspecs = { for name, build in local.builds : name => yamlencode(merge(
    {
      version = "0.2"
      phases  = { build = { commands = build.commands } }
    },
    length(build.exports) > 0 ? { env = { exported-variables = build.exports } } : {},
    length(build.files) > 0 ? { artifacts = { base-directory = ".faber-out", files = build.files } } : {},
  )) }

  # No credentials for Prefect among them, ever: the scripts refuse to run with any.
  environment = merge(
    {
      FABER_TERRAFORM_DIR = var.terraform_directory
      FABER_STATE_BUCKET  = var.state_bucket
      FABER_STATE_KEY     = var.state_key
      FABER_STATE_REGION  = coalesce(var.state_region, local.region)
    },
    { for name, value in {
      FABER_STATE_KMS_KEY    = var.state_kms_key_arn
      TERRAFORM_VERSION      = var.terraform_version
      TERRAFORM_SHA256_AMD64 = try(var.terraform_sha256.amd64, null)
      TERRAFORM_SHA256_ARM64 = try(var.terraform_sha256.arm64, null)
    } : name => value if value != null },
    var.build_environment,
  )
}

resource "aws_cloudwatch_log_group" "build" {
  # checkov:skip=CKV_AWS_338:how long logs are to be kept is for who runs the flows to say, and 30 days are the default; `log_retention_in_days = 365` satisfies it
  for_each = local.made

  name              = "/aws/codebuild/${var.name}-${each.key}"
  retention_in_days = var.log_retention_in_days
  kms_key_id        = var.kms_key_arn

  tags = var.tags
}

resource "aws_codebuild_project" "this" {
  for_each = local.made

  name          = "${var.name}-${each.key}"
  description   = "${each.value.description} (${var.name})"
  service_role  = each.value.role_arn
  build_timeout = each.value.timeout

  # What builds hand on is encrypted with it. Null means S3's own key.
  encryption_key = var.kms_key_arn

  source {
    type      = each.key == "drift" ? "S3" : "CODEPIPELINE"
    location  = each.key == "drift" ? "${aws_s3_bucket.artifacts.bucket}/${local.applied_key}" : null
    buildspec = local.buildspecs[each.key]
  }

  artifacts {
    type = each.key == "drift" ? "NO_ARTIFACTS" : "CODEPIPELINE"
  }

  environment {
    type         = var.build_architecture == "ARM64" ? "ARM_CONTAINER" : "LINUX_CONTAINER"
    image        = coalesce(var.build_image, var.build_architecture == "ARM64" ? "aws/codebuild/amazonlinux-aarch64-standard:3.0" : "aws/codebuild/amazonlinux-x86_64-standard:5.0")
    compute_type = var.build_compute_type

    privileged_mode = false # builds no images

    dynamic "environment_variable" {
      for_each = local.environment

      content {
        name  = environment_variable.key
        value = environment_variable.value
      }
    }
  }

  logs_config {
    cloudwatch_logs {
      status     = "ENABLED"
      group_name = aws_cloudwatch_log_group.build[each.key].name
    }
  }

  tags = var.tags
}

################################################################################
# Source
################################################################################

# Made PENDING: somebody has to agree to it in the console, once, since only a
# person can let AWS into a repository. The README says where.
resource "aws_codeconnections_connection" "this" {
  count = local.from_repository && var.connection_arn == null ? 1 : 0

  name          = substr("${var.name}-source", 0, 32)
  provider_type = var.connection_provider_type

  tags = var.tags
}

locals {
  source_action = local.from_repository ? {
    provider = "CodeStarSourceConnection" # the action keeps the connections' former name
    commit   = "#{source.CommitId}"
    configuration = {
      ConnectionArn        = local.connection_arn
      FullRepositoryId     = var.pipeline_source.repository
      BranchName           = var.pipeline_source.branch
      DetectChanges        = "true"
      OutputArtifactFormat = "CODE_ZIP"
    }
    } : {
    provider = "S3"
    commit   = "#{source.VersionId}"
    configuration = {
      S3Bucket             = var.pipeline_source.bucket
      S3ObjectKey          = var.pipeline_source.key
      PollForSourceChanges = "false"
    }
  }
}

resource "aws_cloudwatch_event_rule" "source" {
  count = local.from_repository ? 0 : 1

  name        = "${var.name}-source"
  description = "A new configuration for ${var.name} was uploaded"

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [var.pipeline_source.bucket] }
      object = { key = [var.pipeline_source.key] }
    }
  })

  tags = var.tags
}

resource "aws_cloudwatch_event_target" "source" {
  count = local.from_repository ? 0 : 1

  rule      = aws_cloudwatch_event_rule.source[0].name
  target_id = "pipeline"
  arn       = aws_codepipeline.this.arn
  role_arn  = var.event_trigger_role_arn
}

################################################################################
# Pipeline
################################################################################

locals {
  console = lookup({ aws-cn = "console.amazonaws.cn", aws-us-gov = "console.amazonaws-us-gov.com" }, local.partition, "console.aws.amazon.com")

  # The 1,000 characters that an action's setting may have, variables put in
  # (docs.aws.amazon.com/codepipeline/latest/userguide/reference-variables.html):
  # plan.sh cuts its text to them, and the rest is behind the link.
  approval_configuration = merge(
    {
      CustomData         = "#{plan.FABER_APPROVAL}"
      ExternalEntityLink = "https://${local.region}.${local.console}/codesuite/codebuild/${local.account_id}/projects/${var.name}-plan/build/#{plan.CODEBUILD_BUILD_ID}/log?region=${local.region}"
    },
    { for name, value in { NotificationArn = var.approval_topic_arn } : name => value if value != null },
  )

  # Plan, approval and apply are actions of one stage: a stage works on one
  # execution at a time, so that no second plan is made while the first waits to
  # be approved. It would be stale as soon as the first is applied
  # (docs.aws.amazon.com/codepipeline/latest/userguide/concepts-how-it-works.html).
  deploy_actions = concat(
    [
      {
        name             = "plan"
        category         = "Build"
        provider         = "CodeBuild"
        namespace        = "plan"
        input_artifacts  = ["source"]
        output_artifacts = ["plan"]
        timeout          = null
        configuration = {
          ProjectName          = aws_codebuild_project.this["plan"].name
          EnvironmentVariables = jsonencode([{ name = "FABER_COMMIT", value = local.source_action.commit, type = "PLAINTEXT" }])
        }
      },
      {
        name             = "approve"
        category         = "Approval"
        provider         = "Manual"
        namespace        = null
        input_artifacts  = []
        output_artifacts = []
        timeout          = var.approval_timeout_minutes
        configuration    = local.approval_configuration
      },
      {
        name             = "apply"
        category         = "Build"
        provider         = "CodeBuild"
        namespace        = null
        input_artifacts  = ["source", "plan"]
        output_artifacts = []
        timeout          = null
        configuration = {
          ProjectName   = aws_codebuild_project.this["apply"].name
          PrimarySource = "source"
          EnvironmentVariables = jsonencode([
            { name = "FABER_COMMIT", value = local.source_action.commit, type = "PLAINTEXT" },
            { name = "FABER_PLAN_SHA256", value = "#{plan.FABER_PLAN_SHA256}", type = "PLAINTEXT" },
          ])
        }
      },
    ],
    # What was applied is what the search for drift compares with; the branch may
    # be ahead of it, and that is no drift.
    [for name in ["record"] : {
      name             = name
      category         = "Deploy"
      provider         = "S3"
      namespace        = null
      input_artifacts  = ["source"]
      output_artifacts = []
      timeout          = null
      configuration = merge(
        {
          BucketName = aws_s3_bucket.artifacts.bucket
          Extract    = "false"
          ObjectKey  = local.applied_key
        },
        { for name, value in { KMSEncryptionKeyARN = var.kms_key_arn } : name => value if value != null },
      )
    } if local.detect_drift],
  )
}

resource "aws_codepipeline" "this" {
  name          = var.name
  role_arn      = var.codepipeline_role_arn
  pipeline_type = "V2"

  # A newer commit overtakes those that wait for the stage: nobody has to approve
  # a plan that the next one makes obsolete.
  execution_mode = "SUPERSEDED"

  artifact_store {
    type     = "S3"
    location = aws_s3_bucket.artifacts.bucket

    dynamic "encryption_key" {
      for_each = var.kms_key_arn[*]

      content {
        type = "KMS"
        id   = encryption_key.value
      }
    }
  }

  stage {
    name = "source"

    action {
      name             = "source"
      category         = "Source"
      owner            = "AWS"
      provider         = local.source_action.provider
      version          = "1"
      namespace        = "source"
      output_artifacts = ["source"]
      configuration    = local.source_action.configuration
    }
  }

  stage {
    name = "validate"

    action {
      name            = "validate"
      category        = "Build"
      owner           = "AWS"
      provider        = "CodeBuild"
      version         = "1"
      input_artifacts = ["source"]
      configuration   = { ProjectName = aws_codebuild_project.this["validate"].name }
    }
  }

  stage {
    name = "deploy"

    dynamic "action" {
      for_each = local.deploy_actions

      content {
        name               = action.value.name
        category           = action.value.category
        owner              = "AWS"
        provider           = action.value.provider
        version            = "1"
        run_order          = action.key + 1
        namespace          = action.value.namespace
        input_artifacts    = action.value.input_artifacts
        output_artifacts   = action.value.output_artifacts
        configuration      = action.value.configuration
        timeout_in_minutes = action.value.timeout
      }
    }
  }

  tags = var.tags
}

################################################################################
# Drift
################################################################################

resource "aws_cloudwatch_event_rule" "drift" {
  count = local.detect_drift ? 1 : 0

  name                = "${var.name}-drift"
  description         = "Time to look whether ${var.name} is still as it was applied"
  schedule_expression = var.drift_schedule

  tags = var.tags
}

resource "aws_cloudwatch_event_target" "drift" {
  count = local.detect_drift ? 1 : 0

  rule      = aws_cloudwatch_event_rule.drift[0].name
  target_id = "drift"
  arn       = aws_codebuild_project.this["drift"].arn
  role_arn  = var.event_trigger_role_arn
}

# The build fails when the plan has changes, and when it could not plan: a search
# that cannot be made is worth a look, too. One failure in the last 24 hours is
# enough; with a daily search the alarm stays until one came out clean.
resource "aws_cloudwatch_metric_alarm" "drift" {
  count = local.detect_drift ? 1 : 0

  alarm_name        = "${var.name}-drift"
  alarm_description = "What runs differs from what was applied last, or the search for it failed. The log of the build ${var.name}-drift names the resources. Run the pipeline to undo the difference, or take it into the configuration."

  namespace   = "AWS/CodeBuild"
  metric_name = "FailedBuilds"
  dimensions  = { ProjectName = aws_codebuild_project.this["drift"].name }
  statistic   = "Sum"
  period      = 3600

  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  evaluation_periods  = 24
  datapoints_to_alarm = 1
  treat_missing_data  = "notBreaching"

  alarm_actions = var.drift_alarm_actions
  ok_actions    = var.drift_alarm_actions

  tags = var.tags
}
