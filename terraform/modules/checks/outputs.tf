output "route_table_ids" {
  description = "Route table in effect for each subnet, by the subnet's key"
  value       = local.route_table_ids
}
