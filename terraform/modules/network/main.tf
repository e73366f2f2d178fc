data "aws_availability_zones" "available" {
  # checkov:skip=CKV_AWS_394:of the zones the first `az_count` are taken, and a new one of AWS's is not among them unless its name sorts before; `azs` names them
  count = var.create_vpc && length(var.azs) == 0 ? 1 : 0

  state = "available"

  # Local Zones and Wavelength Zones have to be opted into and run no Fargate.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }

  # Zones without Fargate: those that AWS leaves out where it notes "only" beside a region,
  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/AWS_Fargate-Regions.html
  exclude_zone_ids = ["apne1-az3", "cac1-az3", "usw1-az2"]
}

locals {
  azs = !var.create_vpc ? [] : (
    length(var.azs) > 0 ? var.azs : slice(
      data.aws_availability_zones.available[0].names, 0,
      min(var.az_count, length(data.aws_availability_zones.available[0].names)),
    )
  )

  # All that belongs to a zone is addressed by the zone's letter, and a zone's
  # ranges follow from its letter, too. So a zone can be added or taken away
  # anywhere in the list, and nothing of the others moves.
  zones   = { for az in local.azs : substr(az, -1, 1) => az }
  letters = split("", "abcdefghijklmno")

  # Private subnets take a sixteenth of the VPC each, from the bottom; public
  # ones, which only hold NAT gateways, a 256th each from the last sixteenth.
  private_cidrs = { for letter, az in local.zones : letter => cidrsubnet(var.vpc_cidr, 4, index(local.letters, letter)) }
  public_cidrs  = { for letter, az in local.zones : letter => cidrsubnet(var.vpc_cidr, 8, 240 + index(local.letters, letter)) }

  # The first zone of the list holds the single NAT gateway: it alone must stay the first.
  first_zone = try(substr(local.azs[0], -1, 1), null)
  nat_zones = {
    none   = {}
    single = { for letter, az in local.zones : letter => az if letter == local.first_zone }
    per_az = local.zones
  }[var.nat_mode]

  vpc_id             = var.create_vpc ? aws_vpc.this[0].id : var.vpc_id
  private_subnet_ids = var.create_vpc ? [for az in local.azs : aws_subnet.private[substr(az, -1, 1)].id] : var.private_subnet_ids
}

################################################################################
# VPC and subnets
################################################################################

resource "aws_vpc" "this" {
  # checkov:skip=CKV2_AWS_11:flow logs are charged by the gigabyte, and say nothing that the groups without ingress do not; `enable_flow_logs` switches them on
  count = var.create_vpc ? 1 : 0

  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = merge(var.tags, { Name = var.name })

  lifecycle {
    precondition {
      condition     = length(var.azs) > 0 || length(local.azs) == var.az_count
      error_message = "az_count is ${var.az_count}, but only ${length(local.azs)} zones of the region run Fargate: ${join(", ", local.azs)}."
    }
  }
}

# The default group lets its members talk to each other. Nothing here uses it,
# and nobody should by accident: it is kept without a single rule.
resource "aws_default_security_group" "this" {
  count = var.create_vpc ? 1 : 0

  vpc_id = aws_vpc.this[0].id

  tags = merge(var.tags, { Name = "${var.name}-default-locked" })
}

resource "aws_subnet" "private" {
  for_each = local.zones

  vpc_id            = aws_vpc.this[0].id
  availability_zone = each.value
  cidr_block        = local.private_cidrs[each.key]

  map_public_ip_on_launch = false

  tags = merge(var.tags, { Name = "${var.name}-private-${each.value}" })
}

resource "aws_subnet" "public" {
  for_each = local.zones

  vpc_id            = aws_vpc.this[0].id
  availability_zone = each.value
  cidr_block        = local.public_cidrs[each.key]

  # NAT gateways bring their own address; nothing else belongs here.
  map_public_ip_on_launch = false

  tags = merge(var.tags, { Name = "${var.name}-public-${each.value}" })
}

################################################################################
# Ways out
################################################################################

resource "aws_internet_gateway" "this" {
  count = var.create_vpc ? 1 : 0

  vpc_id = aws_vpc.this[0].id

  tags = merge(var.tags, { Name = var.name })
}

resource "aws_eip" "nat" {
  for_each = local.nat_zones

  domain = "vpc"

  tags = merge(var.tags, { Name = "${var.name}-nat-${each.value}" })

  depends_on = [aws_internet_gateway.this]
}

resource "aws_nat_gateway" "this" {
  for_each = local.nat_zones

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id

  tags = merge(var.tags, { Name = "${var.name}-${each.value}" })

  depends_on = [aws_internet_gateway.this]
}

resource "aws_route_table" "public" {
  count = var.create_vpc ? 1 : 0

  vpc_id = aws_vpc.this[0].id

  tags = merge(var.tags, { Name = "${var.name}-public" })
}

resource "aws_route" "public_internet" {
  count = var.create_vpc ? 1 : 0

  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

resource "aws_route_table_association" "public" {
  for_each = local.zones

  route_table_id = aws_route_table.public[0].id
  subnet_id      = aws_subnet.public[each.key].id
}

# One per zone, whatever nat_mode is: changing it later then changes routes only.
resource "aws_route_table" "private" {
  for_each = local.zones

  vpc_id = aws_vpc.this[0].id

  tags = merge(var.tags, { Name = "${var.name}-private-${each.value}" })
}

resource "aws_route" "private_nat" {
  for_each = var.nat_mode == "none" ? {} : local.zones

  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[var.nat_mode == "per_az" ? each.key : local.first_zone].id
}

resource "aws_route_table_association" "private" {
  for_each = local.zones

  route_table_id = aws_route_table.private[each.key].id
  subnet_id      = aws_subnet.private[each.key].id
}

################################################################################
# Security groups of the tasks. Neither has an ingress rule: worker and flow runs
# call out, nobody calls them. DNS goes to the VPC's own resolver, which no group
# filters.
################################################################################

locals {
  prefect_api_rule = var.prefect_api_port == 443 ? {} : {
    prefect-api = {
      description = "Prefect API"
      ip_protocol = "tcp"
      from_port   = var.prefect_api_port
      to_port     = var.prefect_api_port
      cidr_ipv4   = "0.0.0.0/0"
    }
  }

  worker_egress_rules = merge({
    https = {
      description = "Prefect, AWS APIs and image registries"
      ip_protocol = "tcp"
      from_port   = 443
      to_port     = 443
      cidr_ipv4   = "0.0.0.0/0"
    }
  }, local.prefect_api_rule)
}

resource "aws_security_group" "worker" {
  # checkov:skip=CKV2_AWS_5:no input: modules/service gives it to the worker's service, which this check cannot see
  name        = "${var.name}-worker"
  description = "Prefect worker: calls out only"
  vpc_id      = local.vpc_id

  tags = merge(var.tags, { Name = "${var.name}-worker" })
}

resource "aws_vpc_security_group_egress_rule" "worker" {
  for_each = local.worker_egress_rules

  security_group_id = aws_security_group.worker.id
  description       = each.value.description
  ip_protocol       = each.value.ip_protocol
  from_port         = each.value.from_port
  to_port           = each.value.to_port
  cidr_ipv4         = each.value.cidr_ipv4

  tags = merge(var.tags, { Name = "${var.name}-worker-${each.key}" })
}

resource "aws_security_group" "flow_run" {
  # checkov:skip=CKV2_AWS_5:no input: the worker gives it to each flow run when it starts it, which this check cannot see
  name        = "${var.name}-flow-run"
  description = "Prefect flow runs: call out only"
  vpc_id      = local.vpc_id

  tags = merge(var.tags, { Name = "${var.name}-flow-run" })
}

resource "aws_vpc_security_group_egress_rule" "flow_run" {
  for_each = merge(local.prefect_api_rule, var.flow_run_egress_rules)

  security_group_id = aws_security_group.flow_run.id
  description       = each.value.description
  ip_protocol       = each.value.ip_protocol
  from_port         = each.value.ip_protocol == "-1" ? null : each.value.from_port
  to_port           = each.value.ip_protocol == "-1" ? null : each.value.to_port
  cidr_ipv4         = each.value.cidr_ipv4

  tags = merge(var.tags, { Name = "${var.name}-flow-run-${each.key}" })
}
