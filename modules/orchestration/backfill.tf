locals {
  backfill_name = "${var.name}-backfill"

  # Live uploads keep the other half of ProcessImage's concurrency.
  backfill_concurrency = (
    var.backfill_concurrency != null ? var.backfill_concurrency :
    var.process_image.reserved_concurrency != null ? max(1, floor(var.process_image.reserved_concurrency / 2)) : 10
  )

  backfill = jsondecode(templatefile("${path.module}/backfill.asl.json", {
    partition    = data.aws_partition.current.partition
    pipeline_arn = aws_sfn_state_machine.pipelines[var.workflow_type].arn
    # Only the SDK integration can wait for an EXPRESS execution; it takes the input as text.
    action         = var.workflow_type == "STANDARD" ? "startExecution.sync:2" : "startSyncExecution"
    pipeline_input = var.workflow_type == "STANDARD" ? "{% $states.input %}" : "{% $string($states.input) %}"
    service        = var.workflow_type == "STANDARD" ? "states" : "aws-sdk:sfn"
  }))

  backfill_definition = jsonencode(merge(local.backfill, {
    States = merge(local.backfill.States, {
      EachObject = merge(local.backfill.States.EachObject, { MaxConcurrency = local.backfill_concurrency })
    })
  }))
}

resource "aws_sfn_state_machine" "backfill" {
  #checkov:skip=CKV_AWS_285:Every event is logged; the data of executions holds object keys, which can name people, and is logged only with log_object_keys
  name       = local.backfill_name
  type       = "STANDARD"
  role_arn   = aws_iam_role.backfill.arn
  definition = local.backfill_definition

  logging_configuration {
    include_execution_data = var.log_object_keys
    level                  = "ALL"
    log_destination        = "${aws_cloudwatch_log_group.backfill.arn}:*"
  }

  tracing_configuration {
    enabled = true
  }

  depends_on = [aws_iam_role_policy.backfill]
}

resource "aws_cloudwatch_log_group" "backfill" {
  #checkov:skip=CKV_AWS_338:Each environment sets how long logs are kept; less than a year where they can identify a person
  name              = "/aws/vendedlogs/states/${local.backfill_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

data "aws_iam_policy_document" "assume_backfill" {
  statement {
    sid     = "BackfillAssumesRole"
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
      # The runs for the single objects belong to a state machine named after this one and the map's label.
      values = ["${local.states_arn}:stateMachine:${local.backfill_name}", "${local.states_arn}:stateMachine:${local.backfill_name}/*"]
    }
  }
}

resource "aws_iam_role" "backfill" {
  name               = local.backfill_name
  description        = "Runs the workflow for existing photos"
  assume_role_policy = data.aws_iam_policy_document.assume_backfill.json
}

data "aws_iam_policy_document" "backfill" {
  source_policy_documents = [data.aws_iam_policy_document.observed.json]

  # https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
  statement {
    sid       = "StartMapRun"
    actions   = ["states:StartExecution"]
    resources = ["${local.states_arn}:stateMachine:${local.backfill_name}"]
  }

  statement {
    sid       = "FollowMapRun"
    actions   = ["states:DescribeExecution", "states:StopExecution"]
    resources = ["${local.states_arn}:execution:${local.backfill_name}:*"]
  }

  # https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html
  statement {
    sid       = "RunPipeline"
    actions   = [var.workflow_type == "STANDARD" ? "states:StartExecution" : "states:StartSyncExecution"]
    resources = ["${local.states_arn}:stateMachine:${local.pipeline_names[var.workflow_type]}"]
  }

  dynamic "statement" {
    for_each = var.workflow_type == "STANDARD" ? [1] : []

    # Without states:StopExecution: a stopped backfill could otherwise stop an execution between its record and its
    # notification. Executions in progress finish.
    content {
      sid       = "FollowPipeline"
      actions   = ["states:DescribeExecution"]
      resources = ["${local.states_arn}:execution:${local.pipeline_names[var.workflow_type]}:*"]
    }
  }

  dynamic "statement" {
    for_each = var.workflow_type == "STANDARD" ? [1] : []

    content {
      sid       = "LearnOfPipelinesEnd"
      actions   = ["events:DescribeRule", "events:PutRule", "events:PutTargets"]
      resources = ["arn:${data.aws_partition.current.partition}:events:${var.aws_region}:${var.account_id}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"]
    }
  }
}

resource "aws_iam_role_policy" "backfill" {
  name   = "backfill"
  role   = aws_iam_role.backfill.id
  policy = data.aws_iam_policy_document.backfill.json
}
