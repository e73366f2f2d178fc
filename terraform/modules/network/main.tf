data "aws_availability_zones" "available" {
  count = var.create_vpc && length(var.azs) == 0 ? 1 : 0

  state = "available"

  # Local Zones and Wavelength Zones have to be opted into and run no Fargate.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  azs = !var.create_vpc ? [] : (
    length(var.azs) > 0 ? var.azs : slice(data.aws_availability_zones.available[0].names, 0, var.az_count)
  )
  nat_count = { none = 0, single = min(1, length(local.azs)), per_az = length(local.azs) }[var.nat_mode]

  # Private subnets take a sixteenth of the VPC each, from the bottom; public
  # ones, which only hold NAT gateways, a 256th each from the last sixteenth.
  private_cidrs = [for index in range(length(local.azs)) : cidrsubnet(var.vpc_cidr, 4, index)]
  public_cidrs  = [for index in range(length(local.azs)) : cidrsubnet(var.vpc_cidr, 8, 240 + index)]

  vpc_id = var.create_vpc ? aws_vpc.this[0].id : var.vpc_id
}

################################################################################
# VPC and subnets
################################################################################

resource "aws_vpc" "this" {
  count = var.create_vpc ? 1 : 0

  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = merge(var.tags, { Name = var.name })
}

# The default group lets its members talk to each other. Nothing here uses it,
# and nobody should by accident: it is kept without a single rule.
resource "aws_default_security_group" "this" {
  count = var.create_vpc ? 1 : 0

  vpc_id = aws_vpc.this[0].id

  tags = merge(var.tags, { Name = "${var.name}-default-locked" })
}

resource "aws_subnet" "private" {
  count = length(local.azs)

  vpc_id            = aws_vpc.this[0].id
  availability_zone = local.azs[count.index]
  cidr_block        = local.private_cidrs[count.index]

  tags = merge(var.tags, { Name = "${var.name}-private-${local.azs[count.index]}" })
}

resource "aws_subnet" "public" {
  count = length(local.azs)

  vpc_id            = aws_vpc.this[0].id
  availability_zone = local.azs[count.index]
  cidr_block        = local.public_cidrs[count.index]

  # NAT gateways bring their own address; nothing else belongs here.
  map_public_ip_on_launch = false

  tags = merge(var.tags, { Name = "${var.name}-public-${local.azs[count.index]}" })
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
  count = local.nat_count

  domain = "vpc"

  tags = merge(var.tags, { Name = "${var.name}-nat-${local.azs[count.index]}" })

  depends_on = [aws_internet_gateway.this]
}

resource "aws_nat_gateway" "this" {
  count = local.nat_count

  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[count.index].id

  tags = merge(var.tags, { Name = "${var.name}-${local.azs[count.index]}" })

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
  count = length(local.azs)

  route_table_id = aws_route_table.public[0].id
  subnet_id      = aws_subnet.public[count.index].id
}

# One per zone, whatever nat_mode is: changing it later then changes routes only.
resource "aws_route_table" "private" {
  count = length(local.azs)

  vpc_id = aws_vpc.this[0].id

  tags = merge(var.tags, { Name = "${var.name}-private-${local.azs[count.index]}" })
}

resource "aws_route" "private_nat" {
  count = local.nat_count > 0 ? length(local.azs) : 0

  route_table_id         = aws_route_table.private[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[min(count.index, local.nat_count - 1)].id
}

resource "aws_route_table_association" "private" {
  count = length(local.azs)

  route_table_id = aws_route_table.private[count.index].id
  subnet_id      = aws_subnet.private[count.index].id
}

################################################################################
# Security groups. Neither has an ingress rule: worker and flow runs call out,
# nobody calls them. DNS goes to the VPC's own resolver, which no group filters.
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
