################################################################################
# CodePipeline role: moves artefacts, starts builds, asks for approval
################################################################################

locals {
  artifact_objects = [for arn in [var.artifact_bucket_arn] : "${arn}/*" if arn != null]

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
        {
          Sid      = "ArtifactBucket"
          Effect   = "Allow"
          Action   = ["s3:GetBucketLocation", "s3:GetBucketVersioning"]
          Resource = var.artifact_bucket_arn
        },
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
# Builds: what planning and applying have in common
################################################################################

locals {
  codebuild_log_group_arns = coalesce(var.codebuild_log_group_arns, [
    for project in concat(local.plan_project_names, [local.apply_project_name]) : "arn:${local.partition}:logs:${local.in_region}:log-group:/aws/codebuild/${project}"
  ])

  build_statements = concat(
    [
      {
        Sid    = "BuildLogs"
        Effect = "Allow"
        Action = ["logs:CreateLogStream", "logs:PutLogEvents"]
        # Wildcard: each build has a stream of its own.
        Resource = [for arn in local.codebuild_log_group_arns : "${trimsuffix(arn, ":*")}:log-stream:*"]
      },
      {
        Sid    = "Artifacts"
        Effect = "Allow"
        Action = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
        # Wildcard: artefacts get random names; the bucket holds nothing else.
        Resource = local.artifact_objects
      },
      {
        Sid    = "StateLock"
        Effect = "Allow"
        Action = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        # The lock is an object beside the state
        # (developer.hashicorp.com/terraform/language/backend/s3, use_lockfile).
        Resource = [for arn in [var.state_bucket_arn] : "${arn}/${local.state_key}.tflock" if arn != null]
      },
      {
        Sid      = "StateBucket"
        Effect   = "Allow"
        Action   = ["s3:GetBucketVersioning", "s3:ListBucket"]
        Resource = compact([var.state_bucket_arn])
      },
    ],
    local.bucket_key_statements,
  )
  state_key = coalesce(var.state_key, "${var.name}/terraform.tfstate")
  state_arn = [for arn in [var.state_bucket_arn] : "${arn}/${local.state_key}" if arn != null]
}

################################################################################
# Plan role: reads everything that the stack has, changes nothing but the lock
################################################################################

locals {
  codebuild_plan_policy = {
    Version = "2012-10-17"
    Statement = concat(
      local.build_statements,
      [
        {
          Sid      = "ReadState"
          Effect   = "Allow"
          Action   = "s3:GetObject"
          Resource = local.state_arn
        },
      ],
    )
  }
}

resource "aws_iam_role" "codebuild_plan" {
  count = var.create_codebuild_plan_role ? 1 : 0

  name_prefix          = "${var.name}-build-plan-"
  description          = "Builds that validate, plan and look for drift in ${var.name}: reads only"
  assume_role_policy   = jsonencode(local.trust_policies["codebuild_plan"])
  permissions_boundary = local.permissions_boundary

  tags = var.tags
}

resource "aws_iam_role_policy" "codebuild_plan" {
  count = var.create_codebuild_plan_role ? 1 : 0

  name   = "plan"
  role   = aws_iam_role.codebuild_plan[0].id
  policy = jsonencode(local.codebuild_plan_policy)
}

################################################################################
# Apply role: changes the stack, within the boundary and the stack's names
################################################################################

locals {
  codebuild_apply_policy = {
    Version = "2012-10-17"
    Statement = concat(
      local.build_statements,
      [
        {
          Sid      = "WriteState"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject"]
          Resource = local.state_arn
        },
      ],
    )
  }
}

resource "aws_iam_role" "codebuild_apply" {
  count = var.create_codebuild_apply_role ? 1 : 0

  name_prefix          = "${var.name}-build-apply-"
  description          = "The build that applies approved plans of ${var.name}"
  assume_role_policy   = jsonencode(local.trust_policies["codebuild_apply"])
  permissions_boundary = local.permissions_boundary

  tags = var.tags
}

resource "aws_iam_role_policy" "codebuild_apply" {
  count = var.create_codebuild_apply_role ? 1 : 0

  name   = "apply"
  role   = aws_iam_role.codebuild_apply[0].id
  policy = jsonencode(local.codebuild_apply_policy)
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
