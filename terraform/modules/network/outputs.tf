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
  value       = var.create_vpc ? aws_subnet.private[*].id : var.private_subnet_ids

  depends_on = [
    aws_route.private_nat,
    aws_route.public_internet,
    aws_route_table_association.private,
    aws_route_table_association.public,
  ]
}

output "public_subnet_ids" {
  description = "Public subnets of the created VPC"
  value       = aws_subnet.public[*].id
}

output "nat_public_ips" {
  description = "Public addresses of the NAT gateways"
  value       = aws_eip.nat[*].public_ip
}

output "worker_security_group_id" {
  description = "Security group of the worker"
  value       = aws_security_group.worker.id

  depends_on = [aws_vpc_security_group_egress_rule.worker]
}

output "flow_run_security_group_id" {
  description = "Security group of flow runs"
  value       = aws_security_group.flow_run.id

  depends_on = [aws_vpc_security_group_egress_rule.flow_run]
}
