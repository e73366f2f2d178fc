# What a plan refuses: subnets without a way out, roles that ECS may not take. The
# mocks show a stack in good order; each run breaks one thing of it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  vpc_id  = "vpc-0123456789abcdef0"
  subnets = { a = "subnet-0123456789abcdef0" }
  roles   = { worker = { arn = "arn:aws:iam::123456789012:role/team/data-worker", created = false } }
}

run "in_good_order" {
  command = plan

  module {
    source = "./modules/checks"
  }

  assert {
    condition     = local.route_problems == { a = "" } && local.trusted == { worker = true }
    error_message = "Nothing is wrong with a stack in good order."
  }
  assert {
    condition     = data.aws_iam_role.this["worker"].name == "data-worker"
    error_message = "A role with a path is looked up by its name."
  }
}

run "no_default_route" {
  command = plan

  module {
    source = "./modules/checks"
  }

  override_data {
    target = data.aws_route_table.subnet
    values = { routes = [] }
  }

  expect_failures = [terraform_data.route["a"]]
}

run "nat_gateway_gone" {
  command = plan

  module {
    source = "./modules/checks"
  }

  override_data {
    target = data.aws_nat_gateways.available
    values = { ids = ["nat-of-somebody-else"] }
  }

  expect_failures = [terraform_data.route["a"]]
}

run "route_to_the_internet_gateway" {
  command = plan

  module {
    source = "./modules/checks"
  }

  override_data {
    target = data.aws_route_table.subnet
    values = { routes = [{
      cidr_block                 = "0.0.0.0/0"
      gateway_id                 = "igw-0123456789abcdef0"
      nat_gateway_id             = ""
      carrier_gateway_id         = ""
      core_network_arn           = ""
      destination_prefix_list_id = ""
      egress_only_gateway_id     = ""
      instance_id                = ""
      ipv6_cidr_block            = ""
      local_gateway_id           = ""
      network_interface_id       = ""
      transit_gateway_id         = ""
      vpc_endpoint_id            = ""
      vpc_peering_connection_id  = ""
    }] }
  }

  expect_failures = [terraform_data.route["a"]]
}

run "route_to_a_transit_gateway" {
  command = plan

  module {
    source = "./modules/checks"
  }

  override_data {
    target = data.aws_route_table.subnet
    values = { routes = [{
      cidr_block                 = "0.0.0.0/0"
      gateway_id                 = ""
      nat_gateway_id             = ""
      carrier_gateway_id         = ""
      core_network_arn           = ""
      destination_prefix_list_id = ""
      egress_only_gateway_id     = ""
      instance_id                = ""
      ipv6_cidr_block            = ""
      local_gateway_id           = ""
      network_interface_id       = ""
      transit_gateway_id         = "tgw-0123456789abcdef0"
      vpc_endpoint_id            = ""
      vpc_peering_connection_id  = ""
    }] }
  }

  assert {
    condition     = local.route_problems == { a = "" }
    error_message = "A way out need not be a NAT gateway."
  }
}

run "endpoints_in_good_order" {
  command = plan

  module {
    source = "./modules/checks"
  }

  variables {
    way_out   = "endpoints"
    endpoints = ["ecs", "ecr.api"]
  }

  assert {
    condition     = keys(data.aws_vpc_endpoint.interface) == ["com.amazonaws.eu-central-1.ecr.api", "com.amazonaws.eu-central-1.ecs"] && length(data.aws_route_table.subnet) == 0
    error_message = "Endpoints are looked for by the name of their service, and routes are not."
  }
}

run "s3_endpoint_in_other_route_tables" {
  command = plan

  module {
    source = "./modules/checks"
  }

  variables {
    way_out   = "endpoints"
    endpoints = ["ecs"]
  }

  override_data {
    target = data.aws_vpc_endpoint.s3
    values = { route_table_ids = ["rtb-of-somebody-else"] }
  }

  expect_failures = [terraform_data.s3_endpoint["a"]]
}

run "endpoint_without_private_dns" {
  command = plan

  module {
    source = "./modules/checks"
  }

  variables {
    way_out   = "endpoints"
    endpoints = ["ecs"]
  }

  override_data {
    target = data.aws_vpc_endpoint.interface
    values = { private_dns_enabled = false }
  }

  expect_failures = [terraform_data.endpoint["com.amazonaws.eu-central-1.ecs"]]
}

run "trusts_somebody_else" {
  command = plan

  module {
    source = "./modules/checks"
  }

  override_data {
    target = data.aws_iam_role.this
    values = { assume_role_policy = "{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"ec2.amazonaws.com\"},\"Action\":\"sts:AssumeRole\"}}" }
  }

  expect_failures = [terraform_data.trust["worker"]]
}

run "refuses_ecs" {
  command = plan

  module {
    source = "./modules/checks"
  }

  override_data {
    target = data.aws_iam_role.this
    values = { assume_role_policy = "{\"Statement\":[{\"Effect\":\"Deny\",\"Principal\":{\"Service\":\"ecs-tasks.amazonaws.com\"},\"Action\":\"sts:AssumeRole\"}]}" }
  }

  expect_failures = [terraform_data.trust["worker"]]
}

run "trusts_ecs_among_others" {
  command = plan

  module {
    source = "./modules/checks"
  }

  override_data {
    target = data.aws_iam_role.this
    values = { assume_role_policy = "{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":{\"Service\":[\"ec2.amazonaws.com\",\"ecs-tasks.amazonaws.com\"]},\"Action\":[\"sts:TagSession\",\"sts:AssumeRole\"]}}" }
  }

  assert {
    condition     = local.trusted == { worker = true }
    error_message = "One for a list of one, and lists, are both IAM's way."
  }
}

run "switched_off" {
  command = plan

  module {
    source = "./modules/checks"
  }

  variables {
    enabled = false
  }

  assert {
    condition     = length(data.aws_route_tables.subnet) + length(data.aws_route_table.subnet) + length(data.aws_nat_gateways.available) + length(data.aws_iam_role.this) == 0
    error_message = "Switched off, nothing is asked."
  }
  assert {
    condition     = length(terraform_data.route) == 1 && length(terraform_data.trust) == 1
    error_message = "What stands in the state stays: off and on again is no change."
  }
}

# What the same configuration makes is not looked at before it is there.
run "made_here" {
  command = apply

  module {
    source = "./modules/checks"
  }

  variables {
    network_created = true
    roles           = { worker = { arn = "arn:aws:iam::123456789012:role/team/data-worker", created = true } }
  }

  assert {
    condition     = terraform_data.subnet_settled["a"].output.id == "subnet-0123456789abcdef0" && terraform_data.role_settled["worker"].output == "arn:aws:iam::123456789012:role/team/data-worker"
    error_message = "From now on a plan knows what to look at, from the state."
  }
}

run "made_here_and_broken" {
  command = plan

  module {
    source = "./modules/checks"
  }

  variables {
    network_created = true
    roles           = { worker = { arn = "arn:aws:iam::123456789012:role/team/data-worker", created = true } }
  }

  override_data {
    target = data.aws_route_table.subnet
    values = { routes = [] }
  }

  expect_failures = [terraform_data.route["a"]]
}

run "made_here_broken_and_switched_off" {
  command = plan

  module {
    source = "./modules/checks"
  }

  variables {
    enabled         = false
    network_created = true
    roles           = { worker = { arn = "arn:aws:iam::123456789012:role/team/data-worker", created = true } }
  }

  override_data {
    target = data.aws_route_table.subnet
    values = { routes = [] }
  }
}

# The caller now means another way out: the routes of before are no fault.
run "made_here_and_changing" {
  command = plan

  module {
    source = "./modules/checks"
  }

  variables {
    network_created = true
    way_out_details = "per_az"
    roles           = { worker = { arn = "arn:aws:iam::123456789012:role/team/data-worker", created = true } }
  }

  override_data {
    target = data.aws_route_table.subnet
    values = { routes = [] }
  }
}
