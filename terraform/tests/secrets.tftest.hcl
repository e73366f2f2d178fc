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

run "readers_only" {
  command = plan

  module {
    source = "./modules/secrets"
  }

  variables {
    create_policy = true
    reader_arns   = ["arn:aws:iam::123456789012:role/data-worker", "arn:aws:iam::123456789012:role/data-execution"]
  }

  assert {
    condition = jsondecode(aws_secretsmanager_secret_policy.this[0].policy).Statement == [{
      Sid       = "OnlyReaders"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = "secretsmanager:GetSecretValue"
      Resource  = "*"
      Condition = { ArnNotLike = { "aws:PrincipalArn" = ["arn:aws:iam::123456789012:role/data-execution", "arn:aws:iam::123456789012:role/data-worker"] } }
    }]
    error_message = "One statement, which denies reading the value to all but the readers and leaves every other action to who administers the account."
  }
}

run "a_policy_without_readers_is_refused" {
  command = plan

  module {
    source = "./modules/secrets"
  }

  variables {
    create_policy = true
  }

  expect_failures = [aws_secretsmanager_secret_policy.this]
}

run "root_names_its_roles" {
  command = apply

  variables {
    work_pool_name = "fargate"
    image          = "faber:test"

    prefect_credentials = { prefect_api_key = "pnu_canary" } # unused; an apply wants it set

    create_task_exec_iam_role = false
    task_exec_iam_role_arn    = "arn:aws:iam::123456789012:role/mine-execution"
    create_tasks_iam_role     = false
    tasks_iam_role_arn        = "arn:aws:iam::123456789012:role/mine-worker"
    secret_reader_arns        = ["arn:aws:iam::123456789012:role/platform-*"]
  }

  assert {
    condition = toset(jsondecode(module.secrets[0].policy).Statement[0].Condition.ArnNotLike["aws:PrincipalArn"]) == toset([
      "arn:aws:iam::123456789012:role/mine-execution", "arn:aws:iam::123456789012:role/mine-worker", "arn:aws:iam::123456789012:role/platform-*",
    ])
    error_message = "Execution role, worker role and those that were named read the secret, and nobody else."
  }
}

# Who writes the value through Terraform reads it back at each refresh, and would
# be kept out by a policy that does not name them.
run "no_policy_that_keeps_terraform_out" {
  command = plan

  variables {
    work_pool_name      = "fargate"
    image               = "faber:test"
    manage_secret_value = true
    prefect_credentials = { prefect_api_key = "pnu_canary" }
    secret_reader_arns  = []
  }

  expect_failures = [var.secret_reader_arns]
}

run "no_policy_unless_asked" {
  command = plan

  variables {
    work_pool_name = "fargate"
    image          = "faber:test"
  }

  assert {
    condition     = module.secrets[0].policy == null
    error_message = "Without secret_reader_arns IAM decides, as for any secret."
  }
}

run "readers_that_are_no_principals" {
  command = plan

  variables {
    work_pool_name     = "fargate"
    image              = "faber:test"
    secret_reader_arns = ["arn:aws:sts::123456789012:assumed-role/platform/somebody"]
  }

  expect_failures = [var.secret_reader_arns]
}
