output "buffer" {
  description = "The buffer's resources to monitor, as input for modules/observability."
  value = {
    capped         = var.ingestion.photos_per_day != null
    function_name  = module.start_workflow.function_name
    log_group_name = module.start_workflow.log_group_name
    queue_name     = aws_sqs_queue.uploads.name
  }
}

output "dead_letter_queue" {
  description = "The dead-letter queue of the rule and of the workflow."
  value = {
    arn  = aws_sqs_queue.dead_letter.arn
    name = aws_sqs_queue.dead_letter.name
    url  = aws_sqs_queue.dead_letter.id
  }
}

output "function" {
  description = "The function that starts the workflow for buffered uploads."
  value = {
    log_group_name = module.start_workflow.log_group_name
    name           = module.start_workflow.function_name
    role_name      = module.start_workflow.role_name
    zip            = module.start_workflow.zip
  }
}

output "ingestion" {
  description = "How uploads reach the workflow: mode, pace and cap, and the queue, its mapping and the table of counts."
  value = {
    counts_table_name = one(aws_dynamodb_table.counts[*].name)
    mapping_id        = aws_lambda_event_source_mapping.uploads.id
    mode              = var.ingestion.mode
    photos_per_day    = var.ingestion.photos_per_day
    photos_per_second = local.photos_per_second
    queue_arn         = aws_sqs_queue.uploads.arn
    queue_name        = aws_sqs_queue.uploads.name
    queue_url         = aws_sqs_queue.uploads.id
  }
}

output "rule" {
  description = "The rule that starts the workflow, and its role."
  value = {
    arn       = aws_cloudwatch_event_rule.uploads.arn
    name      = aws_cloudwatch_event_rule.uploads.name
    role_name = aws_iam_role.rule.name
  }
}
