# Every metric that an alarm, a policy or a graph looks at is one that somebody
# publishes: by that name, in that namespace, with those dimensions and no others,
# by a statistic that means something. Anything else would be silent for ever.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name              = "data"
  cluster_name      = "data"
  cluster_arn       = "arn:aws:ecs:eu-central-1:123456789012:cluster/data"
  service_name      = "data-worker"
  work_pool_name    = "ecs-production"
  metrics_namespace = "Team/Faber"
}

run "known" {
  module {
    source = "./tests/metrics"
  }
}

run "alarms_and_dashboard" {
  command = apply

  module {
    source = "./modules/observability"
  }

  variables {
    events_queue_name = "data-task-events"
    events_dlq_name   = "data-task-events-dlq"
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.this) >= 10
    error_message = "There are alarms to look at."
  }
  assert {
    condition = [for key, alarm in aws_cloudwatch_metric_alarm.this : key if !try(
      contains(run.known.known[alarm.namespace].statistics[alarm.metric_name], alarm.statistic)
      && run.known.known[alarm.namespace].dimensions == jsonencode(sort(keys(alarm.dimensions))),
      false
    )] == []
    error_message = "Each alarm watches a metric that is published, by a statistic of it."
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.dimensions == tomap({ Stack = "data", WorkPool = "ecs-production" }) if alarm.namespace == "Team/Faber"])
    error_message = "The worker's metrics are found under the stack's and the pool's names."
  }
  assert {
    condition     = length(flatten([for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : [for line in widget.properties.metrics : line] if widget.type == "metric"])) > 0
    error_message = "There are graphs to look at."
  }
  # A line of a graph: namespace, metric, dimensions by turns, then how it is drawn.
  assert {
    condition = flatten([for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : [
      for line in widget.properties.metrics : "${line[0]} ${line[1]}" if !try(
        contains(run.known.known[line[0]].statistics[line[1]], line[length(line) - 1].stat)
        && run.known.known[line[0]].dimensions == jsonencode(sort([for i in range(2, length(line) - 1, 2) : line[i]])),
        false
      )
    ] if widget.type == "metric"]) == []
    error_message = "Each line of a graph shows a metric that is published, by a statistic of it."
  }
  assert {
    condition = length(setsubtract(keys(run.known.known["Team/Faber"].statistics), flatten([
      for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : [for line in widget.properties.metrics : line[1]] if widget.type == "metric"
    ]))) == 0
    error_message = "Each metric of the worker's is drawn: nobody pays for one that nobody sees."
  }
}

run "target_tracking" {
  command = apply

  module {
    source = "./modules/autoscaling"
  }

  assert {
    condition = alltrue([for policy in aws_appautoscaling_policy.utilization :
      contains(run.known.predefined, policy.target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type)
    ]) && length(aws_appautoscaling_policy.utilization) == 2
    error_message = "CPU and memory are predefined metrics."
  }
  assert {
    condition = alltrue([for policy in aws_appautoscaling_policy.backlog : alltrue([for metric in policy.target_tracking_scaling_policy_configuration[0].customized_metric_specification :
      contains(run.known.known[metric.namespace].statistics[metric.metric_name], metric.statistic)
      && run.known.known[metric.namespace].dimensions == jsonencode(sort([for dimension in metric.dimensions : dimension.name]))
    ])]) && length(aws_appautoscaling_policy.backlog) == 1
    error_message = "The tracked backlog is a metric that is published."
  }
}

run "scale_to_zero" {
  command = apply

  module {
    source = "./modules/autoscaling"
  }

  variables {
    scale_to_zero            = true
    tick_task_definition_arn = "arn:aws:ecs:eu-central-1:123456789012:task-definition/data-tick:1"
    scheduler_role_arn       = "arn:aws:iam::123456789012:role/scheduler"
    subnet_ids               = ["subnet-0123456789abcdef0"]
    security_group_ids       = ["sg-0123456789abcdef0"]
  }

  assert {
    condition = flatten([for alarm in concat(aws_cloudwatch_metric_alarm.work, aws_cloudwatch_metric_alarm.idle) : [
      for query in alarm.metric_query : [for metric in query.metric : metric.metric_name if !try(
        contains(run.known.known[metric.namespace].statistics[metric.metric_name], metric.stat)
        && run.known.known[metric.namespace].dimensions == jsonencode(sort(keys(metric.dimensions))),
        false
      )]
    ]]) == []
    error_message = "What wakes and stops the workers are metrics that are published."
  }
  assert {
    condition     = length(flatten([for alarm in concat(aws_cloudwatch_metric_alarm.work, aws_cloudwatch_metric_alarm.idle) : [for query in alarm.metric_query : query.metric]])) == 6
    error_message = "There are metrics to look at."
  }
}
