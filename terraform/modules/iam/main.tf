data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = data.aws_region.current.id

  in_region = "${local.region}:${local.account_id}"
  ecs_arn   = "arn:${local.partition}:ecs:${local.in_region}"
  ecr_arn   = "arn:${local.partition}:ecr:${local.in_region}"
  iam_arn   = "arn:${local.partition}:iam::${local.account_id}"

  execution_role_arn       = var.create_execution_role ? aws_iam_role.execution[0].arn : var.execution_role_arn
  worker_role_arn          = var.create_worker_role ? aws_iam_role.worker[0].arn : var.worker_role_arn
  flow_run_role_arn        = var.create_flow_run_role ? aws_iam_role.flow_run[0].arn : var.flow_run_role_arn
  tick_role_arn            = var.create_tick_role ? aws_iam_role.tick[0].arn : var.tick_role_arn
  scheduler_role_arn       = var.create_scheduler_role ? aws_iam_role.scheduler[0].arn : var.scheduler_role_arn
  flow_logs_role_arn       = var.create_flow_logs_role ? aws_iam_role.flow_logs[0].arn : var.flow_logs_role_arn
  codepipeline_role_arn    = var.create_codepipeline_role ? aws_iam_role.codepipeline[0].arn : var.codepipeline_role_arn
  codebuild_plan_role_arn  = var.create_codebuild_plan_role ? aws_iam_role.codebuild_plan[0].arn : var.codebuild_plan_role_arn
  codebuild_apply_role_arn = var.create_codebuild_apply_role ? aws_iam_role.codebuild_apply[0].arn : var.codebuild_apply_role_arn
  event_trigger_role_arn   = var.create_event_trigger_role ? aws_iam_role.event_trigger[0].arn : var.event_trigger_role_arn

  tick_task_family       = coalesce(var.tick_task_family, "${var.name}-tick")
  pipeline_name          = coalesce(var.pipeline_name, var.name)
  pipeline_arn           = "arn:${local.partition}:codepipeline:${local.in_region}:${local.pipeline_name}"
  codebuild_arn          = "arn:${local.partition}:codebuild:${local.in_region}:project"
  plan_project_names     = coalesce(var.codebuild_plan_project_names, ["${var.name}-validate", "${var.name}-plan", "${var.name}-drift"])
  apply_project_name     = coalesce(var.codebuild_apply_project_name, "${var.name}-apply")
  drift_project_name     = coalesce(var.drift_project_name, "${var.name}-drift")
  plan_project_arns      = [for project in local.plan_project_names : "${local.codebuild_arn}/${project}"]
  apply_project_arn      = "${local.codebuild_arn}/${local.apply_project_name}"
  drift_project_arn      = "${local.codebuild_arn}/${local.drift_project_name}"
  schedule_group_arn     = "arn:${local.partition}:scheduler:${local.in_region}:schedule-group/${var.schedule_group_name}"
  event_rule_prefix_arn  = "arn:${local.partition}:events:${local.in_region}:rule/${var.name}-"
  flow_log_any_arn       = "arn:${local.partition}:ec2:${local.in_region}:vpc-flow-log/*"
  permissions_boundary   = local.create_boundary ? aws_iam_policy.boundary[0].arn : var.permissions_boundary
  service_account_equals = { "aws:SourceAccount" = local.account_id }

  # Who may take which role. A service principal alone would let the service use
  # the role for whoever asks it to, in any account (the "confused deputy"): hence
  # the account in every document, and the narrowest source that the service names.
  trust = {
    # Wildcard: ECS names no narrower source than this when it starts a task
    # (docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html).
    ecs_tasks = { sid = "EcsTasks", service = "ecs-tasks", operator = "ArnLike", source = "${local.ecs_arn}:*" }
    # A schedule's group is what Scheduler names, not the schedule
    # (docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html).
    scheduler = { sid = "Scheduler", service = "scheduler", operator = "ArnEquals", source = local.schedule_group_arn }
    # Wildcard: the flow log's id is not known before it was made, with this role.
    flow_logs       = { sid = "FlowLogs", service = "vpc-flow-logs", operator = "ArnLike", source = local.flow_log_any_arn }
    codepipeline    = { sid = "Pipeline", service = "codepipeline", operator = "ArnEquals", source = local.pipeline_arn }
    codebuild_plan  = { sid = "PlanBuilds", service = "codebuild", operator = "ArnEquals", source = local.plan_project_arns }
    codebuild_apply = { sid = "ApplyBuild", service = "codebuild", operator = "ArnEquals", source = local.apply_project_arn }
    # Wildcard: all rules of this stack, and no others.
    events = { sid = "Rules", service = "events", operator = "ArnLike", source = "${local.event_rule_prefix_arn}*" }
  }
  trust_policies = {
    for name, trust in local.trust : name => {
      Version = "2012-10-17"
      Statement = [
        {
          Sid       = trust.sid
          Effect    = "Allow"
          Principal = { Service = "${trust.service}.amazonaws.com" }
          Action    = "sts:AssumeRole"
          Condition = merge(
            { StringEquals = local.service_account_equals },
            { (trust.operator) = { "aws:SourceArn" = trust.source } },
          )
        },
      ]
    }
  }
  trust_policy = local.trust_policies["ecs_tasks"]
}
