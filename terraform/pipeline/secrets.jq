# From a plan as JSON: addresses where it would write or remove the value of the
# secret that the module makes for Prefect's credentials.
[
  .resource_changes[]?
  | select(.mode == "managed" and .type == "aws_secretsmanager_secret_version")
  | select(.address | test("module\\.secrets\\[0\\]\\.aws_secretsmanager_secret_version\\.this\\[0\\]$"))
  | select(.change.actions != ["no-op"] and .change.actions != ["forget"])
  | .address
] | join(", ")
