mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id             = "111122223333"
  alerts_topic_arn       = "arn:aws:sns:us-east-1:111122223333:photos-dev-alerts"
  aws_region             = "us-east-1"
  dead_letter_queue_name = "photos-dev-dead-letter"
  name                   = "photos-dev"
  rule_name              = "photos-dev-uploads"
  state_machine_arn      = "arn:aws:states:us-east-1:111122223333:stateMachine:photos-dev-pipeline-standard"
  workflow_type          = "STANDARD"

  functions = {
    process_image = {
      log_group_name = "/aws/lambda/photos-dev-process-image"
      name           = "photos-dev-process-image"
    }
    send_notification = {
      log_group_name = "/aws/lambda/photos-dev-send-notification"
      name           = "photos-dev-send-notification"
    }
  }

  topics = {
    alerts  = "photos-dev-alerts"
    results = "photos-dev-results"
  }
}

run "accepts_a_week_of_silence" {
  command = plan

  variables {
    alarms = { no_images_hours = 168 }
  }
}

run "reject_more_than_a_week_of_silence" {
  command = plan

  variables {
    alarms = { no_images_hours = 169 }
  }

  expect_failures = [var.alarms]
}

run "accepts_events_parked_for_a_day" {
  command = plan

  variables {
    alarms = { dead_letter_age_minutes = 1440 }
  }
}

run "reject_events_parked_for_more_than_a_day" {
  command = plan

  variables {
    alarms = { dead_letter_age_minutes = 1441 }
  }

  expect_failures = [var.alarms]
}

run "reject_negative_thresholds" {
  command = plan

  variables {
    alarms = { executions_failed = -1 }
  }

  expect_failures = [var.alarms]
}

run "reject_parts_of_events" {
  command = plan

  variables {
    alarms = { dead_letters = 0.5 }
  }

  expect_failures = [var.alarms]
}

run "reject_a_runbook_with_a_section" {
  command = plan

  variables {
    runbook_url = "https://git.example.com/photos/docs/operations.md#runbook"
  }

  expect_failures = [var.runbook_url]
}

run "reject_unknown_workflow_types" {
  command = plan

  variables {
    workflow_type = "FAST"
  }

  expect_failures = [var.workflow_type]
}
