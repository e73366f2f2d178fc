output "secret_keys" {
  description = "Keys that are looked for"
  value       = var.secret_keys
}
