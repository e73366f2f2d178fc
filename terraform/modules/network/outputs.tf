output "vpc_id" {
  description = "VPC, created or given"
  value       = local.vpc_id
}

output "azs" {
  description = "Availability zones of the created VPC"
  value       = local.azs
}

output "private_subnet_ids" {
  description = "Subnets for tasks, created or given. Known once they have their routes, so that no task starts before it can reach anything"
  value       = local.private_subnet_ids

  precondition {
    condition     = length(local.subnets_too_small) == 0
    error_message = "Too few addresses: ${join(", ", local.subnets_too_small)}; each private subnet needs ${local.addresses_needed} for ${var.worker_max_count} workers (twice that during a deployment), ${var.expected_flow_runs} flow runs and ${length(local.interface_services)} endpoints over ${local.subnet_count} subnets. Give larger subnets or more of them, or expect fewer flow runs (expected_flow_runs)."
  }

  depends_on = [
    aws_route.private_nat,
    aws_route.public_internet,
    aws_route_table_association.private,
    aws_route_table_association.public,
    aws_vpc_endpoint.interface,
    aws_vpc_endpoint.s3,
  ]
}

output "private_subnets" {
  description = "The same by a key that does not change with the number of subnets: the zone's letter where they are created, else their place in the list"
  value       = var.create_vpc ? { for letter, az in local.zones : letter => aws_subnet.private[letter].id } : { for index, id in var.private_subnet_ids : tostring(index) => id }

  depends_on = [
    aws_route.private_nat,
    aws_route.public_internet,
    aws_route_table_association.private,
    aws_route_table_association.public,
    aws_vpc_endpoint.interface,
    aws_vpc_endpoint.s3,
  ]
}

output "private_route_table_ids" {
  description = "Route tables of the created private subnets, one per zone, for routes of your own"
  value       = [for az in local.azs : aws_route_table.private[substr(az, -1, 1)].id]
}

output "public_subnet_ids" {
  description = "Public subnets of the created VPC"
  value       = [for az in local.azs : aws_subnet.public[substr(az, -1, 1)].id]
}

output "nat_public_ips" {
  description = "Public addresses of the NAT gateways"
  value       = [for az in local.azs : aws_eip.nat[substr(az, -1, 1)].public_ip if contains(keys(local.nat_zones), substr(az, -1, 1))]
}

output "worker_security_group_id" {
  description = "Security group of the worker"
  value       = aws_security_group.worker.id

  depends_on = [aws_vpc_security_group_egress_rule.worker]
}

output "flow_run_security_group_id" {
  description = "Security group of flow runs"
  value       = aws_security_group.flow_run.id

  depends_on = [
    aws_vpc_security_group_egress_rule.flow_run,
    aws_vpc_security_group_egress_rule.flow_run_endpoints,
    aws_vpc_security_group_egress_rule.flow_run_s3,
  ]
}

output "endpoints_security_group_id" {
  description = "Security group of the interface endpoints; null without"
  value       = one(aws_security_group.endpoints[*].id)
}

output "flow_logs_log_group_name" {
  description = "Log group of the VPC's flow logs; null without"
  value       = one(aws_cloudwatch_log_group.flow_logs[*].name)
}

output "flow_logs_log_group_arn" {
  description = "ARN of that log group, for the role that writes to it; null without"
  value       = one(aws_cloudwatch_log_group.flow_logs[*].arn)
}

output "way_out_details" {
  description = "What the default routes of the private subnets follow from. It changes when they are meant to"
  value       = join(" ", compact([var.nat_mode, var.nat_mode == "single" ? local.first_zone : null]))
}
