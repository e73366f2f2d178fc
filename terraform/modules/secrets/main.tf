locals {
  # Attributes that were not given leave no key behind: ECS then fails loudly on
  # a missing key instead of handing an empty variable to the worker.
  secret_value = var.prefect_credentials == null ? {} : {
    for key, value in var.prefect_credentials : upper(key) => value if value != null
  }
}

resource "aws_secretsmanager_secret" "this" {
  # checkov:skip=CKV2_AWS_57:no input: Prefect issues the key, and has no call by which a function could change it; the README tells how to exchange it without a stop
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

# Of all who may call GetSecretValue by their own policies, those named here alone
# get the value. It denies that one action and nothing else: who administers the
# account can still describe, fill, rotate and delete the secret, and replace this
# policy, so that nobody is locked out by it. aws:PrincipalArn is the ARN of the
# role, whatever the session is called, which NotPrincipal is not
# (docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
# recommends the former).
resource "aws_secretsmanager_secret_policy" "this" {
  count = var.create_policy ? 1 : 0

  secret_arn          = aws_secretsmanager_secret.this.arn
  block_public_policy = true

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OnlyReaders"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        # BatchGetSecretValue asks for it as well, for each secret that it returns
        # (docs.aws.amazon.com/secretsmanager/latest/apireference/API_BatchGetSecretValue.html).
        Action = "secretsmanager:GetSecretValue"
        # Wildcard: in the policy of a secret it means that secret.
        Resource  = "*"
        Condition = { ArnNotLike = { "aws:PrincipalArn" = sort(distinct(var.reader_arns)) } }
      },
    ]
  })

  lifecycle {
    precondition {
      condition     = length(var.reader_arns) > 0
      error_message = "reader_arns is empty: a policy without readers would keep the secret from ECS as well. Name the execution role, or set create_policy = false."
    }
  }
}
