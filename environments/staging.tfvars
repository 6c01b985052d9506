# Staging: prod's settings at half its size, with test photos that are deleted soon.

environment         = "staging"
aws_region          = "us-east-1"
allowed_account_ids = ["444455556666"]

# A rehearsal for prod, including destroy: prod's protection would be in the way.
protect_data = false

photo_retention_days            = 30
record_retention_days           = 90
replaced_version_retention_days = 30
log_retention_days              = 30
log_level                       = "INFO"

# As in prod.
face_attributes     = ["DEFAULT"]
face_min_confidence = 90
workflow_type       = "STANDARD"

# Half of prod's, so that a load test here leaves quota for others. As in prod, raise the account's quota first.
process_image     = { reserved_concurrency = 25 }
convert           = { reserved_concurrency = 10 }
send_notification = { reserved_concurrency = 10 }

# As in prod, at half the pace.
ingestion = { mode = "buffered", photos_per_second = 22 }

# No slower than prod. Days without uploads are normal here, so no_images_hours stays 0.
alarms = {
  latency_p95_seconds = 20
}

# As in prod.
runbook_url = "https://git.example.com/photos/blob/main/docs/operations.md"

subscriptions = {
  testers = { protocol = "email", endpoint = "photo-testers@example.com" }
}

alert_subscriptions = {
  team = { protocol = "email", endpoint = "photo-team@example.com" }
}
