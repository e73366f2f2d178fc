################################################################################
# Worker role: what the worker calls
################################################################################

locals {
  in_cluster = { ArnEquals = { "ecs:cluster" = var.cluster_arn } }

  # With and without a revision: which of the two ECS looks at while it registers
  # a definition, AWS does not say.
  worker_definition_arns = flatten([for family in var.task_families : ["${local.ecs_arn}:task-definition/${family}", "${local.ecs_arn}:task-definition/${family}:*"]])

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
          Sid    = "RegisterTaskDefinitions"
          Effect = "Allow"
          Action = "ecs:RegisterTaskDefinition"
          # Wildcard: ECS numbers the revision only when it registers it. What a
          # definition can do is bounded by RunTasks and PassRoles.
          Resource = local.worker_definition_arns
        },
        {
          Sid    = "TaskDefinitions"
          Effect = "Allow"
          Action = ["ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions"]
          # Wildcard: ECS authorises these on no resource
          # (docs.aws.amazon.com/service-authorization/latest/reference/list_ecs.html).
          Resource = "*"
        },
        {
          Sid    = "TagOnCreate"
          Effect = "Allow"
          Action = "ecs:TagResource"
          # Wildcard: neither tasks nor revisions exist before they are tagged.
          # The condition rules out tagging anything later.
          Resource  = concat(["${local.ecs_arn}:task/${var.cluster_name}/*"], local.worker_definition_arns)
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
      # An encrypted queue hands out messages to those only who may use its key.
      [for arn in [var.kms_key_arn] : {
        Sid       = "TaskEventsKey"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = arn
        Condition = { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = var.events_queue_arn } }
      } if arn != null && var.events_queue_arn != null],
      # The one secret, read again when Prefect refuses the key that the task was started with.
      [for arn in [var.secret_arn] : {
        Sid      = "PrefectCredentials"
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = arn
      } if arn != null && var.worker_reads_secret],
      [for arn in [var.secret_kms_key_arn] : {
        Sid       = "PrefectCredentialsKey"
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = arn
        Condition = { StringEquals = { "kms:EncryptionContext:SecretARN" = var.secret_arn } }
      } if arn != null && var.worker_reads_secret],
      var.metrics_transport == "put_metric_data" ? [local.metrics_statement] : [],
      var.enable_execute_command ? [
        {
          Sid    = "ExecuteCommand"
          Effect = "Allow"
          Action = ["ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"]
          # Wildcard: the service knows no resources
          # (docs.aws.amazon.com/service-authorization/latest/reference/list_ssmmessages.html).
          Resource = "*"
        },
      ] : [],
    )
  }
}

resource "aws_iam_role" "worker" {
  count = var.create_worker_role ? 1 : 0

  name_prefix          = "${var.name}-worker-"
  description          = "Prefect worker ${var.name}"
  assume_role_policy   = jsonencode(local.trust_policy)
  permissions_boundary = local.permissions_boundary

  tags = var.tags
}

resource "aws_iam_role_policy" "worker" {
  count = var.create_worker_role ? 1 : 0

  name   = "run-flows"
  role   = aws_iam_role.worker[0].id
  policy = jsonencode(local.worker_policy)
}
