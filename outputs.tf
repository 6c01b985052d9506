output "alarm_names" {
  description = "Names of the alarms."
  value       = module.observability.alarm_names
}

output "alerts_topic_arn" {
  description = "Topic for alarms."
  value       = module.notification.alerts_topic_arn
}

output "aws_region" {
  description = "Region everything is deployed to."
  value       = var.aws_region
}

output "backfill_state_machine_arn" {
  description = "The backfill workflow for existing photos."
  value       = module.orchestration.backfill.arn
}

output "dashboard_url" {
  description = "Dashboard of the environment in AWS's console."
  value       = module.observability.dashboard_url
}

output "dead_letter_queue_arn" {
  description = "Queue with the events that could not be processed."
  value       = module.eventing.dead_letter_queue.arn
}

output "dead_letter_queue_url" {
  description = "Queue with the events that could not be processed, as the SDKs name it."
  value       = module.eventing.dead_letter_queue.url
}

output "environment" {
  description = "Name of the environment."
  value       = var.environment
}

output "function_names" {
  description = "Names of the functions."
  value       = { for name, function in merge(module.orchestration.functions, { start_workflow = module.eventing.function }) : name => function.name }
}

output "ingestion" {
  description = "How uploads reach the workflow: mode, pace and cap, and the queue, its mapping and the table of counts."
  value       = module.eventing.ingestion
}

output "key_arn" {
  description = "Key everything is encrypted with; uploaders need kms:GenerateDataKey on it."
  value       = module.storage.key_arn
}

output "name" {
  description = "Name of the stack, the prefix of its resources' names."
  value       = local.name
}

output "results_table_name" {
  description = "Table with one record per upload."
  value       = module.storage.results_table.name
}

output "results_topic_arn" {
  description = "Topic the results are published to."
  value       = module.notification.results_topic_arn
}

output "state_machine_arn" {
  description = "The workflow for uploads."
  value       = module.orchestration.state_machine.arn
}

output "state_machine_arns" {
  description = "The workflow of each type; after workflow_type changes, the other one still finishes its executions."
  value       = module.orchestration.state_machine_arns
}

output "uploads_bucket_name" {
  description = "Bucket to upload photos to."
  value       = module.storage.uploads_bucket.name
}
