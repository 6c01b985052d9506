data "aws_caller_identity" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  name       = "${var.name}-${var.environment}"
}

module "storage" {
  source = "./modules/storage"

  account_id                      = local.account_id
  aws_region                      = var.aws_region
  kms_key_arn                     = var.kms_key_arn
  name                            = local.name
  photo_retention_days            = var.photo_retention_days
  protect_data                    = var.protect_data
  replaced_version_retention_days = var.replaced_version_retention_days
  retire_made_key                 = var.retire_made_key
}

module "notification" {
  source = "./modules/notification"

  account_id          = local.account_id
  alert_subscriptions = var.alert_subscriptions
  key_arn             = module.storage.key_arn
  name                = local.name
  subscriptions       = var.subscriptions
}

module "orchestration" {
  source = "./modules/orchestration"

  account_id            = local.account_id
  aws_region            = var.aws_region
  backfill_concurrency  = var.backfill_concurrency
  build_dir             = "${path.root}/build"
  commit                = var.commit
  convert               = var.convert
  dead_letter_queue     = module.eventing.dead_letter_queue
  face_attributes       = var.face_attributes
  face_min_confidence   = var.face_min_confidence
  functions_dir         = "${path.root}/functions"
  key_arn               = module.storage.key_arn
  log_level             = var.log_level
  log_object_keys       = var.log_object_keys
  log_retention_days    = var.log_retention_days
  name                  = local.name
  previous_key_arns     = module.storage.previous_key_arns
  process_image         = var.process_image
  record_retention_days = var.record_retention_days
  results_table         = module.storage.results_table
  results_topic_arn     = module.notification.results_topic_arn
  send_notification     = var.send_notification
  uploads_bucket_arn    = module.storage.uploads_bucket.arn
  workflow_type         = var.workflow_type
}

module "eventing" {
  source = "./modules/eventing"

  account_id         = local.account_id
  bucket_name        = module.storage.uploads_bucket.name
  build_dir          = "${path.root}/build"
  commit             = var.commit
  functions_dir      = "${path.root}/functions"
  ingestion          = var.ingestion
  key_arn            = module.storage.key_arn
  key_prefix         = var.upload_prefix
  log_level          = var.log_level
  log_retention_days = var.log_retention_days
  name               = local.name
  process_image      = var.process_image
  state_machine_arn  = module.orchestration.state_machine.arn
  workflow_type      = var.workflow_type
}

module "observability" {
  source = "./modules/observability"

  account_id             = local.account_id
  alarms                 = var.alarms
  alerts_topic_arn       = module.notification.alerts_topic_arn
  aws_region             = var.aws_region
  buffer                 = module.eventing.buffer
  dead_letter_queue_name = module.eventing.dead_letter_queue.name
  functions              = module.orchestration.functions
  name                   = local.name
  rule_name              = module.eventing.rule.name
  runbook_url            = var.runbook_url
  state_machine_arn      = module.orchestration.state_machine.arn
  workflow_type          = var.workflow_type

  topics = {
    alerts  = module.notification.alerts_topic_name
    results = module.notification.results_topic_name
  }
}
