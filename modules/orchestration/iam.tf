data "aws_iam_policy_document" "assume_pipeline" {
  statement {
    sid     = "WorkflowAssumesRole"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["states.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${data.aws_partition.current.partition}:states:${data.aws_region.current.name}:${var.account_id}:stateMachine:${local.pipeline_name}"]
    }
  }
}

resource "aws_iam_role" "pipeline" {
  name               = local.pipeline_name
  description        = "Runs the workflow for one upload"
  assume_role_policy = data.aws_iam_policy_document.assume_pipeline.json
}

data "aws_iam_policy_document" "pipeline" {
  statement {
    sid       = "InvokeFunctions"
    actions   = ["lambda:InvokeFunction"]
    resources = [module.process_image.alias_arn, module.send_notification.alias_arn]
  }

  statement {
    sid       = "ParkEvents"
    actions   = ["sqs:SendMessage"]
    resources = [var.dead_letter_queue.arn]
  }

  statement {
    sid       = "ParkInEncryptedQueue"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }

  statement {
    sid = "DeliverLogs"
    actions = [
      "logs:CreateLogDelivery",
      "logs:DeleteLogDelivery",
      "logs:DescribeLogGroups",
      "logs:DescribeResourcePolicies",
      "logs:GetLogDelivery",
      "logs:ListLogDeliveries",
      "logs:PutResourcePolicy",
      "logs:UpdateLogDelivery",
    ]
    # Log delivery has no resource-level permissions:
    # https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
    resources = ["*"]
  }

  statement {
    sid = "WriteTraces"
    actions = [
      "xray:GetSamplingRules",
      "xray:GetSamplingTargets",
      "xray:PutTelemetryRecords",
      "xray:PutTraceSegments",
    ]
    # X-Ray has no resource-level permissions:
    # https://docs.aws.amazon.com/step-functions/latest/dg/xray-iam.html
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "pipeline" {
  name   = "pipeline"
  role   = aws_iam_role.pipeline.id
  policy = data.aws_iam_policy_document.pipeline.json
}
