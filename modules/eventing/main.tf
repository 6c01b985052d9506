locals {
  # A folder marker is empty and its key ends in "/"; a photo's key may too. Patterns on one field are
  # alternatives, so a rule cannot require a prefix and also exclude markers: with a prefix, ProcessImage excludes them.
  objects = merge(
    var.key_prefix != "" ? null : { "$or" = [{ key = [{ anything-but = { suffix = "/" } }] }, { size = [{ anything-but = 0 }] }] },
    var.key_prefix == "" ? null : { key = [{ prefix = var.key_prefix }] },
  )
}

resource "aws_cloudwatch_event_rule" "uploads" {
  name        = "${var.name}-uploads"
  description = "Objects created in ${var.bucket_name}"
  # Explicit, so that an apply enables a rule again that was disabled manually.
  state = "ENABLED"

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [var.bucket_name] }
      object = local.objects
    }
  })
}

resource "aws_cloudwatch_event_target" "workflow" {
  rule = aws_cloudwatch_event_rule.uploads.name
  # One target in both modes: EventBridge replaces it under its id, so that there always is one.
  arn = local.buffered ? aws_sqs_queue.uploads.arn : var.state_machine_arn
  # For a queue, the queue's policy grants access.
  role_arn = local.buffered ? null : aws_iam_role.rule.arn

  dead_letter_config {
    arn = aws_sqs_queue.dead_letter.arn
  }

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  # Until it has its permissions, the target would park every upload.
  depends_on = [
    aws_iam_role_policy.start_workflow,
    aws_lambda_event_source_mapping.uploads,
    aws_sqs_queue_policy.dead_letter,
    aws_sqs_queue_policy.uploads,
  ]
}

resource "aws_sqs_queue" "dead_letter" {
  name                              = "${var.name}-dead-letter"
  message_retention_seconds         = 1209600
  kms_master_key_id                 = var.key_arn
  kms_data_key_reuse_period_seconds = 300
  visibility_timeout_seconds        = 60
}
