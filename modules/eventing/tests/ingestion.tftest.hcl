mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id        = "111122223333"
  bucket_name       = "photos-dev-uploads-111122223333"
  build_dir         = "build"
  functions_dir     = "../../functions"
  key_arn           = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  name              = "photos-dev"
  state_machine_arn = "arn:aws:states:us-east-1:111122223333:stateMachine:photos-dev-pipeline"
}

override_resource {
  target = aws_sqs_queue.dead_letter
  values = {
    arn = "arn:aws:sqs:us-east-1:111122223333:dead-letter"
  }
}

override_resource {
  target = aws_sqs_queue.uploads
  values = {
    arn = "arn:aws:sqs:us-east-1:111122223333:uploads"
  }
}

run "buffer_exists_in_direct_mode_too_and_the_rule_bypasses_it" {
  assert {
    condition     = aws_cloudwatch_event_target.workflow.arn == var.state_machine_arn && aws_cloudwatch_event_target.workflow.role_arn == aws_iam_role.rule.arn
    error_message = "Direct, the rule must start the workflow."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.uploads.event_source_arn == aws_sqs_queue.uploads.arn
    error_message = "What waits in the queue after a switch must be worked off."
  }

  assert {
    condition     = length(aws_dynamodb_table.counts) == 0 && output.ingestion.counts_table_name == null
    error_message = "Without a cap there is nothing to count."
  }

  assert {
    condition     = output.ingestion.photos_per_second == 45
    error_message = "Without a reservation the pace must be a little under Rekognition's 50 a second."
  }
}

run "buffered_uploads_are_started_by_workers_that_share_the_pace" {
  variables {
    ingestion     = { mode = "buffered", photos_per_second = 45 }
    process_image = { reserved_concurrency = 50 }
  }

  assert {
    condition     = aws_cloudwatch_event_target.workflow.arn == aws_sqs_queue.uploads.arn && aws_cloudwatch_event_target.workflow.role_arn == null
    error_message = "The rule must put events into the queue, whose policy lets it."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.uploads.scaling_config[0].maximum_concurrency == 9
    error_message = "Nine workers of five a second make 45."
  }

  assert {
    condition     = local.worker_share * local.workers == 45
    error_message = "The shares of all workers together must be the pace."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.uploads.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "One refused start must not bring a whole batch back."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.uploads.maximum_batching_window_in_seconds == null
    error_message = "No photo may wait for its batch to fill."
  }
}

run "slow_pace_is_shared_by_the_two_workers_there_are_at_least" {
  variables {
    ingestion = { mode = "buffered", photos_per_second = 1 }
  }

  assert {
    condition     = aws_lambda_event_source_mapping.uploads.scaling_config[0].maximum_concurrency == 2 && local.worker_share == 0.5
    error_message = "MaximumConcurrency is two at least; each worker then starts half a photo a second."
  }

  assert {
    condition     = 10 / local.worker_share + 10 * 7 < local.start_workflow_timeout
    error_message = "A batch at the slowest pace, with every call as slow as it may be, must fit the function's timeout."
  }
}

run "pace_left_open_is_what_the_reservation_sustains" {
  variables {
    ingestion     = { mode = "buffered" }
    process_image = { reserved_concurrency = 50 }
    workflow_type = "EXPRESS"
  }

  assert {
    condition     = output.ingestion.photos_per_second == 45
    error_message = "50 x (300 - 30) / 300 = 45."
  }
}

run "buffered_events_are_encrypted_kept_longest_and_end_in_the_one_queue" {
  assert {
    condition     = aws_sqs_queue.uploads.kms_master_key_id == var.key_arn && aws_sqs_queue.uploads.message_retention_seconds == 1209600
    error_message = "Waiting events must be encrypted with the stack's key and kept for 14 days."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.uploads.redrive_policy) == { deadLetterTargetArn = "arn:aws:sqs:us-east-1:111122223333:dead-letter", maxReceiveCount = 1000 }
    error_message = "What no worker can take must end in the dead-letter queue, and waiting must not bring it there."
  }

  assert {
    condition     = aws_sqs_queue.uploads.visibility_timeout_seconds == 720
    error_message = "A message must stay hidden for six times the function's timeout."
  }
}

run "only_the_rule_may_buffer_and_only_over_tls" {
  assert {
    condition     = [for statement in data.aws_iam_policy_document.uploads.statement : [statement.sid, statement.actions]] == [["RuleBuffersEvents", toset(["sqs:SendMessage"])], ["DenyPlainHttp", toset(["sqs:*"])]]
    error_message = "The queue's policy must hold these two statements."
  }

  assert {
    condition     = one(data.aws_iam_policy_document.uploads.statement[0].condition) == { test = "ArnEquals", values = tolist([aws_cloudwatch_event_rule.uploads.arn]), variable = "aws:SourceArn" }
    error_message = "No other rule, of whatever account, may write to the queue."
  }

  assert {
    condition     = aws_sqs_queue_policy.uploads.queue_url == aws_sqs_queue.uploads.id
    error_message = "The queue must have its policy."
  }
}

run "cap_is_counted_in_an_encrypted_table_of_its_own" {
  variables {
    ingestion = { mode = "buffered", photos_per_second = 10, photos_per_day = 600 }
  }

  assert {
    condition     = aws_dynamodb_table.counts[0].server_side_encryption[0].kms_key_arn == var.key_arn && aws_dynamodb_table.counts[0].ttl[0].attribute_name == "ExpiresAt"
    error_message = "Counts must be encrypted and expire."
  }
}

run "reject_unknown_mode" {
  command = plan

  variables {
    ingestion = { mode = "queued" }
  }

  expect_failures = [var.ingestion]
}

run "reject_pace_of_nothing" {
  command = plan

  variables {
    ingestion = { mode = "buffered", photos_per_second = 0 }
  }

  expect_failures = [var.ingestion]
}

run "reject_pace_above_what_the_reservation_works_off" {
  command = plan

  variables {
    ingestion     = { mode = "buffered", photos_per_second = 51 }
    process_image = { reserved_concurrency = 50 }
  }

  expect_failures = [var.ingestion]
}

run "reject_cap_below_a_minute" {
  command = plan

  variables {
    ingestion = { mode = "buffered", photos_per_second = 10, photos_per_day = 599 }
  }

  expect_failures = [var.ingestion]
}

run "reject_pace_that_five_minutes_cannot_hold" {
  command = plan

  variables {
    ingestion     = { mode = "buffered", photos_per_second = 46 }
    process_image = { reserved_concurrency = 50 }
    workflow_type = "EXPRESS"
  }

  expect_failures = [var.ingestion]
}

run "standard_holds_that_pace" {
  command = plan

  variables {
    ingestion     = { mode = "buffered", photos_per_second = 46 }
    process_image = { reserved_concurrency = 50 }
  }
}
