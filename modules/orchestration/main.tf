data "aws_partition" "current" {}

locals {
  pipeline_name = "${var.name}-pipeline"
  states_arn    = "arn:${data.aws_partition.current.partition}:states:${var.aws_region}:${var.account_id}"

  # Both always exist: executions that run when workflow_type changes finish where they started.
  # docs/decisions/0013-workflows-of-both-types-exist.md
  pipeline_names = { for type in ["EXPRESS", "STANDARD"] : type => "${local.pipeline_name}-${lower(type)}" }

  pipeline = jsondecode(templatefile("${path.module}/pipeline.asl.json", {
    convert_image_arn     = join("", module.convert_image[*].alias_arn)
    dead_letter_queue_url = var.dead_letter_queue.url
    partition             = data.aws_partition.current.partition
    process_image_arn     = module.process_image.alias_arn
    send_notification_arn = module.send_notification.alias_arn
  }))

  # Without a format to convert, neither the function nor its branch exists.
  states = { for name, state in local.pipeline.States : name => merge(
    state,
    { for field, choices in { Choices = try(state.Choices, []) } : field => [for choice in choices : choice if choice.Next != "ConvertImage" || local.converts] if state.Type == "Choice" },
  ) if name != "ConvertImage" || local.converts }

  # An EXPRESS execution has five minutes in all and then ends uncaught: a retrier may have other
  # numbers for it.
  retriers = { for type, name in local.pipeline_names : type => [for retrier in jsondecode(file("${path.module}/retry.json")) : merge(
    { for field, value in retrier : field => value if field != "EXPRESS" },
    { for field, value in try(retrier.EXPRESS, {}) : field => value if type == "EXPRESS" },
  )] }

  pipeline_definitions = { for type, retriers in local.retriers : type => jsonencode(merge(local.pipeline, {
    States = { for name, state in local.states : name => merge(
      { for field, value in { Retry = retriers } : field => value if state.Type == "Task" },
      # ProcessImage, SendNotification and parking may spend 225 seconds of the five minutes waiting.
      { for field, value in { Retry = [for retrier in retriers : merge(retrier, { MaxAttempts = min(retrier.MaxAttempts, 2) })] } : field => value if type == "EXPRESS" && name == "ConvertImage" },
      state,
    ) }
  })) }
}

resource "aws_sfn_state_machine" "pipelines" {
  #checkov:skip=CKV_AWS_285:Every event is logged; the data of executions holds object keys, which can name people, and is logged only with log_object_keys
  for_each = local.pipeline_names

  name       = each.value
  type       = each.key
  role_arn   = aws_iam_role.pipeline.arn
  definition = local.pipeline_definitions[each.key]

  logging_configuration {
    # Execution data holds object keys and outcomes: it is already in the execution's history, and logged only on request.
    include_execution_data = var.log_object_keys
    level                  = "ALL"
    log_destination        = "${aws_cloudwatch_log_group.pipeline.arn}:*"
  }

  tracing_configuration {
    enabled = true
  }

  lifecycle {
    create_before_destroy = true
  }

  # Deleting waits for executions to end, of which one may take 20 minutes.
  timeouts {
    delete = "30m"
  }

  # Creating a state machine with logging checks that its role may deliver logs.
  depends_on = [aws_iam_role_policy.pipeline]
}

# The workflow from before names included the type: it drains and is deleted manually. CHANGELOG.md
removed {
  from = aws_sfn_state_machine.pipeline

  lifecycle {
    destroy = false
  }
}

resource "aws_cloudwatch_log_group" "pipeline" {
  #checkov:skip=CKV_AWS_338:Each environment sets how long logs are kept; less than a year where they can identify a person
  # The vendedlogs prefix keeps the resource policy that log delivery writes under its size limit.
  name              = "/aws/vendedlogs/states/${local.pipeline_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}
