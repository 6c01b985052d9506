data "aws_partition" "current" {}

# In a key policy "*" is the key it is attached to, and no other spelling works before the key exists:
# https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:A key policy's "*" is this key; the account's statement keeps the key manageable and lets IAM policies grant its use
  #checkov:skip=CKV_AWS_111:A key policy's "*" is this key
  #checkov:skip=CKV_AWS_356:A key policy's "*" is this key
  statement {
    sid       = "AccountDelegatesToIam"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${var.account_id}:root"]
    }
  }

  statement {
    sid       = "AlarmsPublishToEncryptedTopic"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

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

  statement {
    sid       = "RuleParksInEncryptedQueue"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]

    # Without a source condition: EventBridge sends none when it uses a key.
    # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }

  statement {
    sid       = "LogGroupsOfThisStack"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.aws_region}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [
        "arn:${data.aws_partition.current.partition}:logs:${var.aws_region}:${var.account_id}:log-group:/aws/lambda/${var.name}-*",
        "arn:${data.aws_partition.current.partition}:logs:${var.aws_region}:${var.account_id}:log-group:/aws/vendedlogs/states/${var.name}-*",
      ]
    }
  }
}

# Kept with a user's key as well: older data is encrypted with this one.
resource "aws_kms_key" "data" {
  count = var.retire_made_key ? 0 : 1

  description             = "Photos, records, messages and logs of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "data" {
  count = var.retire_made_key ? 0 : 1

  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.data[0].key_id
}

locals {
  key_arn = var.kms_key_arn == null ? aws_kms_key.data[0].arn : var.kms_key_arn
}
