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
    condition     = [for s in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : s.Resource if strcontains(jsonencode(s.Action), "secretsmanager:")] == ["arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-AbCdEf"]
    error_message = "The worker reads the one secret again, and no other."
  }
  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : s.Resource if s.Sid == "RegisterTaskDefinitions"] == [["arn:aws:ecs:eu-central-1:123456789012:task-definition/prefect_ecs-production_*", "arn:aws:ecs:eu-central-1:123456789012:task-definition/prefect_ecs-production_*:*"]]
    error_message = "Definitions are registered in the families of the pool only."
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.worker[0].policy, "kms:") && !strcontains(aws_iam_role_policy.worker[0].policy, "cloudwatch:") && !strcontains(aws_iam_role_policy.worker[0].policy, "ssmmessages:")
    error_message = "Without a key, with metrics in log lines and without ECS Exec, the worker has no right to any of them."
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

run "worker_with_everything" {
  command = apply

  module {
    source = "./modules/iam"
  }

  variables {
    kms_key_arn            = "arn:aws:kms:eu-central-1:123456789012:key/stack"
    secret_kms_key_arn     = "arn:aws:kms:eu-central-1:123456789012:key/secret"
    metrics_transport      = "put_metric_data"
    metrics_namespace      = "Ours"
    enable_execute_command = true
  }

  assert {
    condition = { for s in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : s.Sid => [s.Resource, s.Condition] if contains(["TaskEventsKey", "PrefectCredentialsKey", "Metrics"], s.Sid) } == {
      TaskEventsKey         = ["arn:aws:kms:eu-central-1:123456789012:key/stack", { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = "arn:aws:sqs:eu-central-1:123456789012:data-task-events" } }]
      PrefectCredentialsKey = ["arn:aws:kms:eu-central-1:123456789012:key/secret", { StringEquals = { "kms:EncryptionContext:SecretARN" = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:data-AbCdEf" } }]
      Metrics               = ["*", { StringEquals = { "cloudwatch:namespace" = "Ours" } }]
    }
    error_message = "Keys are used for the one queue and the one secret, and metrics go to the one namespace."
  }
  assert {
    condition     = one([for s in jsondecode(aws_iam_role_policy.worker[0].policy).Statement : toset(s.Action) if s.Sid == "ExecuteCommand"]) == toset(["ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"])
    error_message = "ECS Exec needs its four channels."
  }
}

run "worker_that_reads_no_secret" {
  command = apply

  module {
    source = "./modules/iam"
  }

  variables {
    worker_reads_secret = false
    secret_kms_key_arn  = "arn:aws:kms:eu-central-1:123456789012:key/secret"
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.worker[0].policy, "secretsmanager:") && !strcontains(aws_iam_role_policy.worker[0].policy, "kms:") && strcontains(aws_iam_role_policy.execution[0].policy, "kms:Decrypt")
    error_message = "The secret is then ECS's alone to read."
  }
}

run "no_role_that_nobody_takes" {
  command = plan

  module {
    source = "./modules/iam"
  }

  assert {
    condition     = output.tick_role_arn == null && output.scheduler_role_arn == null && output.flow_logs_role_arn == null && output.codepipeline_role_arn == null && output.codebuild_plan_role_arn == null && output.codebuild_apply_role_arn == null && output.event_trigger_role_arn == null
    error_message = "Each of the other roles is made on demand."
  }
}

run "every_role" {
  command = apply

  module {
    source = "./modules/iam"
  }

  variables {
    create_tick_role            = true
    create_scheduler_role       = true
    create_flow_logs_role       = true
    create_codepipeline_role    = true
    create_codebuild_plan_role  = true
    create_codebuild_apply_role = true
    create_event_trigger_role   = true

    flow_logs_log_group_arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/faber/data/vpc-flow-logs"
    artifact_bucket_arn     = "arn:aws:s3:::data-pipeline-x"
    state_bucket_arn        = "arn:aws:s3:::states"
    state_key               = "data/terraform.tfstate"
    kms_key_arn             = "arn:aws:kms:eu-central-1:123456789012:key/stack"
    approval_topic_arn      = "arn:aws:sns:eu-central-1:123456789012:data-alarms"
    connection_arn          = "arn:aws:codeconnections:eu-central-1:123456789012:connection/c"
  }

  # The confused deputy: each service may take its role for this account, and for the one thing that has it.
  assert {
    condition = { for role in concat(aws_iam_role.scheduler, aws_iam_role.flow_logs, aws_iam_role.codepipeline, aws_iam_role.codebuild_plan, aws_iam_role.codebuild_apply, aws_iam_role.event_trigger) :
      jsondecode(role.assume_role_policy).Statement[0].Sid => [for s in jsondecode(role.assume_role_policy).Statement : [s.Principal.Service, s.Condition]]
      } == {
      Scheduler  = [["scheduler.amazonaws.com", { StringEquals = { "aws:SourceAccount" = "123456789012" }, ArnEquals = { "aws:SourceArn" = "arn:aws:scheduler:eu-central-1:123456789012:schedule-group/default" } }]]
      FlowLogs   = [["vpc-flow-logs.amazonaws.com", { StringEquals = { "aws:SourceAccount" = "123456789012" }, ArnLike = { "aws:SourceArn" = "arn:aws:ec2:eu-central-1:123456789012:vpc-flow-log/*" } }]]
      Pipeline   = [["codepipeline.amazonaws.com", { StringEquals = { "aws:SourceAccount" = "123456789012" }, ArnEquals = { "aws:SourceArn" = "arn:aws:codepipeline:eu-central-1:123456789012:data" } }]]
      PlanBuilds = [["codebuild.amazonaws.com", { StringEquals = { "aws:SourceAccount" = "123456789012" }, ArnEquals = { "aws:SourceArn" = ["arn:aws:codebuild:eu-central-1:123456789012:project/data-validate", "arn:aws:codebuild:eu-central-1:123456789012:project/data-plan", "arn:aws:codebuild:eu-central-1:123456789012:project/data-drift"] } }]]
      ApplyBuild = [["codebuild.amazonaws.com", { StringEquals = { "aws:SourceAccount" = "123456789012" }, ArnEquals = { "aws:SourceArn" = "arn:aws:codebuild:eu-central-1:123456789012:project/data-apply" } }]]
      Rules      = [["events.amazonaws.com", { StringEquals = { "aws:SourceAccount" = "123456789012" }, ArnLike = { "aws:SourceArn" = "arn:aws:events:eu-central-1:123456789012:rule/data-*" } }]]
    }
    error_message = "Every trust policy names account and source."
  }
  assert {
    condition     = length(distinct([for role in concat(aws_iam_role.execution, aws_iam_role.worker, aws_iam_role.flow_run, aws_iam_role.tick, aws_iam_role.scheduler, aws_iam_role.flow_logs, aws_iam_role.codepipeline, aws_iam_role.codebuild_plan, aws_iam_role.codebuild_apply, aws_iam_role.event_trigger) : role.permissions_boundary])) == 1 && aws_iam_role.worker[0].permissions_boundary == aws_iam_policy.boundary[0].arn
    error_message = "With a build that may change roles, every role is within the boundary that the module makes."
  }
  assert {
    condition     = aws_iam_policy.boundary[0].name == "data-boundary-eu-central-1" && alltrue([for s in jsondecode(aws_iam_policy.boundary[0].policy).Statement : contains(s.Resource, "arn:aws:iam::123456789012:policy/data-boundary-eu-central-1") if s.Sid == "KeepBoundary"])
    error_message = "The boundary protects itself, so it has to be found under the name by which it does."
  }
  assert {
    condition     = alltrue([for s in jsondecode(aws_iam_role_policy.codebuild_apply[0].policy).Statement : s.Condition.StringEquals["iam:PermissionsBoundary"] == "arn:aws:iam::123456789012:policy/data-boundary-eu-central-1" if s.Sid == "GiveRights"])
    error_message = "A build gives rights within the boundary only."
  }
  assert {
    condition     = !anytrue([for s in jsondecode(aws_iam_role_policy.codebuild_plan[0].policy).Statement : anytrue([for action in flatten([s.Action]) : can(regex(":(Create|Delete|Put|Update|Modify|Attach|Detach|Register|Run|Start|Stop|Tag|Untag|Pass)", action))]) if !contains(["BuildLogs", "Artifacts", "StateLock"], s.Sid)])
    error_message = "The plan role writes its log, its artefact and the lock, and nothing else."
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.codebuild_plan[0].policy, "GetSecretValue") && !strcontains(aws_iam_role_policy.codebuild_plan[0].policy, "ssm:GetParameter")
    error_message = "A build that plans reads no secret."
  }
  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.codebuild_plan[0].policy).Statement : s.Resource if s.Sid == "StateLock"] == [["arn:aws:s3:::states/data/terraform.tfstate.tflock"]]
    error_message = "The lock is the one object that planning writes and deletes beside the state."
  }
  assert {
    condition     = one([for s in jsondecode(aws_iam_role_policy.scheduler[0].policy).Statement : s.Resource if s.Sid == "PassRoles"]) == [aws_iam_role.execution[0].arn, aws_iam_role.tick[0].arn]
    error_message = "The scheduler passes the two roles of the tick."
  }
}

run "given_boundary_is_the_only_one" {
  command = apply

  module {
    source = "./modules/iam"
  }

  variables {
    create_codebuild_apply_role = true
    artifact_bucket_arn         = "arn:aws:s3:::data-pipeline-x"
    state_bucket_arn            = "arn:aws:s3:::states"
    permissions_boundary        = "arn:aws:iam::123456789012:policy/boundary"
  }

  assert {
    condition     = length(aws_iam_policy.boundary) == 0 && aws_iam_role.codebuild_apply[0].permissions_boundary == "arn:aws:iam::123456789012:policy/boundary" && alltrue([for s in jsondecode(aws_iam_role_policy.codebuild_apply[0].policy).Statement : s.Condition.StringEquals["iam:PermissionsBoundary"] == "arn:aws:iam::123456789012:policy/boundary" if s.Sid == "GiveRights"])
    error_message = "A boundary that is given takes the place of the module's."
  }
}

run "managed_policies_are_not_cut_in_silence" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    create_codebuild_apply_role = true
    artifact_bucket_arn         = "arn:aws:s3:::data-pipeline-x"
    state_bucket_arn            = "arn:aws:s3:::states"
    flow_run_policy_arns        = { athena = "arn:aws:iam::aws:policy/AmazonAthenaFullAccess" }
  }

  expect_failures = [aws_iam_policy.boundary]
}

run "builds_need_their_buckets" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    create_codebuild_plan_role = true
  }

  expect_failures = [aws_iam_role_policy.codebuild_plan]
}

run "flow_logs_need_their_group" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    create_flow_logs_role = true
  }

  expect_failures = [aws_iam_role.flow_logs]
}

run "key" {
  command = apply

  module {
    source = "./modules/kms"
  }

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_alias.this.name == "alias/data"
    error_message = "The key rotates, and is found by the stack's name."
  }
  assert {
    condition     = alltrue([for s in jsondecode(aws_kms_key.this.policy).Statement : try(length(s.Condition), 0) > 0 if can(s.Principal.Service)])
    error_message = "No service may use the key without a condition."
  }
  assert {
    condition     = [for s in jsondecode(aws_kms_key.this.policy).Statement : s.Principal.AWS if !can(s.Principal.Service)] == ["arn:aws:iam::123456789012:root"]
    error_message = "Beside services the account alone stands in the policy, whose roles need a policy of their own."
  }
}
