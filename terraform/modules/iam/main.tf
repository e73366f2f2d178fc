data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.id

  ecs_arn = "arn:${local.partition}:ecs:${local.region}:${local.account_id}"
  ecr_arn = "arn:${local.partition}:ecr:${local.region}:${local.account_id}"

  execution_role_arn = var.create_execution_role ? aws_iam_role.execution[0].arn : var.execution_role_arn
  worker_role_arn    = var.create_worker_role ? aws_iam_role.worker[0].arn : var.worker_role_arn
  flow_run_role_arn  = var.create_flow_run_role ? aws_iam_role.flow_run[0].arn : var.flow_run_role_arn

  # Only ECS may take the roles, and only for tasks of this account and region:
  # without the conditions ECS could be made to use them for somebody else's.
  # Wildcard: ECS names no narrower source than this when it starts a task.
  trust_policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "EcsTasks"
        Effect    = "Allow"
        Principal = { Service = "ecs-tasks.amazonaws.com" }
        Action    = "sts:AssumeRole"
        Condition = {
          StringEquals = { "aws:SourceAccount" = local.account_id }
          ArnLike      = { "aws:SourceArn" = "${local.ecs_arn}:*" }
        }
      },
    ]
  }
}

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
  permissions_boundary = var.permissions_boundary

  tags = var.tags
}

resource "aws_iam_role_policy" "execution" {
  count = var.create_execution_role ? 1 : 0

  name   = "start-tasks"
  role   = aws_iam_role.execution[0].id
  policy = jsonencode(local.execution_policy)
}

################################################################################
# Worker role: what the worker calls
################################################################################

locals {
  in_cluster = { ArnEquals = { "ecs:cluster" = var.cluster_arn } }

  worker_policy = {
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid    = "RunTasks"
          Effect = "Allow"
          Action = "ecs:RunTask"
          # Wildcard: a revision per change of a deployment, made by the worker itself.
          Resource  = [for family in var.task_families : "${local.ecs_arn}:task-definition/${family}:*"]
          Condition = local.in_cluster
        },
        {
          Sid    = "WatchAndStopTasks"
          Effect = "Allow"
          Action = ["ecs:DescribeTasks", "ecs:StopTask"]
          # Wildcard: tasks get random ids; all of this cluster are meant.
          Resource  = "${local.ecs_arn}:task/${var.cluster_name}/*"
          Condition = local.in_cluster
        },
        {
          Sid    = "ListTasks"
          Effect = "Allow"
          Action = "ecs:ListTasks"
          # Wildcard: the action knows container instances only, and Fargate has
          # none. The condition holds it to the cluster.
          Resource  = "*"
          Condition = local.in_cluster
        },
        {
          Sid    = "TaskDefinitions"
          Effect = "Allow"
          Action = ["ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions", "ecs:RegisterTaskDefinition"]
          # Wildcard: ECS authorises these on no resource. What a registered
          # definition can do is bounded by RunTasks and PassRoles.
          Resource = "*"
        },
        {
          Sid    = "TagOnCreate"
          Effect = "Allow"
          Action = "ecs:TagResource"
          # Wildcard: neither tasks nor revisions exist before they are tagged.
          # The condition rules out tagging anything later.
          Resource  = concat(["${local.ecs_arn}:task/${var.cluster_name}/*"], [for family in var.task_families : "${local.ecs_arn}:task-definition/${family}:*"])
          Condition = { StringEquals = { "ecs:CreateAction" = ["RunTask", "RegisterTaskDefinition"] } }
        },
        {
          Sid       = "PassRoles"
          Effect    = "Allow"
          Action    = "iam:PassRole"
          Resource  = concat([local.execution_role_arn, local.flow_run_role_arn], var.additional_pass_role_arns)
          Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
        },
        {
          Sid    = "FlowRunLogs"
          Effect = "Allow"
          Action = "logs:GetLogEvents"
          # Wildcard: streams are named after tasks.
          Resource = "${var.flow_run_log_group_arn}:log-stream:*"
        },
        {
          Sid    = "CheckNetwork"
          Effect = "Allow"
          Action = ["ec2:DescribeSubnets", "ec2:DescribeVpcs"]
          # Wildcard: EC2 authorises its Describe actions on no resource.
          Resource = "*"
        },
      ],
      [for arn in [var.events_queue_arn] : {
        Sid      = "TaskEvents"
        Effect   = "Allow"
        Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
        Resource = arn
      } if arn != null],
    )
  }
}


resource "aws_iam_role" "worker" {
  count = var.create_worker_role ? 1 : 0

  name_prefix          = "${var.name}-worker-"
  description          = "Prefect worker ${var.name}"
  assume_role_policy   = jsonencode(local.trust_policy)
  permissions_boundary = var.permissions_boundary

  tags = var.tags
}

resource "aws_iam_role_policy" "worker" {
  count = var.create_worker_role ? 1 : 0

  name   = "run-flows"
  role   = aws_iam_role.worker[0].id
  policy = jsonencode(local.worker_policy)
}

################################################################################
# Flow-run role: apart from the worker's, so that user code cannot start tasks
################################################################################

locals {
  flow_run_policy = {
    Version = "2012-10-17"
    Statement = [for statement in var.flow_run_iam_statements : merge(
      {
        Effect   = statement.effect
        Action   = statement.actions
        Resource = statement.resources
      },
      { for key, value in { Sid = statement.sid } : key => value if value != null },
      { for key, value in { Condition = statement.condition } : key => value if length(value) > 0 },
    )]
  }
}

resource "aws_iam_role" "flow_run" {
  count = var.create_flow_run_role ? 1 : 0

  name_prefix          = "${var.name}-flow-run-"
  description          = "Prefect flow runs of ${var.name}"
  assume_role_policy   = jsonencode(local.trust_policy)
  permissions_boundary = var.permissions_boundary

  tags = var.tags
}

resource "aws_iam_role_policy" "flow_run" {
  count = var.create_flow_run_role && length(var.flow_run_iam_statements) > 0 ? 1 : 0

  name   = "flow-runs"
  role   = aws_iam_role.flow_run[0].id
  policy = jsonencode(local.flow_run_policy)
}

resource "aws_iam_role_policy_attachment" "flow_run" {
  for_each = var.create_flow_run_role ? var.flow_run_policy_arns : {}

  role       = aws_iam_role.flow_run[0].name
  policy_arn = each.value
}
