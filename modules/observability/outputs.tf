output "alarm_names" {
  description = "Names of the alarms, in alphabetical order."
  value       = sort([for alarm in aws_cloudwatch_metric_alarm.alarms : alarm.alarm_name])
}

output "dashboard_url" {
  description = "The dashboard in AWS's console."
  value       = "https://${local.console}/cloudwatch/home?region=${var.aws_region}#dashboards/dashboard/${aws_cloudwatch_dashboard.pipeline.dashboard_name}"
}

output "metrics_namespace" {
  description = "CloudWatch namespace of the metrics made from the logs."
  value       = local.namespace
}
