# The base job template of Prefect's ECS work pools, with defaults that point at
# this stack: set on the pool, a deployment runs without one job variable given.

locals {
  job_variable_defaults = {
    cluster                            = module.cluster.arn
    launch_type                        = "FARGATE"
    capacity_provider_strategy         = length(local.flow_run_strategy) > 0 ? local.flow_run_strategy : null
    image                              = var.flow_run_image
    cpu                                = var.flow_run_cpu
    memory                             = var.flow_run_memory
    env                                = length(var.flow_run_environment) > 0 ? var.flow_run_environment : null
    execution_role_arn                 = module.iam.execution_role_arn
    task_role_arn                      = module.iam.flow_run_role_arn
    prefect_api_key_secret_arn         = local.api_key_from
    prefect_api_auth_string_secret_arn = local.auth_string_from
    vpc_id                             = module.network.vpc_id
    network_configuration = {
      subnets        = module.network.private_subnet_ids
      securityGroups = [module.network.flow_run_security_group_id]
      assignPublicIp = "DISABLED"
    }
    configure_cloudwatch_logs = true
    cloudwatch_logs_prefix    = "flow-run"
    cloudwatch_logs_options = {
      awslogs-group  = module.cluster.flow_run_log_group_name
      awslogs-region = data.aws_region.current.id
      # The group exists, and the execution role may not create others.
      awslogs-create-group = "false"
    }
  }

  # In the words of RunTask. A strategy takes the place of the launch type.
  flow_run_strategy = [for item in var.flow_run_capacity_provider_strategy : {
    capacityProvider = item.capacity_provider
    weight           = item.weight
    base             = item.base
  }]

  # Fargate takes X86_64 where a task definition names no processor.
  flow_run_architecture = coalesce(var.flow_run_cpu_architecture, var.cpu_architecture)
  runtime_platform = {
    for key, value in { runtimePlatform = { cpuArchitecture = local.flow_run_architecture, operatingSystemFamily = "LINUX" } } : key => value
    if local.flow_run_architecture != "X86_64"
  }

  bare_job_template = jsondecode(file("${path.module}/base_job_template.json"))

  base_job_template = merge(local.bare_job_template, {
    job_configuration = merge(local.bare_job_template.job_configuration, {
      task_definition = merge(local.bare_job_template.job_configuration.task_definition, local.runtime_platform)
    })
    variables = merge(local.bare_job_template.variables, {
      properties = {
        for name, property in local.bare_job_template.variables.properties : name => merge(
          property,
          { for other, value in local.job_variable_defaults : "default" => value if other == name && value != null },
        )
      }
    })
  })
}
