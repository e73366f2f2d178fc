################################################################################
# Execution role: what ECS itself needs to start a task
################################################################################

locals {
  execution_policy = {
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid    = "EcrLogin"
          Effect = "Allow"
          Action = "ecr:GetAuthorizationToken"
          # Wildcard: the action knows no resources; the token opens nothing by itself.
          Resource = "*"
        },
        {
          Sid    = "EcrPull"
          Effect = "Allow"
          Action = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
          # Wildcard by default: each deployment may bring its own image, and
          # which those are is not known here. ecr_repository_arns narrows it.
          Resource = coalesce(var.ecr_repository_arns, ["${local.ecr_arn}:repository/*"])
        },
        {
          Sid    = "Logs"
          Effect = "Allow"
          Action = ["logs:CreateLogStream", "logs:PutLogEvents"]
          # Wildcard: streams are named after tasks that do not exist yet.
          Resource = ["${var.worker_log_group_arn}:log-stream:*", "${var.flow_run_log_group_arn}:log-stream:*"]
        },
      ],
      [for arn in [var.secret_arn] : {
        Sid      = "PrefectCredentials"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = arn
      } if arn != null],
      [for arn in [var.secret_kms_key_arn] : {
        Sid       = "PrefectCredentialsKey"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = arn
        Condition = { StringEquals = { "kms:EncryptionContext:SecretARN" = var.secret_arn } }
      } if arn != null],
    )
  }
}

resource "aws_iam_role" "execution" {
  count = var.create_execution_role ? 1 : 0

  name_prefix          = "${var.name}-execution-"
  description          = "ECS starts the tasks of ${var.name} with it"
  assume_role_policy   = jsonencode(local.trust_policy)
  permissions_boundary = local.permissions_boundary

  tags = var.tags
}

resource "aws_iam_role_policy" "execution" {
  count = var.create_execution_role ? 1 : 0

  name   = "start-tasks"
  role   = aws_iam_role.execution[0].id
  policy = jsonencode(local.execution_policy)
}
