# ECS reads the keys out of the secret's JSON when it starts a task, and a key that
# is missing shows only then: ResourceInitializationError, again and again. Here
# the plan asks. The value is read into memory and goes nowhere: an ephemeral
# resource stands in neither plan nor state.
#
# This is a module apart, and not part of the root, for two reasons. Whoever plans
# with it needs secretsmanager:GetSecretValue, which a pipeline that only plans and
# applies should not have. And Terraform refuses to mock a provider for a
# configuration with an ephemeral resource in it, even one with count = 0
# ("No ephemeral resource types in mock providers", seen with 1.11.4): inside the
# root it would put an end to every user's mocked tests.

# Unknown until the secret was once there with its value; known, from the state,
# at each plan from then on. A new version of the value makes it unknown for the
# plan that writes it, so that a value which lacks a key can be replaced. It stays
# when the check is switched off: who plans with it and who without see the same.
resource "terraform_data" "settled" {
  count = var.created ? 1 : 0

  input = { arn = var.secret_arn, version = var.value_version }
}

ephemeral "aws_secretsmanager_secret_version" "key" {
  # One for each key, since a message must not contain what was read.
  for_each = var.enabled ? var.secret_keys : toset([])

  secret_id = var.created ? terraform_data.settled[0].output.arn : var.secret_arn
}

# The question is a precondition of a resource beside it, and no postcondition of
# the ephemeral one: `terraform show -json` of Terraform 1.11.4 ends with a panic
# ("unsupported resource mode 69") for every plan of a configuration in which an
# ephemeral resource has conditions, even one with count = 0.
resource "terraform_data" "key" {
  for_each = var.secret_keys

  lifecycle {
    precondition {
      condition     = !var.enabled || try(length(jsondecode(ephemeral.aws_secretsmanager_secret_version.key[each.key].secret_string)[each.key]) > 0, false)
      error_message = "Secret: ${var.created ? terraform_data.settled[0].output.arn : var.secret_arn} has no key ${each.key}, which the task definition names: ECS starts no task without it. The value must be a JSON object with the keys ${join(", ", sort(var.secret_keys))}, none of them empty: put it in with 'faber secret put', or raise prefect_credentials_version where Terraform writes it."
    }
  }
}
