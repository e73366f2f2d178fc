# The roles: who may take them, and what for. The documents are built without the
# policy data source, so what is looked at here is what AWS would get.

mock_provider "aws" {
  source = "./tests/mocks"

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/made" }
  }
}

variables {
  name                   = "data"
  cluster_arn            = "arn:aws:ecs:eu-central-1:123456789012:cluster/data"
  cluster_name           = "data"
  task_families          = ["prefect_ecs-production_*"]
  secret_arn             = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-AbCdEf"
  worker_log_group_arn   = "arn:aws:logs:eu-central-1:123456789012:log-group:/faber/data/worker"
  flow_run_log_group_arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/faber/data/flow-runs"
  events_queue_arn       = "arn:aws:sqs:eu-central-1:123456789012:data-task-events"
}

run "trust" {
  command = apply

  module {
    source = "./modules/iam"
  }

  assert {
    condition = alltrue([for role in [aws_iam_role.execution[0], aws_iam_role.worker[0], aws_iam_role.flow_run[0]] : jsondecode(role.assume_role_policy) == {
      Version = "2012-10-17"
      Statement = [{
        Sid       = "EcsTasks"
        Effect    = "Allow"
        Principal = { Service = "ecs-tasks.amazonaws.com" }
        Action    = "sts:AssumeRole"
        Condition = {
          StringEquals = { "aws:SourceAccount" = "123456789012" }
          ArnLike      = { "aws:SourceArn" = "arn:aws:ecs:eu-central-1:123456789012:*" }
        }
      }]
    }])
    error_message = "Each role is for ECS tasks of this account and region alone."
  }
  assert {
    condition     = aws_iam_role.execution[0].permissions_boundary == null && length(aws_iam_role_policy.flow_run) == 0 && length(aws_iam_role_policy_attachment.flow_run) == 0
    error_message = "Flow runs have no rights but those given, and there is no boundary but the one given."
  }
}

run "execution" {
  command = apply

  module {
    source = "./modules/iam"
  }

  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.execution[0].policy).Statement : s.Resource if contains(flatten([s.Action]), "secretsmanager:GetSecretValue")] == ["arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-AbCdEf"]
    error_message = "The execution role reads exactly the one secret."
  }
  assert {
    condition     = toset(flatten([for s in jsondecode(aws_iam_role_policy.execution[0].policy).Statement : s.Action])) == toset(["ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "logs:CreateLogStream", "logs:PutLogEvents", "secretsmanager:GetSecretValue"])
    error_message = "The execution role logs in to ECR, pulls, writes logs and reads the secret; nothing else."
  }
  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.execution[0].policy).Statement : s.Sid if s.Resource == "*"] == ["EcrLogin"]
    error_message = "Only the login to ECR, which knows no resources, is for everything."
  }
}

run "execution_narrowed" {
  command = apply

  module {
    source = "./modules/iam"
  }

  variables {
    secret_arn           = null
    ecr_repository_arns  = ["arn:aws:ecr:eu-central-1:123456789012:repository/flows"]
    permissions_boundary = "arn:aws:iam::123456789012:policy/boundary"
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.execution[0].policy, "secretsmanager")
    error_message = "Without a secret nothing may be read."
  }
  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.execution[0].policy).Statement : s.Resource if s.Sid == "EcrPull"] == [["arn:aws:ecr:eu-central-1:123456789012:repository/flows"]]
    error_message = "Given repositories are the only ones."
  }
  assert {
    condition     = alltrue([for role in [aws_iam_role.execution[0], aws_iam_role.worker[0], aws_iam_role.flow_run[0]] : role.permissions_boundary == "arn:aws:iam::123456789012:policy/boundary"])
    error_message = "The boundary bounds every role."
  }
}

run "worker" {
  command = apply

  module {
    source = "./modules/iam"
  }

  variables {
    create_execution_role     = false
    execution_role_arn        = "arn:aws:iam::123456789012:role/my-execution"
    create_flow_run_role      = false
    flow_run_role_arn         = "arn:aws:iam::123456789012:role/my-flows"
    additional_pass_role_arns = ["arn:aws:iam::123456789012:role/other-flows"]
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : s if s.Sid == "RunTasks"] == [{
      Sid       = "RunTasks"
      Effect    = "Allow"
      Action    = "ecs:RunTask"
      Resource  = ["arn:aws:ecs:eu-central-1:123456789012:task-definition/prefect_ecs-production_*:*"]
      Condition = { ArnEquals = { "ecs:cluster" = "arn:aws:ecs:eu-central-1:123456789012:cluster/data" } }
    }]
    error_message = "Tasks are run in the one cluster, from the families of the pool."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : s if s.Sid == "PassRoles"] == [{
      Sid       = "PassRoles"
      Effect    = "Allow"
      Action    = "iam:PassRole"
      Resource  = ["arn:aws:iam::123456789012:role/my-execution", "arn:aws:iam::123456789012:role/my-flows", "arn:aws:iam::123456789012:role/other-flows"]
      Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
    }]
    error_message = "The listed roles are passed, to ECS tasks only."
  }
  assert {
    condition     = alltrue([for s in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : s.Condition.ArnEquals["ecs:cluster"] == "arn:aws:ecs:eu-central-1:123456789012:cluster/data" if contains(["RunTasks", "WatchAndStopTasks", "ListTasks"], s.Sid)])
    error_message = "Every call about tasks is bound to the cluster."
  }
  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : s.Condition if s.Sid == "TagOnCreate"] == [{ StringEquals = { "ecs:CreateAction" = ["RunTask", "RegisterTaskDefinition"] } }]
    error_message = "Tags are set only while something is made."
  }
  assert {
    condition     = toset([for s in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : s.Sid if s.Resource == "*"]) == toset(["ListTasks", "TaskDefinitions", "CheckNetwork"])
    error_message = "Only actions that know no resource of use here are for everything."
  }
  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : s.Resource if strcontains(jsonencode(s.Action), "sqs:")] == ["arn:aws:sqs:eu-central-1:123456789012:data-task-events"]
    error_message = "The worker reads the one queue."
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.worker[0].policy, "secretsmanager:")
    error_message = "The worker itself reads no secret: ECS does, with the execution role."
  }
  assert {
    condition     = !anytrue([for s in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : strcontains(jsonencode(s.Action), "*")])
    error_message = "No action is a wildcard."
  }
}

run "worker_without_queue" {
  command = apply

  module {
    source = "./modules/iam"
  }

  variables {
    events_queue_arn = null
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.worker[0].policy, "sqs:")
    error_message = "Without a queue there is none to read."
  }
}

run "flow_runs" {
  command = apply

  module {
    source = "./modules/iam"
  }

  variables {
    flow_run_iam_statements = [
      { sid = "Data", actions = ["s3:GetObject"], resources = ["arn:aws:s3:::data/*"] },
      { effect = "Deny", actions = ["s3:*"], resources = ["*"], condition = { Bool = { "aws:SecureTransport" = ["false"] } } },
    ]
    flow_run_policy_arns = { athena = "arn:aws:iam::aws:policy/AmazonAthenaFullAccess" }
  }

  assert {
    condition = jsondecode(aws_iam_role_policy.flow_run[0].policy).Statement == [
      { Sid = "Data", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["arn:aws:s3:::data/*"] },
      { Effect = "Deny", Action = ["s3:*"], Resource = ["*"], Condition = { Bool = { "aws:SecureTransport" = ["false"] } } },
    ]
    error_message = "Flow runs may do what was given, word for word."
  }
  assert {
    condition     = keys(aws_iam_role_policy_attachment.flow_run) == ["athena"]
    error_message = "Given managed policies are attached."
  }
}
