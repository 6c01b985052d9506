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
      # The first is the workflow from before names included the type, while it drains.
      values = [for name in concat([local.pipeline_name], values(local.pipeline_names)) : "${local.states_arn}:stateMachine:${name}"]
    }
  }
}

resource "aws_iam_role" "pipeline" {
  name               = local.pipeline_name
  description        = "Runs the workflow for one upload"
  assume_role_policy = data.aws_iam_policy_document.assume_pipeline.json
}

data "aws_iam_policy_document" "pipeline" {
  source_policy_documents = [data.aws_iam_policy_document.observed.json]

  statement {
    sid       = "InvokeFunctions"
    actions   = ["lambda:InvokeFunction"]
    resources = concat([module.process_image.alias_arn, module.send_notification.alias_arn], module.convert_image[*].alias_arn)
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
}

# What every workflow needs for its logs and traces.
data "aws_iam_policy_document" "observed" {
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
