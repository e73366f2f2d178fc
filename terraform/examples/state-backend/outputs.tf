output "bucket" {
  description = "Name of the bucket"
  value       = module.state_backend.bucket
}

output "backend" {
  description = "Settings for `terraform init -backend-config=<file>`, less the key, which each stack has its own of"
  value       = <<-EOT
    bucket       = "${module.state_backend.bucket}"
    region       = "${module.state_backend.region}"
    encrypt      = true
    use_lockfile = true
  EOT
}
