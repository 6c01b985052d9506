# Development: cheap, short-lived, talkative. Everything here may be thrown away.

environment         = "dev"
aws_region          = "us-east-1"
allowed_account_ids = ["111122223333"]

# `make destroy ENV=dev` takes photos and records along.
protect_data = false

# Test photos, kept just long enough to look into a problem.
photo_retention_days            = 14
record_retention_days           = 30
replaced_version_retention_days = 7
log_retention_days              = 7
log_level                       = "DEBUG"

# A new account allows ten invocations at once and refuses to reserve any of them: nothing is reserved here.

# Executions of EXPRESS cost a thirtieth, but leave no history beside the logs: here history helps.
workflow_type = "STANDARD"

# Who is told about photos, and who about alarms. SNS asks each address to confirm first.
# subscriptions = {
#   me = { protocol = "email", endpoint = "you@example.com" }
# }
# alert_subscriptions = {
#   me = { protocol = "email", endpoint = "you@example.com" }
# }
