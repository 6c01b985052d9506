data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  pipeline_name = "${var.name}-pipeline"

  pipeline_definition = templatefile("${path.module}/pipeline.asl.json", {
    dead_letter_queue_url = var.dead_letter_queue.url
    partition             = data.aws_partition.current.partition
    process_image_arn     = module.process_image.alias_arn
    send_notification_arn = module.send_notification.alias_arn
  })

  # An EXPRESS execution has five minutes for everything, and ends uncaught when they are over: there a turn is waited for
  # as long as for anything else. A number cannot be a placeholder in a file that is JSON before it is rendered.
  express_definition = replace(local.pipeline_definition, "/\"MaxAttempts\": 20,(\\s*)\"MaxDelaySeconds\": 60/", "\"MaxAttempts\": 6,$1\"MaxDelaySeconds\": 30")
}

resource "aws_sfn_state_machine" "pipeline" {
  #checkov:skip=CKV_AWS_285:Every event is logged; the data of executions holds object keys, which can name people, and is logged by choice (log_object_keys)
  name       = local.pipeline_name
  type       = var.workflow_type
  role_arn   = aws_iam_role.pipeline.arn
  definition = var.workflow_type == "STANDARD" ? local.pipeline_definition : local.express_definition

  logging_configuration {
    # Execution data holds object keys and outcomes: it is in the execution's history already, and logged by choice.
    include_execution_data = var.log_object_keys
    level                  = "ALL"
    log_destination        = "${aws_cloudwatch_log_group.pipeline.arn}:*"
  }

  tracing_configuration {
    enabled = true
  }

  # Creating a state machine with logging checks that its role may deliver logs.
  depends_on = [aws_iam_role_policy.pipeline]
}

resource "aws_cloudwatch_log_group" "pipeline" {
  #checkov:skip=CKV_AWS_338:How long logs are kept is each environment's own choice; shorter than a year where they can lead to a person
  # The vendedlogs prefix keeps the resource policy that log delivery writes under its size limit.
  name              = "/aws/vendedlogs/states/${local.pipeline_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}
