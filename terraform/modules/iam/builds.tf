################################################################################
# Builds: what planning and applying have in common
################################################################################

locals {
  state_key = coalesce(var.state_key, "${var.name}/terraform.tfstate")
  state_arn = [for arn in [var.state_bucket_arn] : "${arn}/${local.state_key}" if arn != null]

  builds = {
    plan  = { projects = local.plan_project_names, artifacts = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"] }
    apply = { projects = [local.apply_project_name], artifacts = ["s3:GetObject", "s3:GetObjectVersion"] }
  }

  build_statements = { for name, build in local.builds : name => concat(
    [
      {
        Sid    = "BuildLogs"
        Effect = "Allow"
        Action = ["logs:CreateLogStream", "logs:PutLogEvents"]
        # Wildcard: each build has a stream of its own.
        Resource = [for project in build.projects : "arn:${local.partition}:logs:${local.in_region}:log-group:/aws/codebuild/${project}:log-stream:*"]
      },
      {
        Sid    = "Artifacts"
        Effect = "Allow"
        Action = build.artifacts
        # Wildcard: artefacts get random names; the bucket holds nothing else.
        Resource = local.artifact_objects
      },
      local.artifact_bucket_statement,
      {
        Sid    = "StateLock"
        Effect = "Allow"
        Action = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        # The lock is an object beside the state
        # (developer.hashicorp.com/terraform/language/backend/s3, use_lockfile).
        Resource = [for arn in local.state_arn : "${arn}.tflock"]
      },
      {
        Sid      = "StateBucket"
        Effect   = "Allow"
        Action   = "s3:ListBucket"
        Resource = compact([var.state_bucket_arn])
      },
    ],
    local.bucket_key_statements,
  ) }
}

################################################################################
# What the stack has, by the names that the module gives
################################################################################

locals {
  regional = { for service in ["application-autoscaling", "cloudwatch", "codebuild", "codeconnections", "codepipeline", "codestar-connections", "ecr", "ecs", "events", "kms", "logs", "scheduler", "secretsmanager", "sns", "sqs", "ssm"] :
  service => "arn:${local.partition}:${service}:${local.in_region}" }

  # Wildcards: a stack's names start with its own, and what follows is the
  # module's to choose. Ids that AWS chooses can be named by kind only.
  stack_arns = {
    ecs          = ["${local.regional.ecs}:cluster/${var.name}", "${local.regional.ecs}:service/${var.name}/${var.name}-*"]
    definitions  = ["${local.regional.ecs}:task-definition/${var.name}-*"]
    logs         = ["${local.regional.logs}:log-group:/faber/${var.name}/*", "${local.regional.logs}:log-group:/aws/codebuild/${var.name}-*"]
    sqs          = ["${local.regional.sqs}:${var.name}-*"]
    events       = ["${local.regional.events}:rule/${var.name}-*"]
    scheduler    = ["${local.regional.scheduler}:schedule/${var.schedule_group_name}/${var.name}-*"]
    sns          = ["${local.regional.sns}:${var.name}-*"]
    secrets      = distinct(compact(["${local.regional.secretsmanager}:secret:${var.name}-*", var.secret_arn]))
    ecr          = ["${local.regional.ecr}:repository/${var.name}/*"]
    codebuild    = ["${local.regional.codebuild}:project/${var.name}-*"]
    codepipeline = [local.pipeline_arn]
    connections  = compact([var.connection_arn])
    ssm          = ["${local.regional.ssm}:parameter/faber/${var.name}/*"]
    cloudwatch   = ["${local.regional.cloudwatch}:alarm:${var.name}-*", "arn:${local.partition}:cloudwatch::${local.account_id}:dashboard/${var.name}"]
    budgets      = ["arn:${local.partition}:budgets::${local.account_id}:budget/${var.name}-*"]
    scaling      = ["${local.regional["application-autoscaling"]}:scalable-target/*"]
    buckets      = compact([var.artifact_bucket_arn])
    keys         = compact([var.kms_key_arn])
    roles        = ["${local.iam_arn}:role/${var.name}-*"]
    given_roles  = local.given_role_arns
    policies     = [local.boundary_arn]
  }
}

################################################################################
# Plan role: reads what the stack has, changes nothing but the lock
################################################################################

locals {
  # What Terraform's provider asks for the module's resources. No value of a
  # secret or parameter is among them.
  read_actions = [
    "budgets:ListTagsForResource", "budgets:ViewBudget",
    "cloudwatch:DescribeAlarms", "cloudwatch:GetDashboard", "cloudwatch:ListTagsForResource",
    "codebuild:BatchGetProjects",
    "codeconnections:GetConnection", "codeconnections:ListTagsForResource",
    "codepipeline:GetPipeline", "codepipeline:ListTagsForResource",
    "codestar-connections:GetConnection", "codestar-connections:ListTagsForResource",
    "ecr:DescribeRepositories", "ecr:GetLifecyclePolicy", "ecr:GetRepositoryPolicy", "ecr:ListTagsForResource",
    "ecs:DescribeClusters", "ecs:DescribeServices", "ecs:ListTagsForResource",
    "events:DescribeRule", "events:ListTagsForResource", "events:ListTargetsByRule",
    "iam:GetPolicy", "iam:GetPolicyVersion", "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListPolicyVersions", "iam:ListRolePolicies",
    "kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListResourceTags",
    "logs:DescribeMetricFilters", "logs:ListTagsForResource",
    "s3:GetAccelerateConfiguration", "s3:GetBucketAcl", "s3:GetBucketCORS", "s3:GetBucketLogging", "s3:GetBucketObjectLockConfiguration", "s3:GetBucketOwnershipControls",
    "s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock", "s3:GetBucketRequestPayment", "s3:GetBucketTagging", "s3:GetBucketVersioning", "s3:GetBucketWebsite",
    "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration", "s3:ListBucket",
    "scheduler:GetSchedule", "scheduler:ListTagsForResource",
    "secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy",
    "sns:GetSubscriptionAttributes", "sns:GetTopicAttributes", "sns:ListTagsForResource",
    "sqs:GetQueueAttributes", "sqs:ListQueueTags",
    "ssm:ListTagsForResource",
    "application-autoscaling:ListTagsForResource",
  ]

  # Those that AWS authorises on no resource, by the Service Authorization
  # Reference (docs.aws.amazon.com/service-authorization/latest/reference/).
  list_actions = [
    "application-autoscaling:DescribeScalableTargets", "application-autoscaling:DescribeScalingPolicies", "application-autoscaling:DescribeScheduledActions",
    "ce:ListCostAllocationTags",
    "ec2:DescribeAddresses", "ec2:DescribeAddressesAttribute", "ec2:DescribeAvailabilityZones", "ec2:DescribeFlowLogs", "ec2:DescribeInternetGateways",
    "ec2:DescribeManagedPrefixLists", "ec2:DescribeNatGateways", "ec2:DescribeNetworkAcls", "ec2:DescribeNetworkInterfaces", "ec2:DescribePrefixLists",
    "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroupRules", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcAttribute",
    "ec2:DescribeVpcEndpoints", "ec2:DescribeVpcEndpointServices", "ec2:DescribeVpcs",
    "ecs:DescribeTaskDefinition",
    "kms:ListAliases",
    "logs:DescribeLogGroups",
    "ssm:DescribeParameters",
  ]

  read_statements = [
    {
      Sid    = "ReadStack"
      Effect = "Allow"
      Action = local.read_actions
      # Each action knows the ARNs of its own service only.
      Resource = flatten(values(local.stack_arns))
    },
    {
      Sid    = "List"
      Effect = "Allow"
      Action = local.list_actions
      # Wildcard: AWS authorises these on no resource. They show names and settings of
      # other stacks of the account, too.
      Resource = "*"
    },
  ]

  codebuild_plan_policy = {
    Version = "2012-10-17"
    Statement = concat(
      local.build_statements["plan"],
      [
        {
          Sid      = "ReadState"
          Effect   = "Allow"
          Action   = "s3:GetObject"
          Resource = local.state_arn
        },
      ],
      local.read_statements,
    )
  }
}

resource "aws_iam_role" "codebuild_plan" {
  count = var.create_codebuild_plan_role ? 1 : 0

  name_prefix          = "${var.name}-build-plan-"
  description          = "Builds that validate, plan and look for drift in ${var.name}: reads only"
  assume_role_policy   = jsonencode(local.trust_policies["codebuild_plan"])
  permissions_boundary = local.permissions_boundary

  tags = var.tags
}

resource "aws_iam_role_policy" "codebuild_plan" {
  count = var.create_codebuild_plan_role ? 1 : 0

  name   = "plan"
  role   = aws_iam_role.codebuild_plan[0].id
  policy = jsonencode(local.codebuild_plan_policy)

  lifecycle {
    precondition {
      condition     = var.state_bucket_arn != null && var.artifact_bucket_arn != null
      error_message = "state_bucket_arn and artifact_bucket_arn are needed with create_codebuild_plan_role = true: the builds may read these two buckets only."
    }
  }
}

################################################################################
# Apply role: changes the stack, within the boundary and the stack's names
################################################################################

locals {
  of_stack    = { "aws:ResourceTag/faber:stack" = var.name }
  named_stack = { "aws:RequestTag/faber:stack" = var.name }
  ec2_arn     = "arn:${local.partition}:ec2:${local.in_region}"

  # Apart from the others, which together are as long as a role's own policies may be.
  codebuild_apply_network_policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "CreateNetwork"
        Effect = "Allow"
        Action = ["ec2:AllocateAddress", "ec2:CreateFlowLogs", "ec2:CreateInternetGateway", "ec2:CreateNatGateway", "ec2:CreateRouteTable", "ec2:CreateSecurityGroup", "ec2:CreateSubnet", "ec2:CreateVpc", "ec2:CreateVpcEndpoint"]
        # Wildcard: ids do not exist yet. What is made bears the stack's tag from the
        # start; what it is made in has to bear it already (ChangeNetwork).
        Resource  = [for kind in ["elastic-ip", "internet-gateway", "natgateway", "route-table", "security-group", "subnet", "vpc", "vpc-endpoint", "vpc-flow-log"] : "${local.ec2_arn}:${kind}/*"]
        Condition = { StringEquals = local.named_stack }
      },
      {
        Sid    = "TagNetwork"
        Effect = "Allow"
        Action = "ec2:CreateTags"
        # Wildcard: as above. Only while something is made.
        Resource  = "${local.ec2_arn}:*/*"
        Condition = { StringEquals = local.named_stack, Null = { "ec2:CreateAction" = "false" } }
      },
      {
        Sid    = "ChangeNetwork"
        Effect = "Allow"
        Action = [
          "ec2:AssociateAddress", "ec2:AssociateRouteTable", "ec2:AttachInternetGateway", "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress",
          "ec2:CreateFlowLogs", "ec2:CreateNatGateway", "ec2:CreateRoute", "ec2:CreateRouteTable", "ec2:CreateSecurityGroup", "ec2:CreateSubnet", "ec2:CreateTags", "ec2:CreateVpcEndpoint",
          "ec2:DeleteFlowLogs", "ec2:DeleteInternetGateway", "ec2:DeleteNatGateway", "ec2:DeleteRoute", "ec2:DeleteRouteTable", "ec2:DeleteSecurityGroup", "ec2:DeleteSubnet",
          "ec2:DeleteTags", "ec2:DeleteVpc", "ec2:DeleteVpcEndpoints", "ec2:DetachInternetGateway", "ec2:DisassociateAddress", "ec2:DisassociateRouteTable",
          "ec2:ModifySecurityGroupRules", "ec2:ModifySubnetAttribute", "ec2:ModifyVpcAttribute", "ec2:ModifyVpcEndpoint", "ec2:ReleaseAddress", "ec2:ReplaceRoute",
          "ec2:ReplaceRouteTableAssociation", "ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress",
        ]
        # Wildcard: ids are AWS's. The tag binds: what other stacks have has another.
        Resource  = "${local.ec2_arn}:*/*"
        Condition = { StringEquals = local.of_stack }
      },
    ]
  }

  # The services in which the build may do anything to what bears the stack's name.
  changed_services = ["budgets", "cloudwatch", "codebuild", "codepipeline", "ecr", "ecs", "events", "logs", "scheduler", "secretsmanager", "sns", "sqs", "ssm"]
  # What is in their statement already, and need not be read by another.
  changed_kinds = ["budgets", "cloudwatch", "codebuild", "codepipeline", "definitions", "ecr", "ecs", "events", "logs", "scheduler", "secrets", "sns", "sqs", "ssm"]

  codebuild_apply_policy = {
    Version = "2012-10-17"
    Statement = concat(
      local.build_statements["apply"],
      [
        {
          Sid      = "WriteState"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject"]
          Resource = local.state_arn
        },
        {
          Sid    = "ChangeStack"
          Effect = "Allow"
          # Wildcard: on what bears the stack's name Terraform does whatever the next
          # version of the module needs, so that an update of the module is no change
          # of this policy, which the build could not make. The boundary keeps secrets'
          # values from it.
          Action   = [for service in local.changed_services : "${service}:*"]
          Resource = flatten([for kind, arns in local.stack_arns : arns if contains(local.changed_kinds, kind)])
        },
        {
          Sid    = "UnnamedActions"
          Effect = "Allow"
          Action = ["codeconnections:PassConnection", "codestar-connections:PassConnection", "ecs:DeregisterTaskDefinition"]
          # Wildcard: AWS authorises deregistration on no resource, and a revision that was
          # deregistered still runs. A connection is passed to the pipeline that has it.
          Resource = "*"
        },
        {
          Sid    = "CreateScaling"
          Effect = "Allow"
          Action = ["application-autoscaling:RegisterScalableTarget", "application-autoscaling:TagResource"]
          # What is made bears the stack's tag from the start.
          Resource  = local.stack_arns.scaling
          Condition = { StringEquals = local.named_stack }
        },
        {
          Sid    = "ChangeScaling"
          Effect = "Allow"
          Action = [
            "application-autoscaling:DeleteScalingPolicy", "application-autoscaling:DeleteScheduledAction", "application-autoscaling:DeregisterScalableTarget", "application-autoscaling:PutScalingPolicy",
            "application-autoscaling:PutScheduledAction", "application-autoscaling:RegisterScalableTarget", "application-autoscaling:TagResource", "application-autoscaling:UntagResource",
          ]
          Resource  = local.stack_arns.scaling
          Condition = { StringEquals = local.of_stack }
        },
        {
          Sid    = "ArtifactBucketSettings"
          Effect = "Allow"
          Action = [
            "s3:PutBucketOwnershipControls", "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning",
            "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration",
          ]
          Resource = local.stack_arns.buckets
        },
        {
          Sid    = "GiveRights"
          Effect = "Allow"
          Action = ["iam:AttachRolePolicy", "iam:CreateRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
          # Only to roles inside the boundary: none can do what this role cannot.
          Resource  = local.stack_arns.roles
          Condition = { StringEquals = { "iam:PermissionsBoundary" = coalesce(var.permissions_boundary, local.boundary_arn) } }
        },
        {
          Sid      = "ChangeRoles"
          Effect   = "Allow"
          Action   = ["iam:DeleteRole", "iam:ListInstanceProfilesForRole", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole"]
          Resource = local.stack_arns.roles
        },
        {
          Sid       = "PassRoles"
          Effect    = "Allow"
          Action    = "iam:PassRole"
          Resource  = concat(local.stack_arns.roles, local.given_role_arns)
          Condition = { StringEquals = { "iam:PassedToService" = [for service in ["codebuild", "codepipeline", "ecs-tasks", "events", "scheduler", "vpc-flow-logs"] : "${service}.amazonaws.com"] } }
        },
        {
          Sid    = "ServiceLinkedRoles"
          Effect = "Allow"
          Action = "iam:CreateServiceLinkedRole"
          # Wildcard: the last part of the name is AWS's.
          Resource  = "${local.iam_arn}:role/aws-service-role/*"
          Condition = { StringEquals = { "iam:AWSServiceName" = ["ecs.amazonaws.com", "ecs.application-autoscaling.amazonaws.com"] } }
        },
      ],
      [for arn in local.stack_arns.keys : {
        Sid      = "UseKey"
        Effect   = "Allow"
        Action   = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
        Resource = arn
        # Wildcard: any service of this region that encrypts something of the stack, and nobody directly.
        Condition = { StringLike = { "kms:ViaService" = "*.${local.region}.amazonaws.com" } }
      }],
      [
        merge(local.read_statements[0], {
          Action   = [for action in local.read_actions : action if !contains(local.changed_services, split(":", action)[0])]
          Resource = flatten([for kind, arns in local.stack_arns : arns if !contains(local.changed_kinds, kind)])
        }),
        local.read_statements[1],
      ],
    )
  }
}

resource "aws_iam_role" "codebuild_apply" {
  count = var.create_codebuild_apply_role ? 1 : 0

  name_prefix          = "${var.name}-build-apply-"
  description          = "The build that applies approved plans of ${var.name}"
  assume_role_policy   = jsonencode(local.trust_policies["codebuild_apply"])
  permissions_boundary = local.permissions_boundary

  tags = var.tags
}

resource "aws_iam_policy" "codebuild_apply_network" {
  count = var.create_codebuild_apply_role ? 1 : 0

  name_prefix = "${var.name}-apply-network-"
  description = "The build that applies approved plans of ${var.name}: the network"
  policy      = jsonencode(local.codebuild_apply_network_policy)

  tags = var.tags
}

resource "aws_iam_role_policy_attachment" "codebuild_apply_network" {
  count = var.create_codebuild_apply_role ? 1 : 0

  role       = aws_iam_role.codebuild_apply[0].name
  policy_arn = aws_iam_policy.codebuild_apply_network[0].arn
}

resource "aws_iam_role_policy" "codebuild_apply" {
  count = var.create_codebuild_apply_role ? 1 : 0

  name   = "apply"
  role   = aws_iam_role.codebuild_apply[0].id
  policy = jsonencode(local.codebuild_apply_policy)

  lifecycle {
    precondition {
      condition     = var.state_bucket_arn != null && var.artifact_bucket_arn != null
      error_message = "state_bucket_arn and artifact_bucket_arn are needed with create_codebuild_apply_role = true: the build may use these two buckets only."
    }
    # docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    precondition {
      condition     = length(jsonencode(local.codebuild_apply_policy)) <= 10240
      error_message = "The policy of the apply role is longer than the 10,240 characters that IAM takes in a role: give fewer or shorter names."
    }
  }
}

################################################################################
# Boundary: the most that any role of the stack can do while a build may change
# their policies
################################################################################

locals {
  create_boundary = var.create_codebuild_apply_role && var.permissions_boundary == null
  boundary_arn    = "${local.iam_arn}:policy/${var.name}-boundary-${local.region}"

  given_role_arns = [for arn in [
    var.execution_role_arn, var.worker_role_arn, var.flow_run_role_arn, var.tick_role_arn, var.scheduler_role_arn, var.flow_logs_role_arn,
    var.codepipeline_role_arn, var.codebuild_plan_role_arn, var.event_trigger_role_arn,
  ] : arn if arn != null]

  # The pipeline's own roles: with these, or the policies below, a build could free itself.
  pipeline_roles = ["${local.iam_arn}:role/${var.name}-build-*", "${local.iam_arn}:role/${var.name}-codepipeline-*", "${local.iam_arn}:role/${var.name}-trigger-*"]

  boundary_policy = {
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid    = "Services"
          Effect = "Allow"
          # Wildcards: a boundary gives nothing, it cuts. It names the services that the
          # module uses; what in them a role may do is in the role's own policy.
          Action = [
            "application-autoscaling:*", "cloudwatch:*", "codebuild:*", "codeconnections:*", "codepipeline:*", "codestar-connections:*", "ec2:*", "ecr:*", "ecs:*",
            "events:*", "logs:*", "scheduler:*", "sns:*", "sqs:*", "ssmmessages:*",
          ]
          Resource  = "*"
          Condition = { StringEquals = { "aws:RequestedRegion" = local.region } }
        },
        {
          Sid    = "GlobalServices"
          Effect = "Allow"
          # Wildcards: as above; these have no region.
          Action   = ["budgets:*", "ce:ListCostAllocationTags", "ce:UpdateCostAllocationTagsStatus"]
          Resource = "*"
        },
        {
          Sid    = "Roles"
          Effect = "Allow"
          # Wildcard: as above.
          Action   = "iam:*"
          Resource = concat(local.stack_arns.roles, local.stack_arns.policies, local.given_role_arns, ["${local.iam_arn}:role/aws-service-role/*"])
        },
        {
          Sid    = "Buckets"
          Effect = "Allow"
          # Wildcard: as above.
          Action   = "s3:*"
          Resource = flatten([for arn in compact([var.artifact_bucket_arn, var.state_bucket_arn, var.source_bucket_arn]) : [arn, "${arn}/*"]])
        },
        {
          Sid    = "NamedData"
          Effect = "Allow"
          # Wildcards: as above.
          Action   = ["kms:*", "secretsmanager:*", "ssm:*"]
          Resource = concat(local.stack_arns.secrets, local.stack_arns.ssm, distinct(compact([var.kms_key_arn, var.secret_kms_key_arn, var.state_kms_key_arn])))
        },
        {
          Sid    = "Lists"
          Effect = "Allow"
          Action = ["kms:ListAliases", "ssm:DescribeParameters"]
          # Wildcard: AWS authorises these on no resource.
          Resource = "*"
        },
        {
          Sid    = "KeepBoundary"
          Effect = "Deny"
          Action = ["iam:CreatePolicyVersion", "iam:DeletePolicy", "iam:DeletePolicyVersion", "iam:SetDefaultPolicyVersion"]
          # Wildcard: the end of that name is random.
          Resource = [local.boundary_arn, "${local.iam_arn}:policy/${var.name}-apply-*"]
        },
        {
          Sid    = "KeepBoundaryOnRoles"
          Effect = "Deny"
          Action = "iam:DeleteRolePermissionsBoundary"
          # Wildcard: a refusal, for every role.
          Resource = "*"
        },
        {
          Sid    = "KeepPipelineRoles"
          Effect = "Deny"
          # Wildcards: every way to change a role.
          Action   = ["iam:Attach*", "iam:CreateRole", "iam:Delete*", "iam:Detach*", "iam:Put*", "iam:Update*"]
          Resource = local.pipeline_roles
        },
        {
          Sid    = "KeepSecretFromBuilds"
          Effect = "Deny"
          Action = ["secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue"]
          # Wildcard: a refusal, for every secret. The pipeline never holds the API key.
          Resource  = "*"
          Condition = { ArnLike = { "aws:PrincipalArn" = local.pipeline_roles } }
        },
      ],
      [for statement in concat(var.flow_run_iam_statements, var.boundary_statements) : merge(
        {
          Effect   = statement.effect
          Action   = statement.actions
          Resource = statement.resources
        },
        { for key, value in { Condition = statement.condition } : key => value if length(value) > 0 },
      )],
    )
  }
}

resource "aws_iam_policy" "boundary" {
  count = local.create_boundary ? 1 : 0

  # By name and not by prefix, since the policy names itself in what it denies.
  name        = "${var.name}-boundary-${local.region}"
  description = "The most that any role of ${var.name} can do"
  policy      = jsonencode(local.boundary_policy)

  tags = var.tags

  lifecycle {
    # docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    precondition {
      condition     = length(jsonencode(local.boundary_policy)) <= 6144
      error_message = "The permissions boundary is longer than the 6,144 characters that IAM takes: shorten flow_run_iam_statements and boundary_statements, or give a policy of your own as permissions_boundary."
    }
    precondition {
      condition     = length(var.flow_run_policy_arns) == 0 || length(var.boundary_statements) > 0
      error_message = "The permissions boundary that comes with create_codebuild_apply_role cuts flow_run_policy_arns down to nothing: say in boundary_statements what flow runs need of them, or give a policy of your own as permissions_boundary."
    }
  }
}
