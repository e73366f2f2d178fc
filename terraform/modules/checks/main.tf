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
  subnets = var.enabled ? var.subnets : {}

  routes_expected = var.enabled && var.way_out == "nat" ? local.subnets : {}
  endpoints_expected = var.enabled && var.way_out == "endpoints" ? toset([
    for service in var.endpoints : "com.amazonaws.${data.aws_region.current.id}.${service}"
  ]) : toset([])
}

resource "terraform_data" "vpc_settled" {
  count = var.enabled && var.network_created ? 1 : 0

  input = { id = var.vpc_id, way_out = var.way_out, endpoints = join(" ", sort(var.endpoints)) }
}

resource "terraform_data" "subnet_settled" {
  for_each = var.network_created ? local.subnets : {}

  input = { id = each.value, way_out = var.way_out, expected = var.way_out_details }
}

locals {
  vpc_id     = var.network_created ? one(terraform_data.vpc_settled[*].output.id) : var.vpc_id
  subnet_ids = { for key, id in local.subnets : key => var.network_created ? terraform_data.subnet_settled[key].output.id : id }
}

data "aws_route_tables" "main" {
  count = length(local.subnets) > 0 && var.way_out != "unknown" ? 1 : 0

  vpc_id = local.vpc_id

  filter {
    name   = "association.main"
    values = ["true"]
  }
}

data "aws_route_tables" "subnet" {
  for_each = var.way_out != "unknown" ? local.subnets : {}

  filter {
    name   = "association.subnet-id"
    values = [local.subnet_ids[each.key]]
  }
}

locals {
  # A subnet without a table of its own uses the VPC's main one.
  route_table_ids = {
    for key, tables in data.aws_route_tables.subnet : key => concat(tables.ids, data.aws_route_tables.main[0].ids)[0]
  }
}

data "aws_route_table" "subnet" {
  for_each = local.routes_expected

  route_table_id = local.route_table_ids[each.key]
}

data "aws_nat_gateways" "available" {
  count = length(local.routes_expected) > 0 ? 1 : 0

  vpc_id = local.vpc_id

  filter {
    name   = "state"
    values = ["available"]
  }
}

locals {
  default_routes = {
    for key, table in data.aws_route_table.subnet : key => [for route in table.routes : route if route.cidr_block == "0.0.0.0/0"]
  }
  # Only a gateway can be told to run or not from here. Other ways out (a transit
  # gateway, a firewall's endpoint, an appliance's interface) count as they stand.
  route_problems = {
    for key, routes in local.default_routes : key => (
      length(routes) == 0 ? "has no default route (0.0.0.0/0)" :
      startswith(routes[0].gateway_id, "igw-") ? "has a default route to the internet gateway ${routes[0].gateway_id}, which serves public addresses only, and tasks have none" :
      routes[0].nat_gateway_id != "" && !contains(data.aws_nat_gateways.available[0].ids, routes[0].nat_gateway_id) ? "has a default route to NAT gateway ${routes[0].nat_gateway_id}, which is not available" :
      null
    )
  }
}

resource "terraform_data" "route" {
  for_each = local.routes_expected

  lifecycle {
    precondition {
      condition     = local.route_problems[each.key] == null
      error_message = <<-EOT
        Route: subnet ${local.subnet_ids[each.key]} ${coalesce(local.route_problems[each.key], "is fine")}; its route table is ${local.route_table_ids[each.key]}. Tasks there reach neither the Prefect API nor a registry: they stop with CannotPullContainerError or ResourceInitializationError.
        ${local.to_repair}
      EOT
    }
  }
}

data "aws_vpc_endpoint" "expected" {
  for_each = local.endpoints_expected

  vpc_id       = local.vpc_id
  service_name = each.key
  state        = "available"
}

resource "terraform_data" "endpoint" {
  for_each = local.endpoints_expected

  lifecycle {
    precondition {
      condition = data.aws_vpc_endpoint.expected[each.key].vpc_endpoint_type == "Gateway" ? (
        length(setsubtract(values(local.route_table_ids), data.aws_vpc_endpoint.expected[each.key].route_table_ids)) == 0
      ) : data.aws_vpc_endpoint.expected[each.key].private_dns_enabled
      error_message = <<-EOT
        Route: endpoint ${data.aws_vpc_endpoint.expected[each.key].id} for ${each.key} does not serve the private subnets: ${data.aws_vpc_endpoint.expected[each.key].vpc_endpoint_type == "Gateway" ? "it is missing in route table ${join(", ", setsubtract(values(local.route_table_ids), data.aws_vpc_endpoint.expected[each.key].route_table_ids))}" : "private DNS is off, so the service's name leads outside"}. Without NAT gateway tasks do not reach the service.
        ${local.to_repair}
      EOT
    }
  }
}

################################################################################
# Trust: ECS may take each role for a task
################################################################################

locals {
  roles = var.enabled ? var.roles : {}
}

resource "terraform_data" "role_settled" {
  for_each = { for key, role in local.roles : key => role if role.created }

  input = each.value.arn
}

data "aws_iam_role" "this" {
  for_each = local.roles

  # The name is what follows the last slash: before it stands the path.
  name = reverse(split("/", each.value.created ? terraform_data.role_settled[each.key].output : each.value.arn))[0]
}

locals {
  # IAM takes one for a list of one everywhere, and knows no case in actions.
  trusted = {
    for key, role in data.aws_iam_role.this : key => anytrue([
      for statement in flatten([jsondecode(role.assume_role_policy).Statement]) :
      statement.Effect == "Allow"
      && contains(flatten([try(statement.Principal.Service, [])]), "ecs-tasks.amazonaws.com")
      && anytrue([for action in flatten([try(statement.Action, [])]) : contains(["sts:assumerole", "sts:*", "*"], lower(action))])
    ])
  }
}

resource "terraform_data" "trust" {
  for_each = local.roles

  lifecycle {
    precondition {
      condition     = local.trusted[each.key]
      error_message = <<-EOT
        Trust policy: role ${data.aws_iam_role.this[each.key].arn} (${each.key}) does not let ecs-tasks.amazonaws.com assume it, so ECS starts no task with it. Its trust policy needs a statement that allows sts:AssumeRole to {"Service": "ecs-tasks.amazonaws.com"}.
        ${each.value.created ? local.to_repair : "The role is not made here: correct its trust policy, or leave this check out with ${var.switch} = false."}
      EOT
    }
  }
}

locals {
  to_repair = var.network_created ? "If the module makes it, let it put that right: terraform apply with ${var.switch} = false, then without." : "Put that right, or leave this check out with ${var.switch} = false."
}
