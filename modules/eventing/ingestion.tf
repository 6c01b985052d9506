# The buffer exists in both modes, so that switching only changes the rule's target: events in flight to the old one still
# arrive, and the queue is drained. See docs/decisions.
locals {
  buffered = var.ingestion.mode == "buffered"

  # A photo takes ProcessImage about a second, so its concurrency is also its photos per second. A stalled attempt of
  # `timeout` seconds leaves pace x timeout photos waiting; the concurrency left over by the pace processes them in time
  # for EXPRESS (300 s) if  pace x timeout / (concurrency - pace) <= 300 - timeout.
  seconds_per_photo = 1
  sustained = (
    var.process_image.reserved_concurrency == null ? 45 :
    floor(var.process_image.reserved_concurrency / local.seconds_per_photo * (300 - var.process_image.timeout) / 300)
  )
  default_pace      = max(1, local.sustained)
  photos_per_second = coalesce(var.ingestion.photos_per_second, local.default_pace)

  # A worker could start some twenty a second. Five leave room for slow responses, and make a batch of ten take two seconds,
  # compared with which the gap between two batches is short. Each worker keeps to its share, so that together they keep to
  # the pace, however many are active.
  worker_photos_per_second = 5
  # Two is the minimum MaximumConcurrency.
  workers                 = max(2, ceil(local.photos_per_second / local.worker_photos_per_second))
  worker_share            = local.photos_per_second / local.workers
  start_workflow_timeout  = 120
  start_workflow_counting = var.ingestion.photos_per_day != null
}

resource "aws_sqs_queue" "uploads" {
  name                              = "${var.name}-uploads"
  message_retention_seconds         = 1209600
  kms_master_key_id                 = var.key_arn
  kms_data_key_reuse_period_seconds = 300
  # Six times the function's timeout, as Lambda advises:
  # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
  visibility_timeout_seconds = 6 * local.start_workflow_timeout

  # The fallback if the function cannot run: SQS moves the event without a reason and keeps its age, so that less than 14
  # days are left. A day at its cap is two or three receives, and a refused start is retried every quarter of an hour:
  # waiting never reaches 1,000, the maximum.
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter.arn
    maxReceiveCount     = 1000
  })
}

data "aws_iam_policy_document" "uploads" {
  statement {
    sid       = "RuleBuffersEvents"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.uploads.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.uploads.arn]
    }
  }

  statement {
    sid       = "DenyPlainHttp"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.uploads.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "uploads" {
  queue_url = aws_sqs_queue.uploads.id
  policy    = data.aws_iam_policy_document.uploads.json
}

resource "aws_lambda_event_source_mapping" "uploads" {
  event_source_arn = aws_sqs_queue.uploads.arn
  function_name    = module.start_workflow.alias_arn
  # More at once would need a batching window of a second, which would delay every photo.
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = local.workers
  }

  lifecycle {
    # `make pause` and `make resume` switch it off and on.
    ignore_changes = [enabled]
  }
}

module "start_workflow" {
  source = "../function"

  account_id         = var.account_id
  architecture       = var.process_image.architecture
  build_dir          = var.build_dir
  commit             = var.commit
  description        = "Starts the workflow for buffered uploads at a set pace"
  key_arn            = var.key_arn
  log_level          = var.log_level
  log_retention_days = var.log_retention_days
  memory_size        = 256
  name               = "${var.name}-start-workflow"
  policy_json        = data.aws_iam_policy_document.start_workflow_function.json
  runtime            = var.process_image.runtime
  source_dir         = "${var.functions_dir}/start_workflow"
  timeout            = local.start_workflow_timeout

  environment_variables = {
    COUNTS_TABLE          = one(aws_dynamodb_table.counts[*].name) == null ? "" : aws_dynamodb_table.counts[0].name
    DEAD_LETTER_QUEUE_URL = aws_sqs_queue.dead_letter.id
    PHOTOS_PER_DAY        = tostring(coalesce(var.ingestion.photos_per_day, 0))
    PHOTOS_PER_SECOND     = tostring(local.worker_share)
    QUEUE_URL             = aws_sqs_queue.uploads.id
    STATE_MACHINE_ARN     = var.state_machine_arn
  }
}

data "aws_iam_policy_document" "start_workflow_function" {
  statement {
    sid       = "WorkOffUploads"
    actions   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
    resources = [aws_sqs_queue.uploads.arn]
  }

  statement {
    sid       = "StartWorkflow"
    actions   = ["states:StartExecution"]
    resources = [var.state_machine_arn]
  }

  statement {
    sid       = "ParkUnusableEvents"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letter.arn]
  }

  statement {
    sid       = "UseEncryptedQueuesAndTable"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }

  dynamic "statement" {
    for_each = aws_dynamodb_table.counts[*].arn

    content {
      sid       = "CountPhotosOfTheDay"
      actions   = ["dynamodb:UpdateItem"]
      resources = [statement.value]
    }
  }
}

# A separate table: the results table holds only records, for everything that scans, exports or erases them.
resource "aws_dynamodb_table" "counts" {
  #checkov:skip=CKV_AWS_28:Holds one counter a day, useless after that day
  count = local.start_workflow_counting ? 1 : 0

  name         = "${var.name}-counts"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "Day"

  attribute {
    name = "Day"
    type = "S"
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.key_arn
  }

  ttl {
    attribute_name = "ExpiresAt"
    enabled        = true
  }
}
