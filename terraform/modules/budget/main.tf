locals {
  # In a budget's filter a tag that users set is `user:<key>$<value>`
  # (docs.aws.amazon.com/cost-management/latest/userguide/budgets-create-filters.html).
  # A tag that is not active matches nothing, and the budget would stay at zero:
  # hence no filter, and the whole account, until it is activated.
  filters = var.activate_cost_allocation_tag ? { TagKeyValue = [format("user:%s$%s", var.tag_key, var.tag_value)] } : {}

  notifications = concat(
    [for threshold in var.actual_thresholds : { type = "ACTUAL", threshold = threshold }],
    [for threshold in var.forecast_thresholds : { type = "FORECASTED", threshold = threshold }],
  )
}

# Only the account that pays for an organization may activate a tag; elsewhere
# AWS answers AccessDenied. A tag can be activated once it was seen on a bill,
# up to 24 hours after the first resource got it
# (docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/activating-tags.html).
resource "aws_ce_cost_allocation_tag" "stack" {
  count = var.activate_cost_allocation_tag ? 1 : 0

  tag_key = var.tag_key
  status  = "Active"
}

resource "aws_budgets_budget" "this" {
  name         = "${var.name}-monthly"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.limit_usd)
  limit_unit   = "USD"

  dynamic "cost_filter" {
    for_each = local.filters

    content {
      name   = cost_filter.key
      values = cost_filter.value
    }
  }

  dynamic "notification" {
    for_each = local.notifications

    content {
      notification_type          = notification.value.type
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value.threshold
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.emails
      subscriber_sns_topic_arns  = var.sns_topic_arns
    }
  }

  tags = var.tags

  lifecycle {
    precondition {
      condition     = length(local.notifications) == 0 || length(var.emails) + length(var.sns_topic_arns) > 0
      error_message = "A budget with thresholds needs somebody to tell: give emails or sns_topic_arns, or empty both lists of thresholds."
    }
  }

  depends_on = [aws_ce_cost_allocation_tag.stack]
}
