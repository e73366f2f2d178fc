# What is read back from AWS here is asked for at each plan, so that a plan fails,
# naming the culprit, when somebody changed by hand what tasks need to start.
#
# Three rules of Terraform's shape this file:
#
# - A `check` block only warns. What has to fail is a precondition, and one of a
#   resource of its own: a data source that had the condition itself would be read
#   only at apply as soon as anything it depends on, however indirectly, is about
#   to change. A route that was deleted by hand is: Terraform plans it anew, and
#   the condition would be put off until nobody needs it.
# - On the first apply the opposite is wanted: nothing may be read before all that
#   the stack makes is there. `terraform_data.*_settled` take their input from
#   outputs that wait for that. Their own output is unknown until they were once
#   created, and known, from the state, at each plan from then on.
# - When the caller changes what is to be expected (another NAT mode, one more
#   endpoint), that stands in the input as well: the output is unknown again for
#   that one plan, and the condition is looked at after the change.
#
# What exists already is asked about at once, at the very first plan.

################################################################################
# Routes: each subnet reaches a NAT gateway that runs, or the endpoints are there
################################################################################

data "aws_region" "current" {}

locals {
  subnets            = var.way_out == "unknown" ? {} : var.subnets
  subnets_with_nat   = var.way_out == "nat" ? var.subnets : {}
  subnets_without    = var.way_out == "endpoints" ? var.subnets : {}
  service_prefix     = "com.amazonaws.${data.aws_region.current.id}"
  interface_services = var.way_out == "endpoints" ? toset([for service in var.endpoints : "${local.service_prefix}.${service}"]) : toset([])
}

# Switched off, only what is read from AWS goes away: what stands in the state
# stays, so that switching off and on again is no change.

resource "terraform_data" "subnet_settled" {
  for_each = var.network_created ? local.subnets : {}

  input = { id = each.value, vpc_id = var.vpc_id, way_out = var.way_out, details = var.way_out_details }
}

locals {
  # By subnet, the VPC too: what is read for a subnet that is added must be read
  # after it was, while the others are looked at in the plan.
  places = {
    for key, id in local.subnets : key => (
      var.network_created ? { id = terraform_data.subnet_settled[key].output.id, vpc_id = terraform_data.subnet_settled[key].output.vpc_id } : { id = id, vpc_id = var.vpc_id }
    )
  }
}

data "aws_route_tables" "main" {
  for_each = var.enabled ? local.subnets : {}

  vpc_id = local.places[each.key].vpc_id

  filter {
    name   = "association.main"
    values = ["true"]
  }
}

data "aws_route_tables" "subnet" {
  for_each = var.enabled ? local.subnets : {}

  filter {
    name   = "association.subnet-id"
    values = [local.places[each.key].id]
  }
}

locals {
  # A subnet without a table of its own uses the VPC's main one.
  has_own_table = { for key, tables in data.aws_route_tables.subnet : key => length(tables.ids) > 0 }
  route_table_ids = {
    for key, tables in data.aws_route_tables.subnet : key => try(concat(tables.ids, data.aws_route_tables.main[key].ids)[0], "none")
  }
}

data "aws_route_table" "subnet" {
  for_each = var.enabled ? local.subnets_with_nat : {}

  vpc_id = local.places[each.key].vpc_id

  filter {
    name   = local.has_own_table[each.key] ? "association.subnet-id" : "association.main"
    values = [local.has_own_table[each.key] ? local.places[each.key].id : "true"]
  }
}

data "aws_nat_gateways" "available" {
  for_each = var.enabled ? local.subnets_with_nat : {}

  vpc_id = local.places[each.key].vpc_id

  filter {
    name   = "state"
    values = ["available"]
  }
}

locals {
  default_routes = {
    for key, table in data.aws_route_table.subnet : key => [for route in table.routes : route if route.cidr_block == "0.0.0.0/0"]
  }
  # Only a NAT gateway can be told to run or not from here. Other ways out (a
  # transit gateway, a firewall's endpoint, an appliance) count as they stand.
  route_problems = {
    for key, routes in local.default_routes : key => (
      length(routes) == 0 ? "has no default route (0.0.0.0/0)" :
      try(startswith(routes[0].gateway_id, "igw-"), false) ? "has a default route to the internet gateway ${routes[0].gateway_id}, which serves public addresses only, and tasks have none" :
      try(startswith(routes[0].nat_gateway_id, "nat-"), false) && !contains(data.aws_nat_gateways.available[key].ids, routes[0].nat_gateway_id) ? "has a default route to NAT gateway ${routes[0].nat_gateway_id}, which is not available" :
      ""
    )
  }
}

resource "terraform_data" "route" {
  for_each = local.subnets_with_nat

  lifecycle {
    precondition {
      condition     = lookup(local.route_problems, each.key, "") == ""
      error_message = <<-EOT
        Route: subnet ${local.places[each.key].id} ${lookup(local.route_problems, each.key, "")}; its route table is ${lookup(local.route_table_ids, each.key, "none")}. Tasks there reach neither the Prefect API nor a registry, and stop with CannotPullContainerError or ResourceInitializationError.
        ${local.to_repair}
      EOT
    }
  }
}

# Without a NAT gateway: image layers come through the gateway endpoint for S3,
# which works for the subnets whose route table it stands in.

data "aws_vpc_endpoint" "s3" {
  for_each = var.enabled ? local.subnets_without : {}

  vpc_id       = local.places[each.key].vpc_id
  service_name = "${local.service_prefix}.s3"
  state        = "available"

  filter {
    name   = "vpc-endpoint-type"
    values = ["Gateway"]
  }
}

locals {
  s3_problems = {
    for key, endpoint in data.aws_vpc_endpoint.s3 : key => contains(endpoint.route_table_ids, local.route_table_ids[key]) ? "" : (
      "endpoint ${endpoint.id} for S3 does not stand in route table ${local.route_table_ids[key]}"
    )
  }
}

resource "terraform_data" "s3_endpoint" {
  for_each = local.subnets_without

  lifecycle {
    precondition {
      condition     = lookup(local.s3_problems, each.key, "") == ""
      error_message = <<-EOT
        Route: ${lookup(local.s3_problems, each.key, "")} of subnet ${local.places[each.key].id}. Tasks there cannot pull images: the layers of ECR's images lie in S3.
        ${local.to_repair}
      EOT
    }
  }
}

# And everything else through interface endpoints that answer to the services' own
# names. One that is missing ends the plan in the data source, whose key names it.

resource "terraform_data" "endpoints_settled" {
  count = var.network_created && var.way_out == "endpoints" ? 1 : 0

  input = { vpc_id = var.vpc_id, endpoints = join(" ", sort(var.endpoints)) }

  depends_on = [terraform_data.subnet_settled]
}

data "aws_vpc_endpoint" "interface" {
  for_each = var.enabled ? local.interface_services : toset([])

  vpc_id       = var.network_created ? terraform_data.endpoints_settled[0].output.vpc_id : var.vpc_id
  service_name = each.key
  state        = "available"
}

resource "terraform_data" "endpoint" {
  for_each = local.interface_services

  lifecycle {
    precondition {
      condition     = alltrue([for service, endpoint in data.aws_vpc_endpoint.interface : endpoint.private_dns_enabled if service == each.key])
      error_message = <<-EOT
        Route: private DNS of endpoint ${join("", [for service, endpoint in data.aws_vpc_endpoint.interface : endpoint.id if service == each.key])} for ${each.key} is off, so the service's name leads outside, where there is no way to.
        ${local.to_repair}
      EOT
    }
  }
}

################################################################################
# Trust: ECS may take each role for a task
################################################################################

resource "terraform_data" "role_settled" {
  for_each = { for key, role in var.roles : key => role if role.created }

  input = each.value.arn
}

data "aws_iam_role" "this" {
  for_each = var.enabled ? var.roles : {}

  # The name is what follows the last slash: before it stands the path.
  name = reverse(split("/", each.value.created ? terraform_data.role_settled[each.key].output : each.value.arn))[0]
}

locals {
  # IAM takes one for a list of one everywhere, and knows no case in actions.
  trusted = {
    for key, role in data.aws_iam_role.this : key => anytrue([
      for statement in try(flatten([jsondecode(role.assume_role_policy).Statement]), []) :
      try(statement.Effect, "") == "Allow"
      && contains(flatten([try(statement.Principal.Service, [])]), "ecs-tasks.amazonaws.com")
      && anytrue([for action in flatten([try(statement.Action, [])]) : contains(["sts:assumerole", "sts:*", "*"], lower(action))])
    ])
  }
}

resource "terraform_data" "trust" {
  for_each = var.roles

  lifecycle {
    precondition {
      condition     = lookup(local.trusted, each.key, true)
      error_message = <<-EOT
        Trust policy: role ${each.value.arn} (${each.key}) does not let ecs-tasks.amazonaws.com assume it, so ECS starts no task with it. Its trust policy needs a statement that allows sts:AssumeRole to {"Service": "ecs-tasks.amazonaws.com"}.
        ${each.value.created ? local.by_itself : "The role is not made here: correct it, or leave the check out with ${var.switch} = false."}
      EOT
    }
  }
}

locals {
  by_itself = "Terraform would put that right: apply once with ${var.switch} = false, and find out who changed it."
  to_repair = var.network_created ? local.by_itself : "Put that right, or leave the check out with ${var.switch} = false."
}
