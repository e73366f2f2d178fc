# What metrics.tftest.hcl compares with.

variable "metrics_namespace" {
  description = "Namespace of faber's own metrics"
  type        = string
}

locals {
  file = jsondecode(file("${path.module}/known.json"))
}

output "known" {
  description = "Metrics that faber and AWS really publish: dimensions, and statistics by metric, by namespace"
  value = {
    for namespace, of in merge({ (var.metrics_namespace) = local.file.faber }, local.file.aws) : namespace => {
      dimensions = jsonencode(sort(of.dimensions))
      # How often a metric was published is a statistic of all of them.
      statistics = { for name, statistics in of.metrics : name => toset(concat(statistics, ["SampleCount"])) }
    }
  }
}

output "predefined" {
  description = "Predefined metrics of Application Auto Scaling"
  value       = toset(local.file.predefined.types)
}
