output "work_pool_id" {
  description = "Id of the work pool"
  value       = prefect_work_pool.this.id
}

output "secret_arn" {
  description = "Secret to fill with the worker's credentials"
  value       = module.faber.secret_arn
}
