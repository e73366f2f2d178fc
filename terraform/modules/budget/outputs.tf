output "budget_name" {
  description = "Name of the budget"
  value       = aws_budgets_budget.this.name
}

output "scope" {
  description = "What the budget counts: `stack` (what carries the tag) or `account`"
  value       = var.activate_cost_allocation_tag ? "stack" : "account"
}
