data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

resource "aws_cloudwatch_event_rule" "task_state" {
  name        = "${var.name}-task-state"
  description = "Task state changes of the ECS cluster ${var.name}"

  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change"]
    # The workers' own tasks and the tick's end like all others, and no worker
    # wants to hear of them: with scale_to_zero nobody would be there to read it.
    detail = merge(
      { clusterArn = [var.cluster_arn] },
      { for key, groups in { group = var.ignored_groups } : key => [{ anything-but = groups }, { exists = false }] if length(groups) > 0 },
    )
  })

  tags = var.tags
}

resource "aws_cloudwatch_event_target" "queue" {
  rule      = aws_cloudwatch_event_rule.task_state.name
  target_id = "task-events"
  arn       = aws_sqs_queue.this.arn
}

locals {
  queue_name = "${var.name}-task-events"

  # Put together from the name, so that the queue can carry its own policy: a
  # policy set apart costs another half minute of waiting at apply and destroy.
  queue_arn = "arn:${data.aws_partition.current.partition}:sqs:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:${local.queue_name}"

  queue_policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TaskStateRule"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = local.queue_arn
        Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.task_state.arn } }
      },
    ]
  }
}

resource "aws_sqs_queue" "this" {
  name                       = local.queue_name
  visibility_timeout_seconds = 300
  message_retention_seconds  = 7 * 24 * 60 * 60
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = var.kms_key_arn == null ? true : null
  kms_master_key_id          = var.kms_key_arn
  policy                     = jsonencode(local.queue_policy)

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dlq.arn
    maxReceiveCount     = 3
  })

  tags = var.tags
}

# Kept for two weeks, the longest there is: these messages are for people.
resource "aws_sqs_queue" "dlq" {
  name                      = "${local.queue_name}-dlq"
  message_retention_seconds = 14 * 24 * 60 * 60
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn

  tags = var.tags
}
