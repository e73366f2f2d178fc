################################################################################
# Tick role: what `faber tick` calls, and the role with which it is started
################################################################################

locals {
  metrics_statement = {
    Sid    = "Metrics"
    Effect = "Allow"
    Action = "cloudwatch:PutMetricData"
    # Wildcard: metrics are no resources. The condition holds it to the namespace.
    Resource  = "*"
    Condition = { StringEquals = { "cloudwatch:namespace" = var.metrics_namespace } }
  }

  tick_policy = {
    Version   = "2012-10-17"
    Statement = [local.metrics_statement]
  }

  scheduler_policy = {
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid    = "RunTick"
          Effect = "Allow"
          Action = "ecs:RunTask"
          # Wildcard: the revision is whatever the module has registered last.
          Resource  = "${local.ecs_arn}:task-definition/${local.tick_task_family}:*"
          Condition = { ArnEquals = { "ecs:cluster" = var.cluster_arn } }
        },
        {
          Sid    = "TagOnCreate"
          Effect = "Allow"
          Action = "ecs:TagResource"
          # Wildcard: the task does not exist before it is tagged. The condition
          # rules out tagging anything later.
          Resource  = "${local.ecs_arn}:task/${var.cluster_name}/*"
          Condition = { StringEquals = { "ecs:CreateAction" = "RunTask" } }
        },
        {
          Sid       = "PassRoles"
          Effect    = "Allow"
          Action    = "iam:PassRole"
          Resource  = compact([local.execution_role_arn, local.tick_role_arn])
          Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
        },
      ],
      [for arn in [var.kms_key_arn] : {
        Sid      = "ScheduleKey"
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = arn
        # Wildcard: the schedules of the group.
        Condition = {
          StringEquals = { "kms:ViaService" = "scheduler.${local.region}.amazonaws.com" }
          StringLike   = { "kms:EncryptionContext:aws:scheduler:schedule:arn" = "arn:${local.partition}:scheduler:${local.in_region}:schedule/${var.schedule_group_name}/*" }
        }
      } if arn != null],
    )
  }
}

resource "aws_iam_role" "tick" {
  count = var.create_tick_role ? 1 : 0

  name_prefix          = "${var.name}-tick-"
  description          = "faber tick of ${var.name}: publishes the backlog"
  assume_role_policy   = jsonencode(local.trust_policies["ecs_tasks"])
  permissions_boundary = local.permissions_boundary

  tags = var.tags
}

resource "aws_iam_role_policy" "tick" {
  count = var.create_tick_role ? 1 : 0

  name   = "publish-backlog"
  role   = aws_iam_role.tick[0].id
  policy = jsonencode(local.tick_policy)
}

resource "aws_iam_role" "scheduler" {
  count = var.create_scheduler_role ? 1 : 0

  name_prefix          = "${var.name}-scheduler-"
  description          = "EventBridge Scheduler runs faber tick of ${var.name} with it"
  assume_role_policy   = jsonencode(local.trust_policies["scheduler"])
  permissions_boundary = local.permissions_boundary

  tags = var.tags
}

resource "aws_iam_role_policy" "scheduler" {
  count = var.create_scheduler_role ? 1 : 0

  name   = "run-tick"
  role   = aws_iam_role.scheduler[0].id
  policy = jsonencode(local.scheduler_policy)
}
