# Development: cheap, short-lived, verbose logs. Everything here is disposable.

environment         = "dev"
aws_region          = "us-east-1"
allowed_account_ids = ["111122223333"]

# `make destroy ENV=dev` deletes photos and records too.
protect_data = false

# Test photos, kept just long enough to investigate a problem.
photo_retention_days            = 14
record_retention_days           = 30
replaced_version_retention_days = 7
log_retention_days              = 7
log_level                       = "DEBUG"

# A new account allows ten concurrent invocations and no reservations, so nothing is reserved here.

# EXPRESS executions cost a thirtieth but have no history besides the logs; here history helps.
workflow_type = "STANDARD"

# Who is notified of photos, and who of alarms. SNS asks each address to confirm first.
# subscriptions = {
#   me = { protocol = "email", endpoint = "you@example.com" }
# }
# alert_subscriptions = {
#   me = { protocol = "email", endpoint = "you@example.com" }
# }
