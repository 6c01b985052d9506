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

# Five calls a second to Rekognition, a second each: the least any region allows by default.
process_image     = { reserved_concurrency = 5 }
send_notification = { reserved_concurrency = 5 }

# Executions of EXPRESS cost a thirtieth, but leave no history beside the logs: here history helps.
workflow_type = "STANDARD"

# Who is told about photos, and who about alarms. SNS asks each address to confirm first.
# subscriptions = {
#   me = { protocol = "email", endpoint = "you@example.com" }
# }
# alert_subscriptions = {
#   me = { protocol = "email", endpoint = "you@example.com" }
# }
