resource "aws_sns_topic" "this" {
  name              = var.name
  display_name      = var.changed ? "Faber alarms" : "Faber"
  kms_master_key_id = aws_kms_key.this.arn
}

resource "aws_sns_topic_policy" "this" {
  arn = aws_sns_topic.this.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Alarms", Effect = "Allow", Principal = { Service = var.changed ? ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"] : ["cloudwatch.amazonaws.com"] }
      Action    = "sns:Publish", Resource = aws_sns_topic.this.arn
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.this.account_id } }
    }]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = toset(var.changed ? ["a@example.com", "b@example.com"] : ["a@example.com"])
  topic_arn = aws_sns_topic.this.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_sns_topic_subscription" "queue" {
  topic_arn            = aws_sns_topic.this.arn
  protocol             = "sqs"
  endpoint             = aws_sqs_queue.this.arn
  raw_message_delivery = var.changed
}

resource "aws_cloudwatch_metric_alarm" "plain" {
  alarm_name          = "${var.name}-backlog"
  alarm_description   = "Runbook: https://example.com/runbook"
  namespace           = "Faber"
  metric_name         = "Backlog"
  dimensions          = { Stack = var.name, WorkPool = "pool" }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  datapoints_to_alarm = 3
  threshold           = var.changed ? 20 : 10
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.this.arn, aws_appautoscaling_policy.step["out"].arn]
  ok_actions          = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_metric_alarm" "gone" {
  alarm_name          = "${var.name}-worker-gone"
  namespace           = "AWS/ECS"
  metric_name         = "CPUUtilization"
  dimensions          = { ClusterName = aws_ecs_cluster.this.name, ServiceName = aws_ecs_service.spot.name }
  statistic           = "SampleCount"
  period              = 60
  evaluation_periods  = 5
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = var.changed ? "ignore" : "breaching"
  actions_enabled     = !var.changed
}

resource "aws_cloudwatch_metric_alarm" "math" {
  alarm_name          = "${var.name}-busy"
  evaluation_periods  = 1
  threshold           = var.changed ? 1 : 0
  comparison_operator = "GreaterThanThreshold"
  metric_query {
    id          = "total"
    expression  = "FILL(m0, 0) + FILL(m1, 0)"
    label       = "runs due or at work"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = ["Backlog", "RunningRuns"]
    content {
      id = "m${metric_query.key}"
      metric {
        namespace   = "Faber"
        metric_name = metric_query.value
        period      = 60
        stat        = "Maximum"
        dimensions  = { Stack = var.name, WorkPool = "pool" }
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "p95" {
  alarm_name                            = "${var.name}-start"
  namespace                             = "Faber"
  metric_name                           = "StartSeconds"
  dimensions                            = { Stack = var.name, WorkPool = "pool" }
  extended_statistic                    = "p95"
  evaluate_low_sample_count_percentiles = "ignore"
  unit                                  = "Seconds"
  period                                = 300
  evaluation_periods                    = 3
  threshold                             = var.changed ? 180 : 120
  comparison_operator                   = "GreaterThanThreshold"
}

resource "aws_cloudwatch_composite_alarm" "this" {
  alarm_name        = "${var.name}-any"
  alarm_description = var.changed ? "Something is wrong" : "Something"
  alarm_rule        = "ALARM(\"${aws_cloudwatch_metric_alarm.plain.alarm_name}\") OR ALARM(\"${aws_cloudwatch_metric_alarm.gone.alarm_name}\")"
  alarm_actions     = [aws_sns_topic.this.arn]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [{
      type       = "metric", x = 0, y = 0, width = var.changed ? 12 : 24, height = 6
      properties = { metrics = [["Faber", "Backlog", "Stack", var.name]], region = data.aws_region.this.name, period = 60, stat = "Maximum", title = "Backlog" }
    }]
  })
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  name           = "${var.name}-errors"
  log_group_name = aws_cloudwatch_log_group.worker.name
  pattern        = var.changed ? "{ $.level = \"ERROR\" || $.level = \"FATAL\" }" : "{ $.level = \"ERROR\" }"
  metric_transformation {
    name          = "Errors"
    namespace     = "Faber"
    value         = "1"
    default_value = "0"
    unit          = "Count"
  }
}

resource "aws_budgets_budget" "this" {
  name         = var.name
  budget_type  = "COST"
  limit_amount = var.changed ? "150" : "100"
  limit_unit   = "USD"
  time_unit    = "MONTHLY"
  cost_filter {
    name   = "TagKeyValue"
    values = ["user:faber:stack$${var.name}"]
  }
  notification {
    comparison_operator        = "GREATER_THAN"
    threshold                  = 80
    threshold_type             = "PERCENTAGE"
    notification_type          = "ACTUAL"
    subscriber_email_addresses = var.changed ? ["a@example.com", "b@example.com"] : ["a@example.com"]
  }
  notification {
    comparison_operator       = "GREATER_THAN"
    threshold                 = var.changed ? 110 : 100
    threshold_type            = "PERCENTAGE"
    notification_type         = "FORECASTED"
    subscriber_sns_topic_arns = [aws_sns_topic.this.arn]
  }
}

resource "aws_ce_cost_allocation_tag" "this" {
  tag_key = "faber:stack"
  status  = var.changed ? "Inactive" : "Active"
}
