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

# proves: always-throttled
run "alarms_watch_every_way_to_lose_or_delay_a_photo" {
  command = plan

  assert {
    condition = toset(keys(aws_cloudwatch_metric_alarm.alarms)) == toset([
      "alerts-not-delivered",
      "dead-letters-old",
      "dead-letters-waiting",
      "delivery-failed",
      "events-lost",
      "executions-failed",
      "executions-slow",
      "executions-throttled",
      "executions-timed-out",
      "process-image-errors",
      "process-image-throttles",
      "rekognition-throttled",
      "results-not-delivered",
      "send-notification-errors",
      "send-notification-throttles",
    ])
    error_message = "By default all alarms must be made but the one about silence, which not every bucket keeps."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.alarms : tolist(alarm.alarm_actions) == tolist([var.alerts_topic_arn]) && tolist(alarm.ok_actions) == tolist([var.alerts_topic_arn])])
    error_message = "People must be notified when something is wrong, and when it is over."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.alarms : alarm.treat_missing_data == "notBreaching" && alarm.comparison_operator == "GreaterThanOrEqualToThreshold"])
    error_message = "Services report nothing while nothing happens: that must not be an alarm, nor an unknown state."
  }

  assert {
    condition     = output.alarm_names == sort([for key in keys(aws_cloudwatch_metric_alarm.alarms) : "photos-dev-${key}"])
    error_message = "Names must begin with the stack's, and the output must list them."
  }
}

run "one_failure_is_enough" {
  command = plan

  assert {
    condition     = alltrue([for key in ["dead-letters-waiting", "delivery-failed", "events-lost", "executions-failed", "executions-timed-out", "results-not-delivered"] : aws_cloudwatch_metric_alarm.alarms[key].threshold == 1])
    error_message = "A photo that is lost or parked must not wait for a second one."
  }

  assert {
    condition     = alltrue([for key in ["dead-letters-waiting", "delivery-failed", "events-lost", "executions-failed", "executions-timed-out", "results-not-delivered"] : aws_cloudwatch_metric_alarm.alarms[key].evaluation_periods == 1])
    error_message = "A photo that is lost or parked must be reported within minutes."
  }
}

run "a_burst_is_no_alarm" {
  command = plan

  assert {
    condition     = alltrue([for key in ["executions-slow", "executions-throttled", "process-image-throttles", "rekognition-throttled", "send-notification-throttles"] : aws_cloudwatch_metric_alarm.alarms[key].datapoints_to_alarm * aws_cloudwatch_metric_alarm.alarms[key].period == 900])
    error_message = "Throttling is how a burst is spread out: it must last for 15 minutes to be an alarm."
  }
}

run "thresholds_are_in_the_metrics_units" {
  command = plan

  variables {
    alarms = {
      latency_p95_seconds = 1.5
    }
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarms["executions-slow"].threshold == 1500
    error_message = "Step Functions reports times in milliseconds."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarms["executions-slow"].extended_statistic == "p95"
    error_message = "The average hides the slow ones."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarms["executions-failed"].threshold == 1
    error_message = "Thresholds that are not given must keep their defaults."
  }
}

# SQS leaves events that were received three times out of the oldest one's age, and hides them while they are looked at.
run "looking_at_parked_events_does_not_end_their_alarm" {
  command = plan

  variables {
    alarms = { dead_letter_age_minutes = 42 }
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarms["dead-letters-old"].metric_name == "ApproximateNumberOfMessagesVisible" && aws_cloudwatch_metric_alarm.alarms["dead-letters-old"].threshold == 1
    error_message = "A single waiting event, however often received, must keep the alarm on."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarms["dead-letters-old"].statistic == "Maximum"
    error_message = "An event hidden for a minute is still there."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarms["dead-letters-old"].datapoints_to_alarm == aws_cloudwatch_metric_alarm.alarms["dead-letters-old"].evaluation_periods && aws_cloudwatch_metric_alarm.alarms["dead-letters-old"].evaluation_periods * aws_cloudwatch_metric_alarm.alarms["dead-letters-old"].period == 45 * 60
    error_message = "It must wait for all the minutes, rounded up to whole periods."
  }

  assert {
    condition     = startswith(aws_cloudwatch_metric_alarm.alarms["dead-letters-old"].alarm_description, "For 45 minutes ")
    error_message = "It must say how long it has waited."
  }
}

run "descriptions_lead_to_the_runbook" {
  command = plan

  variables {
    runbook_url = "https://git.example.com/photos/docs/operations.md"
  }

  assert {
    condition     = endswith(aws_cloudwatch_metric_alarm.alarms["process-image-errors"].alarm_description, " Runbook: https://git.example.com/photos/docs/operations.md#function-errors")
    error_message = "Each description must end with the address of its section."
  }
}

run "zero_leaves_an_alarm_out" {
  command = plan

  variables {
    alarms = {
      dead_letter_age_minutes = 0
      dead_letters            = 0
      delivery_failures       = 0
      executions_failed       = 0
      executions_throttled    = 0
      executions_timed_out    = 0
      function_errors         = 0
      function_throttles      = 0
      latency_p95_seconds     = 0
      lost_events             = 0
      notification_failures   = 0
      rekognition_throttles   = 1
    }
  }

  assert {
    condition     = keys(aws_cloudwatch_metric_alarm.alarms) == ["rekognition-throttled"]
    error_message = "0 must leave an alarm out."
  }
}

run "silence_is_an_alarm_by_choice" {
  command = plan

  variables {
    alarms = { no_images_hours = 6 }
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarms["no-images"].treat_missing_data == "breaching"
    error_message = "Without photos there is no data, which is what this alarm is about."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarms["no-images"].period * aws_cloudwatch_metric_alarm.alarms["no-images"].datapoints_to_alarm == 6 * 3600
    error_message = "It must look back over all the hours."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.alarms["no-images"].comparison_operator == "LessThanThreshold" && aws_cloudwatch_metric_alarm.alarms["no-images"].threshold == 1
    error_message = "A single photo must end the silence."
  }
}

run "express_has_no_transitions_to_throttle" {
  command = plan

  variables {
    workflow_type = "EXPRESS"
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.alarms), "executions-throttled")
    error_message = "An alarm that cannot go off only costs."
  }
}
