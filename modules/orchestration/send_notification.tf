module "send_notification" {
  source = "../function"

  account_id           = var.account_id
  architecture         = var.send_notification.architecture
  build_dir            = var.build_dir
  commit               = var.commit
  description          = "Sends the notification for one analysed photo"
  key_arn              = var.key_arn
  log_level            = var.log_level
  log_retention_days   = var.log_retention_days
  memory_size          = var.send_notification.memory_size
  name                 = "${var.name}-send-notification"
  policy_json          = data.aws_iam_policy_document.send_notification.json
  reserved_concurrency = var.send_notification.reserved_concurrency
  runtime              = var.send_notification.runtime
  source_dir           = "${var.functions_dir}/send_notification"
  timeout              = var.send_notification.timeout

  environment_variables = {
    RESULTS_TABLE     = var.results_table.name
    RESULTS_TOPIC_ARN = var.results_topic_arn
  }
}

data "aws_iam_policy_document" "send_notification" {
  statement {
    sid       = "PublishResults"
    actions   = ["sns:Publish"]
    resources = [var.results_topic_arn]
  }

  statement {
    sid       = "MarkRecords"
    actions   = ["dynamodb:UpdateItem"]
    resources = [var.results_table.arn]
  }

  statement {
    sid       = "UseEncryptedTopicAndTable"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }
}
