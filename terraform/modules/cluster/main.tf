resource "aws_ecs_cluster" "this" {
  # checkov:skip=CKV_AWS_65:Container Insights are charged by the metric, and each deployment brings some; `container_insights` switches them on
  name = var.name

  setting {
    name  = "containerInsights"
    value = var.container_insights
  }

  tags = var.tags
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }
}

resource "aws_cloudwatch_log_group" "worker" {
  # checkov:skip=CKV_AWS_338:how long logs are to be kept is for who runs the flows to say, and 30 days are the default; `log_retention_in_days = 365` satisfies it
  name              = "/faber/${var.name}/worker"
  retention_in_days = var.log_retention_in_days
  kms_key_id        = var.kms_key_arn

  tags = var.tags
}

resource "aws_cloudwatch_log_group" "flow_runs" {
  # checkov:skip=CKV_AWS_338:how long logs are to be kept is for who runs the flows to say, and 30 days are the default; `log_retention_in_days = 365` satisfies it
  name              = "/faber/${var.name}/flow-runs"
  retention_in_days = var.log_retention_in_days
  kms_key_id        = var.kms_key_arn

  tags = var.tags
}
