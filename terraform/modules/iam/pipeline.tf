################################################################################
# CodePipeline role: moves artefacts, starts builds, asks for approval
################################################################################

locals {
  artifact_objects = [for arn in [var.artifact_bucket_arn] : "${arn}/*" if arn != null]

  artifact_bucket_statement = {
    Sid      = "ArtifactBucket"
    Effect   = "Allow"
    Action   = ["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:GetBucketVersioning"]
    Resource = compact([var.artifact_bucket_arn])
  }

  # Artefacts and state may lie under keys of their own; the same statement reads
  # and writes them for pipeline and builds.
  bucket_kms_key_arns = distinct(compact([var.kms_key_arn, var.state_kms_key_arn]))
  bucket_key_statements = length(local.bucket_kms_key_arns) == 0 ? [] : [
    {
      Sid       = "BucketKeys"
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = local.bucket_kms_key_arns
      Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" } }
    },
  ]

  codepipeline_policy = {
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid    = "Artifacts"
          Effect = "Allow"
          Action = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
          # Wildcard: artefacts get random names; the bucket holds nothing else.
          Resource = local.artifact_objects
        },
        local.artifact_bucket_statement,
        {
          Sid      = "Builds"
          Effect   = "Allow"
          Action   = ["codebuild:BatchGetBuilds", "codebuild:StartBuild"]
          Resource = concat(local.plan_project_arns, [local.apply_project_arn])
        },
      ],
      [for arn in [var.connection_arn] : {
        Sid    = "Connection"
        Effect = "Allow"
        # Both names of one service: a connection has the one that was valid when it was made.
        Action   = ["codeconnections:UseConnection", "codestar-connections:UseConnection"]
        Resource = arn
      } if arn != null],
      [for arn in [var.source_bucket_arn] : {
        Sid      = "SourceObject"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectTagging", "s3:GetObjectVersion", "s3:GetObjectVersionTagging"]
        Resource = "${arn}/${coalesce(var.source_object_key, "source.zip")}"
      } if arn != null],
      [for arn in [var.source_bucket_arn] : {
        Sid      = "SourceBucket"
        Effect   = "Allow"
        Action   = ["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:GetBucketVersioning"]
        Resource = arn
      } if arn != null],
      [for arn in [var.approval_topic_arn] : {
        Sid      = "AskForApproval"
        Effect   = "Allow"
        Action   = "sns:Publish"
        Resource = arn
      } if arn != null],
      local.bucket_key_statements,
      [for arn in [var.kms_key_arn] : {
        Sid       = "TopicKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = arn
        Condition = { StringEquals = { "kms:ViaService" = "sns.${local.region}.amazonaws.com" } }
      } if arn != null && var.approval_topic_arn != null],
    )
  }
}

resource "aws_iam_role" "codepipeline" {
  count = var.create_codepipeline_role ? 1 : 0

  name_prefix          = "${var.name}-codepipeline-"
  description          = "The pipeline of ${var.name}"
  assume_role_policy   = jsonencode(local.trust_policies["codepipeline"])
  permissions_boundary = local.permissions_boundary

  tags = var.tags
}

resource "aws_iam_role_policy" "codepipeline" {
  count = var.create_codepipeline_role ? 1 : 0

  name   = "run-pipeline"
  role   = aws_iam_role.codepipeline[0].id
  policy = jsonencode(local.codepipeline_policy)
}

################################################################################
# Event-trigger role: EventBridge starts the pipeline and the search for drift
################################################################################

locals {
  event_trigger_policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "StartPipeline"
        Effect   = "Allow"
        Action   = "codepipeline:StartPipelineExecution"
        Resource = local.pipeline_arn
      },
      {
        Sid      = "LookForDrift"
        Effect   = "Allow"
        Action   = "codebuild:StartBuild"
        Resource = local.drift_project_arn
      },
    ]
  }
}

resource "aws_iam_role" "event_trigger" {
  count = var.create_event_trigger_role ? 1 : 0

  name_prefix          = "${var.name}-trigger-"
  description          = "EventBridge starts the pipeline and the search for drift of ${var.name} with it"
  assume_role_policy   = jsonencode(local.trust_policies["events"])
  permissions_boundary = local.permissions_boundary

  tags = var.tags
}

resource "aws_iam_role_policy" "event_trigger" {
  count = var.create_event_trigger_role ? 1 : 0

  name   = "start"
  role   = aws_iam_role.event_trigger[0].id
  policy = jsonencode(local.event_trigger_policy)
}
