# Credentials come from where the AWS CLI takes them: environment, profile or role.
provider "aws" {
  region = var.region
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  issuer       = "token.actions.githubusercontent.com"
  provider_arn = var.create_oidc_provider ? aws_iam_openid_connect_provider.github[0].arn : "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:oidc-provider/${local.issuer}"

  bucket_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.state_bucket}"
  state_arn  = "${local.bucket_arn}/${var.state_key}"

  # Who may take which role. The subject names repository and occasion: without
  # it any workflow on GitHub, of anybody, would do
  # (docs.github.com/en/actions/reference/security/oidc).
  roles = {
    plan = {
      description = "Plans of ${var.repository}: on its branch, and on requests to change it"
      subjects    = ["repo:${var.repository}:ref:refs/heads/${var.branch}", "repo:${var.repository}:pull_request"]
      policies    = var.plan_policy_arns
      state       = ["s3:GetObject"]
    }
    # Only jobs of the environment get this subject, and GitHub holds those back
    # until somebody whom the environment names has approved.
    apply = {
      description = "Approved plans of ${var.repository}"
      subjects    = ["repo:${var.repository}:environment:${var.environment}"]
      policies    = var.apply_policy_arns
      state       = ["s3:GetObject", "s3:PutObject"]
    }
  }

  attachments = merge([for name, role in local.roles : {
    for key, arn in role.policies : "${name}/${key}" => { role = name, arn = arn }
  }]...)
}

# One for the whole account. AWS knows GitHub's certificates: no thumbprint.
resource "aws_iam_openid_connect_provider" "github" {
  count = var.create_oidc_provider ? 1 : 0

  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]

  tags = var.tags
}

resource "aws_iam_role" "this" {
  for_each = local.roles

  name_prefix          = "${var.name}-github-${each.key}-"
  description          = each.value.description
  max_session_duration = 3600
  permissions_boundary = var.permissions_boundary

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Workflow"
        Effect    = "Allow"
        Principal = { Federated = local.provider_arn }
        Action    = "sts:AssumeRoleWithWebIdentity"
        Condition = { StringEquals = {
          "${local.issuer}:aud" = "sts.amazonaws.com"
          "${local.issuer}:sub" = each.value.subjects
        } }
      },
    ]
  })

  tags = var.tags
}

resource "aws_iam_role_policy" "state" {
  for_each = local.roles

  name = "state"
  role = aws_iam_role.this[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Sid = "State", Effect = "Allow", Action = each.value.state, Resource = local.state_arn },
      { Sid = "Lock", Effect = "Allow", Action = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], Resource = "${local.state_arn}.tflock" },
      { Sid = "Bucket", Effect = "Allow", Action = "s3:ListBucket", Resource = local.bucket_arn },
    ]
  })
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each = local.attachments

  role       = aws_iam_role.this[each.value.role].name
  policy_arn = each.value.arn
}
