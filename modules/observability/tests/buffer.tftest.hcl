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

  buffer = {
    capped         = true
    function_name  = "photos-dev-start-workflow"
    log_group_name = "/aws/lambda/photos-dev-start-workflow"
    queue_name     = "photos-dev-uploads"
  }

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

run "an_old_backlog_is_an_alarm_long_before_its_events_are_gone" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarms["backlog-old"].dimensions == tomap({ QueueName = "photos-dev-uploads" }) && aws_cloudwatch_metric_alarm.alarms["backlog-old"].threshold == 360 * 60
    error_message = "SQS reports ages in seconds; six hours are enough to notice, and far from 14 days."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarms["cap-reached"].metric_name == aws_cloudwatch_log_metric_filter.cap_reached[0].metric_transformation[0].name
    error_message = "The alarm must watch what the filter counts."
  }
}

run "without_a_cap_there_is_no_alarm_on_it" {
  command = plan

  variables {
    buffer = {
      capped         = false
      function_name  = "photos-dev-start-workflow"
      log_group_name = "/aws/lambda/photos-dev-start-workflow"
      queue_name     = "photos-dev-uploads"
    }
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.alarms), "cap-reached") && contains(keys(aws_cloudwatch_metric_alarm.alarms), "backlog-old")
    error_message = "An alarm that can never go off costs ten cents a month."
  }
}
