# Production.

environment         = "prod"
aws_region          = "us-east-1"
allowed_account_ids = ["123456789012"]

# The table, and a bucket that holds photos, cannot be deleted.
protect_data = true

# How long photos and their results are kept: agree on it with whoever is responsible for privacy.
photo_retention_days            = 365
record_retention_days           = 365
replaced_version_retention_days = 30
log_retention_days              = 90

# Debug logs name objects, and keys can name people.
log_level       = "INFO"
log_object_keys = false

# Boxes, landmarks, pose and quality. More attributes are more personal data: request only those you use.
face_attributes     = ["DEFAULT"]
face_min_confidence = 90

# Exactly once, with 90 days of history. EXPRESS saves about a tenth of the whole bill and is at least once.
workflow_type = "STANDARD"

# 50 calls a second to Rekognition (the default quota of us-east-1, us-west-2 and eu-west-1; 5 elsewhere), a second each.
# Lambda refuses a reservation that leaves fewer than 100 unreserved (10 in a new account): raise the account's
# quota "Concurrent executions" before the first apply, docs/operations.md (Quotas to raise).
process_image     = { reserved_concurrency = 50, memory_size = 512, timeout = 30 }
convert           = { reserved_concurrency = 20 }
send_notification = { reserved_concurrency = 20 }

# Through a queue, at a pace just under Rekognition's 50 a second: an archive uploaded at once waits in the queue, with no
# throttled calls and nothing parked, and `make pause ENV=prod` stops the spending. A single photo takes about a tenth of a
# second longer. photos_per_day caps a day's spending: each million photos costs about $1,150.
ingestion = { mode = "buffered", photos_per_second = 45 }

# People wait for these photos, and they arrive around the clock. docs/operations.md says what to do about each alarm.
alarms = {
  dead_letter_age_minutes = 30
  latency_p95_seconds     = 20
  no_images_hours         = 6
}

# The runbook for whoever is on call: docs/operations.md in your repository. Each alarm links to its section.
runbook_url = "https://git.example.com/photos/blob/main/docs/operations.md"

# SNS sends ten emails a second per account: people get what needs attention, machines get everything.
subscriptions = {
  everything = { protocol = "sqs", endpoint = "arn:aws:sqs:us-east-1:123456789012:photo-results" }
  support    = { protocol = "email", endpoint = "photo-support@example.com", outcomes = ["rejected"] }
}

alert_subscriptions = {
  on_call = { protocol = "sms", endpoint = "+14155550123" }
  team    = { protocol = "email", endpoint = "photo-team@example.com" }
}

tags = {
  CostCenter = "photos"
}
