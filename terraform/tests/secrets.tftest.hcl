# The secret: made without a value unless asked, and a value that is stored nowhere.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "empty" {
  command = plan

  module {
    source = "./modules/secrets"
  }

  assert {
    condition     = length(aws_secretsmanager_secret_version.this) == 0
    error_message = "Nobody asked for a value."
  }
}

run "written_and_not_kept" {
  command = apply

  module {
    source = "./modules/secrets"
  }

  variables {
    manage_value                = true
    prefect_credentials_version = 7
    prefect_credentials = {
      prefect_api_key      = "pnu_canary"
      prefect_account_id   = "00000000-0000-0000-0000-000000000001"
      prefect_workspace_id = "00000000-0000-0000-0000-000000000002"
    }
  }

  assert {
    condition     = aws_secretsmanager_secret_version.this[0].secret_string_wo == null && aws_secretsmanager_secret_version.this[0].secret_string_wo_version == 7
    error_message = "The value goes through the write-only argument, of which the state keeps the version alone."
  }
  assert {
    condition     = !strcontains(jsonencode(aws_secretsmanager_secret_version.this[0]), "canary")
    error_message = "No attribute holds the value."
  }
}

run "managed_without_credentials" {
  command = plan

  module {
    source = "./modules/secrets"
  }

  variables {
    manage_value = true
  }

  expect_failures = [aws_secretsmanager_secret_version.this]
}

run "named" {
  command = plan

  module {
    source = "./modules/secrets"
  }

  variables {
    name                    = "prefect/production"
    recovery_window_in_days = 0
    kms_key_arn             = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000003"
  }

  assert {
    condition     = aws_secretsmanager_secret.this.name == "prefect/production" && aws_secretsmanager_secret.this.recovery_window_in_days == 0 && endswith(aws_secretsmanager_secret.this.kms_key_id, "3")
    error_message = "Name, recovery window and key are the given ones."
  }
}
