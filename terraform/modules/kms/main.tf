data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.id
  in_region  = "${local.region}:${local.account_id}"

  # In a key policy "*" as Resource means the key that carries the policy: there
  # is nothing narrower to name, and its ARN is not known before it exists.
  this_key = "*"

  key_policy = {
    Version = "2012-10-17"
    Statement = [
      {
        # Without it nobody could administer the key, and no role's own policy
        # would count. It grants nothing by itself: who may use the key is said in
        # the policies of the roles, each bound to one kind of data.
        Sid       = "AccountDecidesByIam"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
        # Wildcard: a key that its account cannot wholly administer is lost when the one role that can is.
        Action   = "kms:*"
        Resource = local.this_key
      },
      {
        Sid       = "Logs"
        Effect    = "Allow"
        Principal = { Service = "logs.${local.region}.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
        Resource  = local.this_key
        # Wildcard: the log groups of this stack. CloudWatch Logs gives no source, it
        # names the group in the encryption context instead
        # (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html).
        Condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = [
          "arn:${local.partition}:logs:${local.in_region}:log-group:/faber/${var.name}/*",
          "arn:${local.partition}:logs:${local.in_region}:log-group:/aws/codebuild/${var.name}-*",
          "arn:${local.partition}:logs:${local.in_region}:log-group:/aws/ecs/containerinsights/${var.name}/*",
        ] } }
      },
      {
        # EventBridge puts task events into the encrypted queue and alarms of its own into the topic
        # (docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html).
        Sid       = "Events"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = local.this_key
        # Wildcard: the rules of this stack.
        Condition = {
          StringEquals = { "aws:SourceAccount" = local.account_id }
          ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:events:${local.in_region}:rule/${var.name}-*" }
        }
      },
      {
        # Alarms are sent to the encrypted topic
        # (docs.aws.amazon.com/sns/latest/dg/sns-key-management.html).
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = local.this_key
        # Wildcard: the alarms of this stack.
        Condition = {
          StringEquals = { "aws:SourceAccount" = local.account_id }
          ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:cloudwatch:${local.in_region}:alarm:${var.name}-*" }
        }
      },
      {
        # Budgets is a global service: its ARNs have no region, and it names the account.
        Sid       = "Budgets"
        Effect    = "Allow"
        Principal = { Service = "budgets.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = local.this_key
        # Wildcard: the budgets of this stack.
        Condition = {
          StringEquals = { "aws:SourceAccount" = local.account_id }
          ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:budgets::${local.account_id}:budget/${var.name}*" }
        }
      },
    ]
  }
}

resource "aws_kms_key" "this" {
  description             = "Everything that ${var.name} keeps: logs, queues, secret, images, alarms, artefacts"
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_window_in_days
  policy                  = jsonencode(local.key_policy)

  tags = var.tags
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}
