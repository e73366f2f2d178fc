################################################################################
# Flow-logs role: the VPC writes into its log group
################################################################################

locals {
  flow_logs_policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "WriteFlowLogs"
        Effect = "Allow"
        Action = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        # Wildcard: streams are named after network interfaces that do not exist yet.
        Resource = [for arn in [var.flow_logs_log_group_arn] : "${trimsuffix(arn, ":*")}:*" if arn != null]
      },
      {
        Sid    = "FindLogGroup"
        Effect = "Allow"
        Action = "logs:DescribeLogGroups"
        # Wildcard: CloudWatch Logs authorises the action on no resource
        # (docs.aws.amazon.com/service-authorization/latest/reference/list_logs.html).
        Resource = "*"
      },
    ]
  }
}

resource "aws_iam_role" "flow_logs" {
  count = var.create_flow_logs_role ? 1 : 0

  name_prefix          = "${var.name}-flow-logs-"
  description          = "The VPC of ${var.name} writes its flow logs with it"
  assume_role_policy   = jsonencode(local.trust_policies["flow_logs"])
  permissions_boundary = local.permissions_boundary

  tags = var.tags

  lifecycle {
    precondition {
      condition     = var.flow_logs_log_group_arn != null
      error_message = "flow_logs_log_group_arn is needed with create_flow_logs_role = true: the role may write into that group only."
    }
  }
}

resource "aws_iam_role_policy" "flow_logs" {
  count = var.create_flow_logs_role ? 1 : 0

  name   = "write-flow-logs"
  role   = aws_iam_role.flow_logs[0].id
  policy = jsonencode(local.flow_logs_policy)
}
