# Network: how many of what per nat_mode, and no way in.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name = "data"
}

run "single_nat" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    az_count = 3
    nat_mode = "single"
  }

  assert {
    condition     = length(aws_subnet.private) == 3 && length(aws_subnet.public) == 3
    error_message = "Each of the three zones takes a private and a public subnet."
  }
  assert {
    condition     = length(aws_nat_gateway.this) == 1 && length(aws_eip.nat) == 1
    error_message = "single means one NAT gateway with one address."
  }
  assert {
    condition     = length(aws_route.private_nat) == 3
    error_message = "Every private subnet goes out through the one NAT gateway."
  }
  assert {
    condition = (
      { for letter, subnet in aws_subnet.private : letter => subnet.cidr_block } == { a = "10.42.0.0/20", b = "10.42.16.0/20", c = "10.42.32.0/20" }
      && { for letter, subnet in aws_subnet.public : letter => subnet.cidr_block } == { a = "10.42.240.0/24", b = "10.42.241.0/24", c = "10.42.242.0/24" }
    )
    error_message = "Private subnets lie at the bottom of the VPC, public ones in its last sixteenth."
  }
  assert {
    condition     = alltrue([for subnet in concat(values(aws_subnet.public), values(aws_subnet.private)) : subnet.map_public_ip_on_launch != true])
    error_message = "No subnet gives out public addresses."
  }
}

run "nat_per_az" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    azs      = ["eu-central-1a", "eu-central-1c"]
    nat_mode = "per_az"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 2 && length(aws_eip.nat) == 2 && length(aws_route.private_nat) == 2
    error_message = "per_az means a NAT gateway, an address and a route for each zone."
  }
  assert {
    condition     = { for letter, subnet in aws_subnet.private : letter => subnet.availability_zone } == { a = "eu-central-1a", c = "eu-central-1c" }
    error_message = "Given zones are the ones used."
  }
}

run "no_nat" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    nat_mode = "none"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 0 && length(aws_eip.nat) == 0 && length(aws_route.private_nat) == 0
    error_message = "none means neither NAT gateway nor address nor route out."
  }
  assert {
    condition     = length(aws_route_table.private) == 2
    error_message = "Private subnets keep their own route tables, for routes of the user's."
  }
  assert {
    condition     = length(aws_vpc_endpoint.s3) == 1 && length(aws_vpc_endpoint.interface) + length(aws_security_group.endpoints) == 0
    error_message = "The endpoint that is free is made, those that cost are not."
  }
}

# One more zone, wherever it stands in the list, must leave the others as they are:
# their addresses and ranges, and the place of the NAT gateway.
run "zones_before" {
  command = apply

  module {
    source = "./modules/network"
  }

  variables {
    azs      = ["eu-central-1b", "eu-central-1d"]
    nat_mode = "single"
  }
}

run "one_more_zone" {
  command = apply

  module {
    source = "./modules/network"
  }

  variables {
    azs      = ["eu-central-1b", "eu-central-1a", "eu-central-1d"]
    nat_mode = "single"
  }

  assert {
    condition     = alltrue([for letter in ["b", "d"] : aws_subnet.private[letter].id == run.zones_before.private_subnets[letter]])
    error_message = "The subnets that were there are still the same."
  }
  assert {
    condition     = { for letter, subnet in aws_subnet.private : letter => subnet.cidr_block } == { a = "10.42.0.0/20", b = "10.42.16.0/20", d = "10.42.48.0/20" }
    error_message = "A zone's range follows from its letter and not from its place."
  }
  assert {
    condition     = keys(aws_nat_gateway.this) == ["b"] && output.nat_public_ips == run.zones_before.nat_public_ips
    error_message = "The NAT gateway stays in the first zone, with its address."
  }
  assert {
    condition     = length(output.private_subnet_ids) == 3 && output.private_subnet_ids[1] == aws_subnet.private["a"].id
    error_message = "The new subnet is handed out, in the order of the zones."
  }
}

run "endpoints" {
  command = apply

  module {
    source = "./modules/network"
  }

  variables {
    nat_mode             = "none"
    enable_vpc_endpoints = true
  }

  assert {
    condition     = keys(aws_vpc_endpoint.interface) == ["ec2", "ecr.api", "ecr.dkr", "ecs", "logs", "secretsmanager", "sqs"] && aws_vpc_endpoint.interface["ecr.api"].service_name == "com.amazonaws.eu-central-1.ecr.api"
    error_message = "Each service gets an endpoint of its name."
  }
  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled && endpoint.subnet_ids == toset(values(aws_subnet.private)[*].id) && endpoint.security_group_ids == toset([aws_security_group.endpoints[0].id])])
    error_message = "Endpoints answer to the services' own names, in every private subnet, behind their own group."
  }
  assert {
    condition     = aws_vpc_endpoint.s3[0].route_table_ids == toset(values(aws_route_table.private)[*].id)
    error_message = "S3's endpoint stands in the route table of every private subnet."
  }
  assert {
    condition = (
      toset([for rule in aws_vpc_security_group_ingress_rule.endpoints : rule.referenced_security_group_id]) == toset([aws_security_group.worker.id, aws_security_group.flow_run.id])
      && alltrue([for rule in aws_vpc_security_group_ingress_rule.endpoints : rule.from_port == 443 && rule.to_port == 443 && rule.cidr_ipv4 == null && rule.security_group_id == aws_security_group.endpoints[0].id])
    )
    error_message = "Only worker and flow runs reach the endpoints, only by HTTPS, and no range of addresses does."
  }
  assert {
    condition     = aws_vpc_security_group_egress_rule.flow_run_endpoints[0].referenced_security_group_id == aws_security_group.endpoints[0].id && length(aws_vpc_security_group_egress_rule.flow_run_s3) == 1
    error_message = "Flow runs reach the endpoints whatever else they may reach."
  }
}

run "flow_logs" {
  command = apply

  module {
    source = "./modules/network"
  }

  variables {
    enable_flow_logs            = true
    flow_logs_role_arn          = "arn:aws:iam::123456789012:role/flow-logs"
    flow_logs_retention_in_days = 90
    kms_key_arn                 = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000003"
  }

  assert {
    condition     = aws_flow_log.this[0].traffic_type == "ALL" && aws_flow_log.this[0].iam_role_arn == "arn:aws:iam::123456789012:role/flow-logs" && aws_flow_log.this[0].log_destination == aws_cloudwatch_log_group.flow_logs[0].arn
    error_message = "All traffic goes to the log group, written with the given role."
  }
  assert {
    condition     = aws_cloudwatch_log_group.flow_logs[0].retention_in_days == 90 && aws_cloudwatch_log_group.flow_logs[0].kms_key_id == "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000003"
    error_message = "The log group keeps what it was told to, encrypted with the given key."
  }
}

run "created_subnets_too_small" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    vpc_cidr           = "10.0.0.0/20"
    worker_max_count   = 1
    expected_flow_runs = 501 # 503 addresses over two subnets of 251
  }

  expect_failures = [output.private_subnet_ids]
}

run "created_subnets_large_enough" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    vpc_cidr           = "10.0.0.0/20"
    worker_max_count   = 1
    expected_flow_runs = 500
  }

  assert {
    condition     = local.addresses_needed == 251 && local.created_subnet_size == 251
    error_message = "502 tasks over two subnets need 251 addresses in each, which a /24 has."
  }
}

run "existing_subnets_too_full" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    create_vpc         = false
    vpc_id             = "vpc-0123456789abcdef0"
    private_subnet_ids = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
    worker_max_count   = 3
    expected_flow_runs = 10
  }

  override_data {
    target = data.aws_subnet.existing
    values = { id = "subnet-0123456789abcdef0", availability_zone = "eu-central-1a", available_ip_address_count = 7 }
  }

  expect_failures = [output.private_subnet_ids]
}

run "existing_subnets_full_of_our_own" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    create_vpc         = false
    vpc_id             = "vpc-0123456789abcdef0"
    private_subnet_ids = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
    worker_max_count   = 3
    expected_flow_runs = 10
  }

  override_data {
    target = data.aws_subnet.existing
    values = { id = "subnet-0123456789abcdef0", availability_zone = "eu-central-1a", available_ip_address_count = 7 }
  }
  override_data {
    target = data.aws_network_interfaces.own
    values = { ids = ["eni-0123456789abcdef0"] }
  }

  assert {
    condition     = length(local.subnets_too_small) == 0
    error_message = "An address that this stack's own tasks hold is there for it."
  }
}

run "zones_the_region_has_not" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    az_count = 7
  }

  expect_failures = [aws_vpc.this]
}

run "existing_vpc" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    create_vpc         = false
    vpc_id             = "vpc-0123456789abcdef0"
    private_subnet_ids = ["subnet-0123456789abcdef0"]
    nat_mode           = "per_az"
  }

  assert {
    condition     = length(aws_vpc.this) + length(aws_subnet.private) + length(aws_subnet.public) + length(aws_nat_gateway.this) + length(aws_internet_gateway.this) + length(aws_route_table.private) + length(aws_default_security_group.this) + length(aws_vpc_endpoint.s3) + length(aws_vpc_endpoint.interface) == 0
    error_message = "Nothing of an existing VPC is made or touched."
  }
  assert {
    condition     = output.vpc_id == "vpc-0123456789abcdef0" && output.private_subnet_ids == tolist(["subnet-0123456789abcdef0"])
    error_message = "The existing VPC and subnets are handed through."
  }
  assert {
    condition     = aws_security_group.worker.vpc_id == "vpc-0123456789abcdef0" && aws_security_group.flow_run.vpc_id == "vpc-0123456789abcdef0"
    error_message = "The security groups belong to the existing VPC."
  }
}

run "existing_vpc_with_endpoints" {
  command = apply

  module {
    source = "./modules/network"
  }

  variables {
    create_vpc           = false
    vpc_id               = "vpc-0123456789abcdef0"
    private_subnet_ids   = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
    enable_vpc_endpoints = true
    vpc_endpoints        = ["ecs"]
  }

  assert {
    condition     = length(aws_vpc_endpoint.interface["ecs"].subnet_ids) == 1
    error_message = "Of two subnets in one zone an endpoint takes one: AWS refuses the second."
  }
  assert {
    condition     = aws_vpc_endpoint.s3[0].route_table_ids == toset(["rtb-0123456789abcdef0"])
    error_message = "S3's endpoint stands in the route tables of the given subnets."
  }
}

run "existing_vpc_without_dns_hostnames" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    create_vpc           = false
    vpc_id               = "vpc-0123456789abcdef0"
    private_subnet_ids   = ["subnet-0123456789abcdef0"]
    enable_vpc_endpoints = true
    vpc_endpoints        = ["ecs"]
  }

  override_data {
    target = data.aws_vpc.existing
    values = { enable_dns_support = true, enable_dns_hostnames = false }
  }

  expect_failures = [aws_vpc_endpoint.interface]
}

run "only_ways_out" {
  command = apply

  module {
    source = "./modules/network"
  }

  variables {
    prefect_api_port = 4200
    flow_run_egress_rules = {
      database = { from_port = 5432, to_port = 5432, cidr_ipv4 = "10.0.0.0/8" }
      anything = { ip_protocol = "-1", cidr_ipv4 = "192.168.0.0/16" }
    }
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_egress_rule.worker : rule.from_port]) == toset([443, 4200])
    error_message = "The worker reaches 443 and the port of the Prefect API, and nothing else."
  }
  assert {
    condition     = toset(keys(aws_vpc_security_group_egress_rule.flow_run)) == toset(["prefect-api", "database", "anything"]) && aws_vpc_security_group_egress_rule.flow_run["anything"].from_port == null
    error_message = "Flow runs reach what they are given, and the Prefect API."
  }
  assert {
    condition     = length(aws_security_group.worker.ingress) == 0 && length(aws_security_group.flow_run.ingress) == 0
    error_message = "Neither security group lets anything in."
  }
  assert {
    condition     = length(aws_default_security_group.this[0].ingress) == 0 && length(aws_default_security_group.this[0].egress) == 0
    error_message = "The default security group of the VPC is locked."
  }
}

run "unknown_nat_mode" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    nat_mode = "double"
  }

  expect_failures = [var.nat_mode]
}
