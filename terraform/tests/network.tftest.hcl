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
    condition     = aws_subnet.private[*].cidr_block == ["10.42.0.0/20", "10.42.16.0/20", "10.42.32.0/20"] && aws_subnet.public[*].cidr_block == ["10.42.240.0/24", "10.42.241.0/24", "10.42.242.0/24"]
    error_message = "Private subnets lie at the bottom of the VPC, public ones in its last sixteenth."
  }
  assert {
    condition     = alltrue([for subnet in concat(aws_subnet.public, aws_subnet.private) : subnet.map_public_ip_on_launch != true])
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
    condition     = aws_subnet.private[*].availability_zone == ["eu-central-1a", "eu-central-1c"]
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
    condition     = length(aws_vpc.this) + length(aws_subnet.private) + length(aws_subnet.public) + length(aws_nat_gateway.this) + length(aws_internet_gateway.this) + length(aws_route_table.private) + length(aws_default_security_group.this) == 0
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
