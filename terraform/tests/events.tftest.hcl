# Task events: from the one cluster, by the one rule, into the one queue.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "events" {
  command = apply

  module {
    source = "./modules/events"
  }

  variables {
    name        = "data"
    cluster_arn = "arn:aws:ecs:eu-central-1:123456789012:cluster/data"
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.task_state.event_pattern) == {
      source      = ["aws.ecs"]
      detail-type = ["ECS Task State Change"]
      detail      = { clusterArn = ["arn:aws:ecs:eu-central-1:123456789012:cluster/data"] }
    }
    error_message = "The rule takes task state changes of the one cluster."
  }
  assert {
    condition = jsondecode(aws_sqs_queue.this.policy).Statement == [{
      Sid       = "TaskStateRule"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:eu-central-1:123456789012:data-task-events"
      Condition = { ArnEquals = { "aws:SourceArn" = "arn:aws:events:eu-central-1:123456789012:rule/data-task-state" } }
    }]
    error_message = "Only the rule may send to the queue."
  }
  assert {
    condition     = aws_sqs_queue.this.visibility_timeout_seconds == 300 && jsondecode(aws_sqs_queue.this.redrive_policy).maxReceiveCount == 3
    error_message = "A message is hidden for 300 s and goes to the dead-letter queue after three tries."
  }
  assert {
    condition     = aws_cloudwatch_event_target.queue.arn == aws_sqs_queue.this.arn
    error_message = "The rule sends to the queue."
  }
}

run "ignored_groups" {
  command = plan

  module {
    source = "./modules/events"
  }

  variables {
    name           = "data"
    cluster_arn    = "arn:aws:ecs:eu-central-1:123456789012:cluster/data"
    ignored_groups = ["family:data-tick"]
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.task_state.event_pattern).detail.group == [{ anything-but = ["family:data-tick"] }, { exists = false }]
    error_message = "Only the events of the given groups are left out."
  }
}
