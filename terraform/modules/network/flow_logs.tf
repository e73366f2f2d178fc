# What the VPC's interfaces sent and received, accepted and refused, in CloudWatch.

locals {
  flow_logs = var.create_vpc && var.enable_flow_logs
}

resource "aws_cloudwatch_log_group" "flow_logs" {
  # checkov:skip=CKV_AWS_338:how long logs are to be kept is for who runs the flows to say, and 30 days are the default; `log_retention_in_days = 365` satisfies it
  count = local.flow_logs ? 1 : 0

  name              = "/faber/${var.name}/vpc-flow-logs"
  retention_in_days = var.flow_logs_retention_in_days
  kms_key_id        = var.kms_key_arn

  tags = var.tags
}

resource "aws_flow_log" "this" {
  count = local.flow_logs ? 1 : 0

  vpc_id                   = aws_vpc.this[0].id
  traffic_type             = "ALL"
  log_destination_type     = "cloud-watch-logs"
  log_destination          = aws_cloudwatch_log_group.flow_logs[0].arn
  iam_role_arn             = var.flow_logs_role_arn
  max_aggregation_interval = 600

  tags = merge(var.tags, { Name = var.name })
}
