# What is watched, whom it tells, and what is left out where it could not work.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name              = "data"
  cluster_name      = "data"
  service_name      = "data-worker"
  work_pool_name    = "ecs-production"
  events_queue_name = "data-task-events"
  events_dlq_name   = "data-task-events-dlq"
}

run "everything" {
  command = apply

  module {
    source = "./modules/observability"
  }

  variables {
    emails      = ["ops@example.com"]
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    runbook_url = "https://example.com/runbooks"
  }

  assert {
    condition     = toset(keys(aws_cloudwatch_metric_alarm.this)) == toset(["worker-gone", "not-polling", "late-runs", "launch-failures", "events-dlq", "events-age", "throttled", "cpu", "memory", "spot-interruptions"])
    error_message = "Ten alarms."
  }
  assert {
    condition     = alltrue([for key, alarm in aws_cloudwatch_metric_alarm.this : endswith(alarm.alarm_description, "https://example.com/runbooks#${key}")])
    error_message = "Each alarm links to what to do."
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.actions_enabled && alarm.alarm_actions == toset([aws_sns_topic.this[0].arn]) && alarm.ok_actions == toset([aws_sns_topic.this[0].arn])])
    error_message = "Each tells the topic, of its end, too."
  }
  assert {
    condition     = { for key, alarm in aws_cloudwatch_metric_alarm.this : key => alarm.treat_missing_data if alarm.treat_missing_data != "notBreaching" } == { worker-gone = "breaching", not-polling = "breaching" }
    error_message = "Silence is a fault where somebody should speak, and nowhere else."
  }
  assert {
    condition     = aws_sns_topic.this[0].kms_master_key_id == "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555" && aws_sns_topic_subscription.email["ops@example.com"].protocol == "email"
    error_message = "The topic is encrypted, and mails."
  }
  assert {
    condition = jsondecode(aws_sns_topic.this[0].policy).Statement == [{
      Sid       = "Alarms"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = "arn:aws:sns:eu-central-1:123456789012:data-alarms"
      Condition = {
        StringEquals = { "aws:SourceAccount" = "123456789012" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:data-*" }
      }
    }]
    error_message = "Only alarms of this stack may publish."
  }
  assert {
    condition     = [for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : try(widget.properties.title, "") if widget.type == "metric"] == ["Flow runs by state", "Backlog", "Launch latency by phase", "Failures and throttles", "Workers: CPU and memory", "Task events"]
    error_message = "The dashboard has a graph for each question."
  }
  assert {
    condition     = length([for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : widget if try(length(widget.properties.alarms), 0) == 10]) == 1
    error_message = "The dashboard shows the alarms."
  }
}

run "without_metrics_of_the_worker" {
  command = plan

  module {
    source = "./modules/observability"
  }

  variables {
    custom_metrics = false
    task_events    = false
  }

  assert {
    condition     = toset(keys(aws_cloudwatch_metric_alarm.this)) == toset(["worker-gone", "cpu", "memory"])
    error_message = "No alarm on a metric that nobody publishes."
  }
  assert {
    condition     = [for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : widget.properties.title if widget.type == "metric"] == ["Workers: CPU and memory"]
    error_message = "No graph of a metric that nobody publishes."
  }
}

run "scale_to_zero" {
  command = plan

  module {
    source = "./modules/observability"
  }

  variables {
    scale_to_zero         = true
    tick_interval_minutes = 5
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.this), "worker-gone") && aws_cloudwatch_metric_alarm.this["not-polling"].evaluation_periods == 15 && aws_cloudwatch_metric_alarm.this["late-runs"].period == 300
    error_message = "No worker is no fault there; nobody who looks at the pool is."
  }
}

run "paused" {
  command = plan

  module {
    source = "./modules/observability"
  }

  variables {
    workers_expected = false
  }

  assert {
    condition     = { for key, alarm in aws_cloudwatch_metric_alarm.this : key => alarm.actions_enabled if !alarm.actions_enabled } == { worker-gone = false, not-polling = false }
    error_message = "Workers that were not asked for are not missed."
  }
}

run "existing_topic" {
  command = plan

  module {
    source = "./modules/observability"
  }

  variables {
    create_topic     = false
    topic_arn        = "arn:aws:sns:eu-central-1:123456789012:mine"
    create_dashboard = false
  }

  assert {
    condition     = length(aws_sns_topic.this) == 0 && length(aws_cloudwatch_dashboard.this) == 0 && output.topic_arn == "arn:aws:sns:eu-central-1:123456789012:mine" && aws_cloudwatch_metric_alarm.this["cpu"].alarm_actions == toset(["arn:aws:sns:eu-central-1:123456789012:mine"])
    error_message = "An existing topic is used as it is."
  }
}

run "no_alarms" {
  command = plan

  module {
    source = "./modules/observability"
  }

  variables {
    create_alarms = false
    emails        = ["ops@example.com"]
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.this) == 0 && length(aws_sns_topic.this) == 0 && length(aws_sns_topic_subscription.email) == 0 && length(aws_cloudwatch_dashboard.this) == 1 && output.topic_arn == null
    error_message = "Without alarms there is nothing to tell."
  }
}
