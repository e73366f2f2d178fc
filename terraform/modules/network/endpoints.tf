# Ways to AWS's own services that need no NAT gateway.

data "aws_region" "current" {}

locals {
  s3_endpoint        = coalesce(var.enable_s3_endpoint, var.create_vpc || var.enable_vpc_endpoints)
  interface_services = var.enable_vpc_endpoints ? toset(var.vpc_endpoints) : toset([])
  service_prefix     = "com.amazonaws.${data.aws_region.current.id}"
}

# An interface endpoint takes one subnet of a zone at most, so the zones of
# existing subnets have to be known; so do their free addresses.
data "aws_subnet" "existing" {
  count = var.create_vpc ? 0 : length(var.private_subnet_ids)

  id = var.private_subnet_ids[count.index]
}

data "aws_vpc" "existing" {
  count = !var.create_vpc && var.enable_vpc_endpoints ? 1 : 0

  id = var.vpc_id
}

data "aws_route_tables" "existing" {
  count = !var.create_vpc && local.s3_endpoint ? 1 : 0

  vpc_id = var.vpc_id

  filter {
    name   = "association.subnet-id"
    values = var.private_subnet_ids
  }
}

################################################################################
# S3: where the layers of ECR's images lie. A gateway endpoint costs nothing,
# neither by the hour nor by the byte, and spares what a NAT gateway would charge
# for each pull: https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html
################################################################################

resource "aws_vpc_endpoint" "s3" {
  count = local.s3_endpoint ? 1 : 0

  vpc_id            = local.vpc_id
  service_name      = "${local.service_prefix}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.create_vpc ? values(aws_route_table.private)[*].id : data.aws_route_tables.existing[0].ids

  tags = merge(var.tags, { Name = "${var.name}-s3" })
}

################################################################################
# Interface endpoints, and the one group here that lets anything in: HTTPS, from
# the groups of the worker and of the flow runs and from nowhere else. It belongs
# to the endpoints' own network interfaces; no task is in it.
################################################################################

resource "aws_security_group" "endpoints" {
  count = var.enable_vpc_endpoints ? 1 : 0

  name        = "${var.name}-endpoints"
  description = "VPC endpoints: HTTPS from the tasks of ${var.name} only"
  vpc_id      = local.vpc_id

  tags = merge(var.tags, { Name = "${var.name}-endpoints" })
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each = var.enable_vpc_endpoints ? {
    worker   = aws_security_group.worker.id
    flow-run = aws_security_group.flow_run.id
  } : {}

  security_group_id            = aws_security_group.endpoints[0].id
  description                  = "HTTPS from ${each.key == "worker" ? "the worker" : "flow runs"}"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = each.value

  tags = merge(var.tags, { Name = "${var.name}-endpoints-${each.key}" })
}

# ECS pulls images, reads secrets and writes logs through the task's own network
# interface: flow runs need the endpoints even if flow_run_egress_rules lets them
# reach nothing else.
resource "aws_vpc_security_group_egress_rule" "flow_run_endpoints" {
  count = var.enable_vpc_endpoints ? 1 : 0

  security_group_id            = aws_security_group.flow_run.id
  description                  = "VPC endpoints"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.endpoints[0].id

  tags = merge(var.tags, { Name = "${var.name}-flow-run-endpoints" })
}

resource "aws_vpc_security_group_egress_rule" "flow_run_s3" {
  count = var.enable_vpc_endpoints && local.s3_endpoint ? 1 : 0

  security_group_id = aws_security_group.flow_run.id
  description       = "Image layers in S3"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  prefix_list_id    = aws_vpc_endpoint.s3[0].prefix_list_id

  tags = merge(var.tags, { Name = "${var.name}-flow-run-s3" })
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.interface_services

  vpc_id              = local.vpc_id
  service_name        = "${local.service_prefix}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  security_group_ids  = [aws_security_group.endpoints[0].id]
  subnet_ids = var.create_vpc ? local.private_subnet_ids : [
    for az, ids in { for subnet in data.aws_subnet.existing : subnet.availability_zone => subnet.id... } : ids[0]
  ]

  tags = merge(var.tags, { Name = "${var.name}-${each.key}" })

  # Whoever waits for an endpoint waits until it can be reached.
  depends_on = [aws_vpc_security_group_ingress_rule.endpoints]

  lifecycle {
    precondition {
      condition     = var.create_vpc || try(data.aws_vpc.existing[0].enable_dns_support && data.aws_vpc.existing[0].enable_dns_hostnames, false)
      error_message = "Interface endpoints answer to the services' own names, for which ${coalesce(var.vpc_id, "the VPC")} must have DNS support and DNS hostnames on: aws ec2 modify-vpc-attribute --vpc-id ${coalesce(var.vpc_id, "ID")} --enable-dns-hostnames."
    }
  }
}
