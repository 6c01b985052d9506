output "dead_letter_queue" {
  description = "The dead-letter queue of the rule and of the workflow."
  value = {
    arn  = aws_sqs_queue.dead_letter.arn
    name = aws_sqs_queue.dead_letter.name
    url  = aws_sqs_queue.dead_letter.id
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
