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

# Distinct, so that a target wired to something else shows.
override_resource {
  target = aws_iam_role.rule
  values = {
    arn = "arn:aws:iam::111122223333:role/rule"
  }
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

override_resource {
  target = aws_cloudwatch_event_rule.uploads
  values = {
    arn = "arn:aws:events:us-east-1:111122223333:rule/uploads"
  }
}

# proves: start-refused
run "events_start_the_workflow_or_are_parked" {
  assert {
    condition     = aws_cloudwatch_event_target.workflow.rule == aws_cloudwatch_event_rule.uploads.name
    error_message = "The target must be the rule's."
  }

  assert {
    condition     = aws_cloudwatch_event_target.workflow.arn == var.state_machine_arn
    error_message = "The rule must start the workflow."
  }

  assert {
    condition     = aws_cloudwatch_event_target.workflow.role_arn == aws_iam_role.rule.arn
    error_message = "The rule must start the workflow with its own role."
  }

  assert {
    condition     = aws_cloudwatch_event_target.workflow.dead_letter_config[0].arn == aws_sqs_queue.dead_letter.arn
    error_message = "What cannot be delivered must be parked."
  }

  assert {
    condition     = aws_cloudwatch_event_target.workflow.retry_policy[0].maximum_event_age_in_seconds == 86400
    error_message = "Delivery must be tried for a day before an event is parked."
  }

  assert {
    condition     = aws_cloudwatch_event_target.workflow.retry_policy[0].maximum_retry_attempts == 185
    error_message = "Delivery must be tried as often as EventBridge allows."
  }

  assert {
    condition     = aws_cloudwatch_event_target.workflow.input == null && aws_cloudwatch_event_target.workflow.input_path == null
    error_message = "The workflow must get the whole event, so that a parked one can be sent again."
  }
}

run "parked_events_are_encrypted_and_kept_longest" {
  assert {
    condition     = aws_sqs_queue.dead_letter.kms_master_key_id == var.key_arn
    error_message = "Parked events must be encrypted with the stack's key."
  }

  assert {
    condition     = aws_sqs_queue.dead_letter.message_retention_seconds == 1209600
    error_message = "Parked events must be kept for the 14 days SQS allows."
  }

  assert {
    condition     = aws_sqs_queue_policy.dead_letter.queue_url == aws_sqs_queue.dead_letter.id
    error_message = "The queue must have its policy."
  }
}

run "only_the_rule_may_park_and_only_over_tls" {
  assert {
    condition     = [for statement in data.aws_iam_policy_document.dead_letter.statement : statement.sid] == ["RuleParksEvents", "DenyPlainHttp"]
    error_message = "The queue's policy must hold these two statements."
  }

  assert {
    condition     = [for condition in data.aws_iam_policy_document.dead_letter.statement[0].condition : condition if condition.variable == "aws:SourceArn"][0].values[0] == aws_cloudwatch_event_rule.uploads.arn
    error_message = "No other rule, of whatever account, may write to the queue."
  }

  assert {
    condition     = data.aws_iam_policy_document.dead_letter.statement[0].actions == toset(["sqs:SendMessage"])
    error_message = "The rule may do nothing but send."
  }

  assert {
    condition     = data.aws_iam_policy_document.dead_letter.statement[1].effect == "Deny"
    error_message = "Plain HTTP must be denied."
  }

  assert {
    condition     = data.aws_iam_policy_document.dead_letter.statement[1].actions == toset(["sqs:*"])
    error_message = "Plain HTTP must be denied whatever is asked for."
  }

  assert {
    condition     = one(data.aws_iam_policy_document.dead_letter.statement[1].condition) == { test = "Bool", values = tolist(["false"]), variable = "aws:SecureTransport" }
    error_message = "Only requests without TLS are to be denied."
  }
}
