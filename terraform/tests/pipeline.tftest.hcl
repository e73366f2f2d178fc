# The pipeline: what was planned is shown, approved and applied, by scripts that
# can be run by hand; nothing of it knows the credentials.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name           = "data"
  work_pool_name = "ecs-production"
  image          = "faber:1.0.0"

  # For the runs on the submodule.
  pipeline_source          = { repository = "acme/infrastructure" }
  codepipeline_role_arn    = "arn:aws:iam::123456789012:role/pipeline"
  codebuild_plan_role_arn  = "arn:aws:iam::123456789012:role/plan"
  codebuild_apply_role_arn = "arn:aws:iam::123456789012:role/apply"
  event_trigger_role_arn   = "arn:aws:iam::123456789012:role/trigger"
  state_bucket             = "acme-states"
  state_key                = "data/terraform.tfstate"

  # For the runs on the root.
  pipeline_state_bucket = "acme-states"
  pipeline_state_key    = "data/terraform.tfstate"
}

run "repository" {
  command = apply

  module {
    source = "./modules/pipeline"
  }

  variables {
    approval_topic_arn = "arn:aws:sns:eu-central-1:123456789012:approvals"
  }

  assert {
    condition     = [for stage in aws_codepipeline.this.stage : [for action in stage.action : action.name]] == [["source"], ["validate"], ["plan", "approve", "apply", "record"]]
    error_message = "Source, then validation, then plan, approval and apply in one stage, so that no second plan is made meanwhile."
  }
  assert {
    condition     = [for action in aws_codepipeline.this.stage[2].action : action.run_order] == [1, 2, 3, 4]
    error_message = "The actions of the last stage come one after the other."
  }
  assert {
    condition     = aws_codepipeline.this.pipeline_type == "V2" && aws_codepipeline.this.execution_mode == "SUPERSEDED"
    error_message = "Type V2 costs per minute, and newer commits overtake waiting ones."
  }
  assert {
    condition     = aws_codepipeline.this.stage[2].action[1].configuration == tomap({ CustomData = "#{plan.FABER_APPROVAL}", ExternalEntityLink = "https://eu-central-1.console.aws.amazon.com/codesuite/codebuild/123456789012/projects/data-plan/build/#{plan.CODEBUILD_BUILD_ID}/log?region=eu-central-1", NotificationArn = "arn:aws:sns:eu-central-1:123456789012:approvals" })
    error_message = "Those who approve see the plan's own text, and a link to its log."
  }
  assert {
    condition     = aws_codepipeline.this.stage[2].action[0].namespace == "plan" && toset(yamldecode(aws_codebuild_project.this["plan"].source[0].buildspec).env.exported-variables) == toset(["FABER_APPROVAL", "FABER_PLAN_SHA256", "CODEBUILD_BUILD_ID"])
    error_message = "The variables that the other actions use are exported by the plan."
  }
  assert {
    condition     = jsondecode(aws_codepipeline.this.stage[2].action[2].configuration.EnvironmentVariables) == [{ name = "FABER_COMMIT", value = "#{source.CommitId}", type = "PLAINTEXT" }, { name = "FABER_PLAN_SHA256", value = "#{plan.FABER_PLAN_SHA256}", type = "PLAINTEXT" }]
    error_message = "The apply is told which plan was approved, and for which commit."
  }
  assert {
    condition     = aws_codepipeline.this.stage[2].action[2].input_artifacts == tolist(["source", "plan"]) && aws_codepipeline.this.stage[2].action[2].configuration.PrimarySource == "source"
    error_message = "The apply runs the scripts of the source on the artefact of the plan."
  }
  assert {
    condition = alltrue([for project in aws_codebuild_project.this : alltrue([
      for command in flatten([for phase in values(yamldecode(project.source[0].buildspec).phases) : phase.commands]) :
      can(regex("^(sh pipeline/(validate|plan|apply)\\.sh( drift)?|([A-Z0-9_]+)=\"\\$\\(sh pipeline/plan\\.sh( checksum)?\\)\" && export [A-Z0-9_]+)$", command))
    ])])
    error_message = "Buildspecs call the scripts, and do nothing else."
  }
  assert {
    condition     = { for name, project in aws_codebuild_project.this : name => project.service_role } == { validate = var.codebuild_plan_role_arn, plan = var.codebuild_plan_role_arn, drift = var.codebuild_plan_role_arn, apply = var.codebuild_apply_role_arn }
    error_message = "Only the apply has the role that changes things."
  }
  assert {
    condition     = alltrue([for project in aws_codebuild_project.this : !project.environment[0].privileged_mode && length([for variable in project.environment[0].environment_variable : variable if strcontains(lower(variable.name), "prefect")]) == 0])
    error_message = "No build is privileged, and none is given anything of Prefect's."
  }
  assert {
    condition     = length(aws_codeconnections_connection.this) == 1 && output.connection_status == "PENDING" && length(aws_cloudwatch_event_rule.source) == 0
    error_message = "A connection is made, and its state shown; it starts the pipeline itself."
  }
  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.artifacts.rule[0].expiration[0].days == 7 && !startswith("_applied/source.zip", aws_s3_bucket_lifecycle_configuration.artifacts.rule[0].filter[0].prefix)
    error_message = "Artefacts go after a week; what was applied last stays."
  }
  assert {
    condition     = aws_s3_bucket_public_access_block.artifacts.block_public_acls && aws_s3_bucket_public_access_block.artifacts.block_public_policy && aws_s3_bucket_public_access_block.artifacts.ignore_public_acls && aws_s3_bucket_public_access_block.artifacts.restrict_public_buckets
    error_message = "Nothing of the artefacts is public."
  }
  assert {
    condition     = jsondecode(aws_s3_bucket_policy.artifacts.policy).Statement[0].Effect == "Deny" && jsondecode(aws_s3_bucket_policy.artifacts.policy).Statement[0].Condition == { Bool = { "aws:SecureTransport" = "false" } }
    error_message = "The artefacts are reached by TLS alone."
  }
  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.artifacts.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "AES256" && length(aws_codepipeline.this.artifact_store) == 1 && alltrue([for store in aws_codepipeline.this.artifact_store : length(store.encryption_key) == 0])
    error_message = "Without a key of yours the artefacts are encrypted with S3's."
  }
}

run "drift" {
  command = apply

  module {
    source = "./modules/pipeline"
  }

  variables {
    drift_alarm_actions = ["arn:aws:sns:eu-central-1:123456789012:alarms"]
  }

  assert {
    condition     = aws_codebuild_project.this["drift"].source[0].type == "S3" && endswith(aws_codebuild_project.this["drift"].source[0].location, "/${aws_codepipeline.this.stage[2].action[3].configuration.ObjectKey}")
    error_message = "The search for drift plans what the pipeline recorded as applied."
  }
  assert {
    condition     = aws_cloudwatch_event_target.drift[0].arn == aws_codebuild_project.this["drift"].arn && aws_cloudwatch_event_target.drift[0].role_arn == var.event_trigger_role_arn
    error_message = "The schedule starts the search."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.drift[0].namespace == "AWS/CodeBuild" && aws_cloudwatch_metric_alarm.drift[0].metric_name == "FailedBuilds" && aws_cloudwatch_metric_alarm.drift[0].dimensions == tomap({ ProjectName = "data-drift" }) && aws_cloudwatch_metric_alarm.drift[0].alarm_actions == toset(["arn:aws:sns:eu-central-1:123456789012:alarms"])
    error_message = "A search that fails raises the alarm."
  }
}

run "no_drift" {
  command = apply

  module {
    source = "./modules/pipeline"
  }

  variables {
    drift_schedule = null
  }

  assert {
    condition     = toset(keys(aws_codebuild_project.this)) == toset(["validate", "plan", "apply"]) && length(aws_cloudwatch_metric_alarm.drift) == 0 && length(aws_cloudwatch_event_rule.drift) == 0
    error_message = "Without a schedule nothing looks for drift."
  }
  assert {
    condition     = [for action in aws_codepipeline.this.stage[2].action : action.name] == ["plan", "approve", "apply"]
    error_message = "And nothing is recorded for it."
  }
}

run "bucket_and_key" {
  command = apply

  module {
    source = "./modules/pipeline"
  }

  variables {
    pipeline_source    = { bucket = "acme-sources", key = "data.zip" }
    kms_key_arn        = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000"
    terraform_version  = "1.12.0"
    terraform_sha256   = { amd64 = "0f" }
    build_architecture = "ARM64"
  }

  assert {
    condition     = length(aws_codeconnections_connection.this) == 0 && output.connection_arn == null && output.source_bucket_arn == "arn:aws:s3:::acme-sources"
    error_message = "A bucket needs no connection."
  }
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.source[0].event_pattern) == {
      source      = ["aws.s3"]
      detail-type = ["Object Created"]
      detail      = { bucket = { name = ["acme-sources"] }, object = { key = ["data.zip"] } }
    }
    error_message = "An upload of the one object starts the pipeline."
  }
  assert {
    condition     = aws_codepipeline.this.stage[0].action[0].configuration.PollForSourceChanges == "false" && aws_cloudwatch_event_target.source[0].arn == aws_codepipeline.this.arn
    error_message = "It is started by the event, and not a second time by asking."
  }
  assert {
    condition     = jsondecode(aws_codepipeline.this.stage[2].action[0].configuration.EnvironmentVariables)[0].value == "#{source.VersionId}"
    error_message = "The object's version stands for the commit."
  }
  assert {
    condition     = alltrue([for project in aws_codebuild_project.this : project.encryption_key == var.kms_key_arn]) && alltrue([for store in aws_codepipeline.this.artifact_store : store.encryption_key[0].id == var.kms_key_arn]) && aws_codepipeline.this.stage[2].action[3].configuration.KMSEncryptionKeyARN == var.kms_key_arn && alltrue([for group in aws_cloudwatch_log_group.build : group.kms_key_id == var.kms_key_arn])
    error_message = "A key of yours is used throughout."
  }
  assert {
    condition     = alltrue([for project in aws_codebuild_project.this : project.environment[0].type == "ARM_CONTAINER" && strcontains(project.environment[0].image, "aarch64")])
    error_message = "ARM64 takes machine and image of that kind."
  }
  assert {
    condition     = contains([for variable in aws_codebuild_project.this["plan"].environment[0].environment_variable : "${variable.name}=${variable.value}"], "TERRAFORM_SHA256_AMD64=0f")
    error_message = "Another Terraform comes with its sum."
  }
}

run "whole" {
  command = plan

  variables {
    create_pipeline = true
  }

  assert {
    condition     = output.pipeline_name == "data"
    error_message = "The pipeline has the stack's name."
  }
}

run "none" {
  command = plan

  variables {
    pipeline_source = null
  }

  assert {
    condition     = output.pipeline_name == null && output.connection_status == null
    error_message = "No pipeline is made that was not asked for."
  }
}

run "no_source" {
  command = plan

  variables {
    create_pipeline = true
    pipeline_source = null
  }

  expect_failures = [var.pipeline_source]
}

run "two_sources" {
  command = plan

  variables {
    create_pipeline = true
    pipeline_source = { repository = "acme/infrastructure", bucket = "acme-sources", key = "data.zip" }
  }

  expect_failures = [var.pipeline_source]
}

run "no_state" {
  command = plan

  variables {
    create_pipeline    = true
    pipeline_state_key = null
  }

  expect_failures = [var.pipeline_state_bucket]
}

run "refused" {
  command = plan

  variables {
    create_pipeline                   = true
    connection_arn                    = "arn:aws:iam::123456789012:role/none"
    connection_provider_type          = "Sourcehut"
    pipeline_scripts_directory        = "a; b"
    pipeline_terraform_version        = "1.12.0"
    pipeline_build_environment        = { PREFECT_API_KEY = "pnu_canary" }
    pipeline_build_architecture       = "RISCV"
    pipeline_approval_timeout_minutes = 20000
    pipeline_approval_topic_arn       = "approvals"
    pipeline_drift_schedule           = "daily"
    pipeline_drift_topic_arn          = "drift"
  }

  expect_failures = [
    var.connection_arn, var.connection_provider_type, var.pipeline_scripts_directory, var.pipeline_terraform_version, var.pipeline_build_environment,
    var.pipeline_build_architecture, var.pipeline_approval_timeout_minutes, var.pipeline_approval_topic_arn, var.pipeline_drift_schedule, var.pipeline_drift_topic_arn,
  ]
}
