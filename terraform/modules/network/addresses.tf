# Each Fargate task takes an address of its own. A subnet that runs out of them is
# noticed late: RunTask succeeds, and the task then stops with RESOURCE:ENI.

# The addresses that this stack holds already are not free, but they are its own:
# without them a busy stack could not be planned. Looked up by name, since on the
# first plan the groups have no id yet.
data "aws_security_groups" "own" {
  count = var.create_vpc ? 0 : 1

  filter {
    name   = "vpc-id"
    values = [var.vpc_id]
  }
  filter {
    name   = "group-name"
    values = ["${var.name}-worker", "${var.name}-flow-run", "${var.name}-endpoints"]
  }
}

data "aws_network_interfaces" "own" {
  count = var.create_vpc ? 0 : length(var.private_subnet_ids)

  filter {
    name   = "subnet-id"
    values = [var.private_subnet_ids[count.index]]
  }
  filter {
    name = "group-id"
    # A filter must not be empty; no group has this id.
    values = concat(data.aws_security_groups.own[0].ids, ["sg-00000000000000000"])
  }
}

locals {
  subnet_count = max(1, var.create_vpc ? length(local.azs) : length(var.private_subnet_ids))

  # A rolling deployment runs the new workers beside the old. Endpoints have an
  # interface in each zone.
  tasks_needed     = 2 * var.worker_max_count + var.expected_flow_runs
  addresses_needed = ceil(local.tasks_needed / local.subnet_count) + length(local.interface_services)

  # AWS keeps five addresses of each subnet to itself:
  # https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
  created_subnet_size = pow(2, 32 - (tonumber(split("/", var.vpc_cidr)[1]) + 4)) - 5

  subnets_too_small = concat(
    [
      for letter, cidr in local.private_cidrs : "${cidr} has ${local.created_subnet_size}"
      if local.created_subnet_size < local.addresses_needed
    ],
    [
      for index, subnet in data.aws_subnet.existing :
      "${subnet.id} (${subnet.availability_zone}) has ${subnet.available_ip_address_count + length(data.aws_network_interfaces.own[index].ids)}"
      if subnet.available_ip_address_count + length(data.aws_network_interfaces.own[index].ids) < local.addresses_needed
    ],
  )
}
