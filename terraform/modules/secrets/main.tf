locals {
  # Attributes that were not given leave no key behind: ECS then fails loudly on
  # a missing key instead of handing an empty variable to the worker.
  secret_value = var.prefect_credentials == null ? {} : {
    for key, value in var.prefect_credentials : upper(key) => value if value != null
  }
}

resource "aws_secretsmanager_secret" "this" {
  name                    = var.name
  name_prefix             = var.name == null ? var.name_prefix : null
  description             = "Prefect credentials as JSON: PREFECT_API_KEY, PREFECT_ACCOUNT_ID, PREFECT_WORKSPACE_ID"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.recovery_window_in_days

  tags = var.tags
}

# Nothing here reads the value back: a data source would put it into the state.
resource "aws_secretsmanager_secret_version" "this" {
  count = var.manage_value ? 1 : 0

  secret_id                = aws_secretsmanager_secret.this.id
  secret_string_wo         = jsonencode(local.secret_value)
  secret_string_wo_version = var.prefect_credentials_version

  lifecycle {
    precondition {
      condition     = length(local.secret_value) > 0
      error_message = "prefect_credentials is needed at every plan and apply while the value of the secret is managed (manage_secret_value = true): Terraform keeps no copy of it."
    }
  }
}
