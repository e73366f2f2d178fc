output "route_table_ids" {
  description = "Route table in effect for each checked subnet, by the subnet's key"
  value       = local.route_table_ids
}
