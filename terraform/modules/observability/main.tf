data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  # Every metric that this module uses, faber's first. Their names are in the
  # binary, too: a test compares the two.
  metrics = {
    backlog            = "Backlog"
    oldest_due_age     = "OldestDueAge"
    backlog_per_worker = "BacklogPerWorker"
    starting           = "StartingRuns"
    running            = "RunningRuns"
    launch_failures    = "LaunchFailures"
    throttles          = "Throttles"
    spot_interruptions = "SpotInterruptions"
    launch_seconds     = "LaunchSeconds"
    start_seconds      = "StartSeconds"
  }
  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html
  ecs_metrics = { cpu = "CPUUtilization", memory = "MemoryUtilization" }
  # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
  sqs_metrics = { visible = "ApproximateNumberOfMessagesVisible", age = "ApproximateAgeOfOldestMessage" }

  dimensions         = { Stack = var.name, WorkPool = var.work_pool_name }
  service_dimensions = { ClusterName = var.cluster_name, ServiceName = var.service_name }

  region    = data.aws_region.current.id
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  alarm_arn = "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm"
}

################################################################################
# Alarms
################################################################################

locals {
  # Minutes between two datapoints of the pool while no worker runs.
  interval = var.scale_to_zero ? var.tick_interval_minutes : 1

  worker_alarms = {
    # ECS sends one CPU sample for each running task a minute; without a task
    # there is no datapoint, which is what this waits for. With scale_to_zero that
    # is the normal state: runs that nobody comes for are late there.
    worker-gone = {
      wanted    = !var.scale_to_zero, actions = var.workers_expected
      text      = "No task of the worker's service has run for 5 minutes"
      namespace = "AWS/ECS", metric = local.ecs_metrics.cpu, dimensions = local.service_dimensions, statistic = "SampleCount"
      below     = 1, period = 60, datapoints = 5, missing = "breaching"
    }
    cpu = {
      wanted    = true, actions = true
      text      = "The workers' CPU has been above ${var.thresholds.cpu_percent} % for 15 minutes"
      namespace = "AWS/ECS", metric = local.ecs_metrics.cpu, dimensions = local.service_dimensions, statistic = "Average"
      above     = var.thresholds.cpu_percent, period = 300, datapoints = 3, missing = "notBreaching"
    }
    memory = {
      wanted    = true, actions = true
      text      = "The workers' memory has been above ${var.thresholds.memory_percent} % for 5 minutes"
      namespace = "AWS/ECS", metric = local.ecs_metrics.memory, dimensions = local.service_dimensions, statistic = "Maximum"
      above     = var.thresholds.memory_percent, period = 60, datapoints = 5, missing = "notBreaching"
    }
  }

  pool_alarms = {
    # Published after each round of polling that went well, and by the tick: no
    # datapoint, no poll. It holds with scale_to_zero, too.
    not-polling = {
      wanted    = true, actions = var.workers_expected
      text      = "Nobody has read the work pool for ${max(10, 3 * local.interval)} minutes"
      namespace = var.metrics_namespace, metric = local.metrics.backlog, dimensions = local.dimensions, statistic = "SampleCount"
      below     = 1, period = 60, datapoints = max(10, 3 * local.interval), missing = "breaching"
    }
    # Nobody who reads the pool, no datapoint: then the alarm above speaks.
    late-runs = {
      wanted    = true, actions = true
      text      = "A flow run has waited longer than ${var.thresholds.late_seconds} seconds for a worker"
      namespace = var.metrics_namespace, metric = local.metrics.oldest_due_age, dimensions = local.dimensions, statistic = "Maximum"
      above     = var.thresholds.late_seconds, period = 60 * local.interval, datapoints = 3, missing = "notBreaching"
    }
    launch-failures = {
      wanted    = true, actions = true
      text      = "More than ${var.thresholds.launch_failures} launches failed within 5 minutes"
      namespace = var.metrics_namespace, metric = local.metrics.launch_failures, dimensions = local.dimensions, statistic = "Sum"
      above     = var.thresholds.launch_failures, period = 300, datapoints = 1, missing = "notBreaching"
    }
    # Some refusals belong to a burst, and the worker waits: these do not end.
    throttled = {
      wanted    = true, actions = true
      text      = "AWS has refused more than ${var.thresholds.throttles} calls for their rate in each 5 of 15 minutes"
      namespace = var.metrics_namespace, metric = local.metrics.throttles, dimensions = local.dimensions, statistic = "Sum"
      above     = var.thresholds.throttles, period = 300, datapoints = 3, missing = "notBreaching"
    }
    spot-interruptions = {
      wanted    = true, actions = true
      text      = "AWS has taken back more than ${var.thresholds.spot_interruptions} Spot tasks within an hour"
      namespace = var.metrics_namespace, metric = local.metrics.spot_interruptions, dimensions = local.dimensions, statistic = "Sum"
      above     = var.thresholds.spot_interruptions, period = 3600, datapoints = 1, missing = "notBreaching"
    }
  }

  queue_alarms = {
    events-dlq = {
      wanted    = true, actions = true
      text      = "Task events that no worker could handle lie in the dead-letter queue"
      namespace = "AWS/SQS", metric = local.sqs_metrics.visible, dimensions = { QueueName = coalesce(var.events_dlq_name, "-") }, statistic = "Maximum"
      above     = 0, period = 300, datapoints = 1, missing = "notBreaching"
    }
    # With scale_to_zero, too: the rule leaves out the tick's and the workers' own
    # events, and no worker is stopped while flow runs send others.
    events-age = {
      wanted    = true, actions = true
      text      = "A task event has waited longer than ${var.thresholds.event_age_seconds} seconds"
      namespace = "AWS/SQS", metric = local.sqs_metrics.age, dimensions = { QueueName = coalesce(var.events_queue_name, "-") }, statistic = "Maximum"
      above     = var.thresholds.event_age_seconds, period = 60, datapoints = 3, missing = "notBreaching"
    }
  }

  alarms = { for key, alarm in merge(
    local.worker_alarms,
    { for key, alarm in local.pool_alarms : key => alarm if var.custom_metrics },
    { for key, alarm in local.queue_alarms : key => alarm if var.task_events },
  ) : key => alarm if var.create_alarms && alarm.wanted }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = "${each.value.text}. What to do: ${var.runbook_url}#${each.key}"

  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.datapoints
  datapoints_to_alarm = each.value.datapoints
  comparison_operator = try(each.value.below, null) != null ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = try(each.value.below, each.value.above)
  treat_missing_data  = each.value.missing

  # Workers that were not asked for are not missed.
  actions_enabled = each.value.actions
  alarm_actions   = [local.topic_arn]
  ok_actions      = [local.topic_arn]

  tags = var.tags
}

################################################################################
# Topic
################################################################################

locals {
  create_topic = var.create_alarms && var.create_topic
  topic_name   = "${var.name}-alarms"
  topic_arn    = local.create_topic ? aws_sns_topic.this[0].arn : var.topic_arn

  topic_policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = "arn:${local.partition}:sns:${local.region}:${local.account}:${local.topic_name}"
        Condition = {
          StringEquals = { "aws:SourceAccount" = local.account }
          # Wildcard: all alarms of this stack, and no others.
          ArnLike = { "aws:SourceArn" = "${local.alarm_arn}:${var.name}-*" }
        }
      },
    ]
  }
}

# Encrypted with a key of yours only: alarms cannot use the key that AWS manages
# for SNS, since its policy cannot be opened to CloudWatch.
# https://repost.aws/knowledge-center/cloudwatch-configure-alarm-sns
resource "aws_sns_topic" "this" {
  count = local.create_topic ? 1 : 0

  name              = local.topic_name
  kms_master_key_id = var.kms_key_arn
  policy            = jsonencode(local.topic_policy)

  tags = var.tags
}

# Each address gets a mail with a link, and nothing more until it was clicked.
resource "aws_sns_topic_subscription" "email" {
  for_each = local.create_topic ? var.emails : toset([])

  topic_arn = aws_sns_topic.this[0].arn
  protocol  = "email"
  endpoint  = each.value
}

################################################################################
# Dashboard
################################################################################

locals {
  pool_dimensions = ["Stack", var.name, "WorkPool", var.work_pool_name]
  ecs_dimensions  = ["ClusterName", var.cluster_name, "ServiceName", var.service_name]

  pool_graphs = [
    {
      title = "Flow runs by state"
      lines = [
        [local.metrics.backlog, { label = "due", stat = "Maximum" }],
        [local.metrics.starting, { label = "starting", stat = "Maximum" }],
        [local.metrics.running, { label = "running", stat = "Maximum" }],
      ]
      unit = "flow runs"
    },
    {
      title = "Backlog"
      lines = [
        [local.metrics.backlog_per_worker, { label = "due for each worker", stat = "Average" }],
        [local.metrics.oldest_due_age, { label = "age of the oldest (s)", stat = "Maximum", yAxis = "right" }],
      ]
      unit = "flow runs"
    },
    {
      title = "Launch latency by phase"
      lines = [
        [local.metrics.launch_seconds, { label = "due to task, p50", stat = "p50" }],
        [local.metrics.launch_seconds, { label = "due to task, p95", stat = "p95" }],
        [local.metrics.start_seconds, { label = "task to Running, p50", stat = "p50" }],
        [local.metrics.start_seconds, { label = "task to Running, p95", stat = "p95" }],
      ]
      unit = "seconds"
    },
    {
      title = "Failures and throttles"
      lines = [
        [local.metrics.launch_failures, { label = "launch failures", stat = "Sum" }],
        [local.metrics.throttles, { label = "calls refused by AWS", stat = "Sum" }],
        [local.metrics.spot_interruptions, { label = "Spot interruptions", stat = "Sum" }],
      ]
      unit = "a minute"
    },
  ]

  graphs = concat(
    [for graph in local.pool_graphs : merge(graph, {
      metrics = [for line in graph.lines : concat([var.metrics_namespace, line[0]], local.pool_dimensions, [line[1]])]
    }) if var.custom_metrics],
    [
      {
        title = "Workers: CPU and memory"
        unit  = "percent"
        metrics = [
          concat(["AWS/ECS", local.ecs_metrics.cpu], local.ecs_dimensions, [{ label = "CPU", stat = "Average" }]),
          concat(["AWS/ECS", local.ecs_metrics.memory], local.ecs_dimensions, [{ label = "memory", stat = "Average" }]),
          concat(["AWS/ECS", local.ecs_metrics.cpu], local.ecs_dimensions, [{ label = "running tasks", stat = "SampleCount", yAxis = "right" }]),
        ]
      },
    ],
    [for graph in [
      {
        title = "Task events"
        unit  = "messages"
        metrics = [
          ["AWS/SQS", local.sqs_metrics.visible, "QueueName", var.events_queue_name, { label = "waiting", stat = "Maximum" }],
          ["AWS/SQS", local.sqs_metrics.visible, "QueueName", var.events_dlq_name, { label = "in the dead-letter queue", stat = "Maximum" }],
          ["AWS/SQS", local.sqs_metrics.age, "QueueName", var.events_queue_name, { label = "age of the oldest (s)", stat = "Maximum", yAxis = "right" }],
        ]
      },
    ] : graph if var.task_events],
  )

  graph_widgets = [for i, graph in local.graphs : {
    type   = "metric"
    x      = i % 2 * 12
    y      = 3 + floor(i / 2) * 6
    width  = 12
    height = 6
    properties = {
      title   = graph.title
      region  = local.region
      view    = "timeSeries"
      period  = 60
      metrics = graph.metrics
      yAxis   = { left = { min = 0, label = graph.unit, showUnits = false }, right = { min = 0, showUnits = false } }
    }
  }]

  head_widgets = concat(
    [{
      type       = "text"
      x          = 0
      y          = 0
      width      = var.create_alarms ? 8 : 24
      height     = 3
      properties = { markdown = "# ${var.name}\nWork pool `${var.work_pool_name}` · [runbooks](${var.runbook_url})" }
    }],
    [for widget in [{
      type       = "alarm"
      x          = 8
      y          = 0
      width      = 16
      height     = 3
      properties = { title = "Alarms", alarms = [for key in keys(local.alarms) : "${local.alarm_arn}:${var.name}-${key}"] }
    }] : widget if var.create_alarms],
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  count = var.create_dashboard ? 1 : 0

  dashboard_name = var.name
  dashboard_body = jsonencode({ widgets = concat(local.head_widgets, local.graph_widgets) })
}
