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
  permissions_boundary = local.permissions_boundary

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
