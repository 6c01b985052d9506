output "alerts_topic_arn" {
  description = "Topic for alarms, once they may publish to it."
  value       = aws_sns_topic.alerts.arn

  depends_on = [aws_sns_topic_policy.alerts]
}

output "alerts_topic_name" {
  description = "Name of the topic for alarms."
  value       = aws_sns_topic.alerts.name
}

output "results_topic_arn" {
  description = "Topic the results are published to."
  value       = aws_sns_topic.results.arn

  depends_on = [aws_sns_topic_policy.results]
}

output "results_topic_name" {
  description = "Name of the topic the results are published to."
  value       = aws_sns_topic.results.name
}
