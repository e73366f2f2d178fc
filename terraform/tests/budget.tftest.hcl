# The budget: for the stack once its tag counts, for the account until then.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name           = "data"
  work_pool_name = "ecs-production"
  image          = "faber:1.0.0"
}

run "account" {
  command = apply

  module {
    source = "./modules/budget"
  }

  variables {
    limit_usd = 100
    tag_value = "data"
    emails    = ["team@example.com"]
  }

  assert {
    condition     = length(aws_budgets_budget.this.cost_filter) == 0 && length(aws_ce_cost_allocation_tag.stack) == 0 && output.scope == "account"
    error_message = "A tag that is not active matches nothing: no filter, or the budget would stay at zero."
  }
  assert {
    condition     = toset([for notification in aws_budgets_budget.this.notification : "${notification.notification_type} ${notification.threshold} ${notification.threshold_type}"]) == toset(["ACTUAL 80 PERCENTAGE", "ACTUAL 100 PERCENTAGE", "FORECASTED 100 PERCENTAGE"])
    error_message = "Warnings come at what was spent and at what will be."
  }
  assert {
    condition     = alltrue([for notification in aws_budgets_budget.this.notification : notification.subscriber_email_addresses == toset(["team@example.com"])])
    error_message = "All warnings reach the team."
  }
}

run "stack" {
  command = apply

  module {
    source = "./modules/budget"
  }

  variables {
    limit_usd                    = 100
    tag_value                    = "data"
    sns_topic_arns               = ["arn:aws:sns:eu-central-1:123456789012:costs"]
    activate_cost_allocation_tag = true
  }

  assert {
    condition     = [for filter in aws_budgets_budget.this.cost_filter : "${filter.name} ${join(",", filter.values)}"] == ["TagKeyValue user:faber:stack$data"]
    error_message = "The budget counts what carries the stack's tag."
  }
  assert {
    condition     = aws_ce_cost_allocation_tag.stack[0].tag_key == "faber:stack" && aws_ce_cost_allocation_tag.stack[0].status == "Active" && output.scope == "stack"
    error_message = "The tag is activated."
  }
}

run "nobody_to_warn" {
  command = plan

  module {
    source = "./modules/budget"
  }

  variables {
    limit_usd = 100
    tag_value = "data"
  }

  expect_failures = [aws_budgets_budget.this]
}

run "none" {
  command = plan

  assert {
    condition     = output.budget_scope == null
    error_message = "No budget is made that was not asked for."
  }
}

run "whole" {
  command = plan

  variables {
    budget_limit_usd = 100
    budget_emails    = ["team@example.com"]
  }

  assert {
    condition     = output.budget_scope == "account"
    error_message = "The budget counts the account until the tag is activated."
  }
}

run "refused" {
  command = plan

  variables {
    budget_limit_usd           = 0
    budget_topic_arn           = "costs"
    budget_forecast_thresholds = [50, 80, 100, 120]
  }

  expect_failures = [var.budget_limit_usd, var.budget_topic_arn, var.budget_forecast_thresholds]
}

run "refused_without_anybody" {
  command = plan

  variables {
    budget_limit_usd = 100
  }

  expect_failures = [var.budget_emails]
}

run "refused_address" {
  command = plan

  variables {
    budget_emails = ["team"]
  }

  expect_failures = [var.budget_emails]
}
