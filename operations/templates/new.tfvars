# NAME: say here what it is for.

environment         = "NAME"
aws_region          = "REGION"
allowed_account_ids = ["ACCOUNT"]

# Whether the table and a bucket with photos refuse to be deleted.
protect_data = true

# Days photos, records, replaced versions and logs are kept; null keeps photos or records for ever.
photo_retention_days            = 30
record_retention_days           = 90
replaced_version_retention_days = 30
log_retention_days              = 30

# DEBUG names objects in the logs, and keys can name people; with WARN the metrics by outcome stay empty.
log_level       = "INFO"
log_object_keys = false

# Exactly once, with 90 days of history. EXPRESS saves about a tenth of the whole bill and is at least once.
workflow_type = "STANDARD"

# At a second a call, QUOTA at once keep within Rekognition's default quota here, QUOTA calls a second.
# A new account allows ten invocations at once and refuses to reserve any: have its quota raised first.
# process_image     = { reserved_concurrency = QUOTA }
# send_notification = { reserved_concurrency = QUOTA }

# Thresholds at which each alarm fires; docs/operations.md says what to do about each. 0 leaves one out.
# alarms = {
#   latency_p95_seconds = 60
#   no_images_hours     = 24
# }

# Where your team reads docs/operations.md; each alarm links to its section.
# runbook_url = "https://git.example.com/photos/blob/main/docs/operations.md"

# Who is notified of photos, and who of alarms. SNS asks each address to confirm first.
# subscriptions = {
#   support = { protocol = "email", endpoint = "you@example.com", outcomes = ["rejected"] }
# }
# alert_subscriptions = {
#   team = { protocol = "email", endpoint = "you@example.com" }
# }
