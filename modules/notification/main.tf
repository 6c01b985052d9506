locals {
  # What an endpoint looks like, by protocol; phone numbers are E.164.
  endpoints = {
    email      = "^[^@\\s]+@[^@\\s]+\\.[^@\\s.]+$"
    email-json = "^[^@\\s]+@[^@\\s]+\\.[^@\\s.]+$"
    https      = "^https://[^\\s/]+"
    sms        = "^\\+[1-9][0-9]{6,14}$"
    sqs        = "^arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$"
  }
}

resource "aws_sns_topic" "results" {
  name              = "${var.name}-results"
  display_name      = "Photos"
  kms_master_key_id = var.key_arn
}

resource "aws_sns_topic" "alerts" {
  name              = "${var.name}-alerts"
  display_name      = "Alarms"
  kms_master_key_id = var.key_arn
}

resource "aws_sns_topic_subscription" "results" {
  for_each = var.subscriptions

  topic_arn     = aws_sns_topic.results.arn
  protocol      = each.value.protocol
  endpoint      = each.value.endpoint
  filter_policy = each.value.outcomes == null ? null : jsonencode({ outcome = sort(each.value.outcomes) })
}

resource "aws_sns_topic_subscription" "alerts" {
  for_each = var.alert_subscriptions

  topic_arn = aws_sns_topic.alerts.arn
  protocol  = each.value.protocol
  endpoint  = each.value.endpoint
}

data "aws_iam_policy_document" "plain_http" {
  for_each = { alerts = aws_sns_topic.alerts.arn, results = aws_sns_topic.results.arn }

  statement {
    sid       = "DenyPlainHttp"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [each.value]

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

data "aws_iam_policy_document" "alerts" {
  source_policy_documents = [data.aws_iam_policy_document.plain_http["alerts"].json]

  statement {
    sid       = "AlarmsPublish"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "results" {
  arn    = aws_sns_topic.results.arn
  policy = data.aws_iam_policy_document.plain_http["results"].json
}

resource "aws_sns_topic_policy" "alerts" {
  arn    = aws_sns_topic.alerts.arn
  policy = data.aws_iam_policy_document.alerts.json
}
