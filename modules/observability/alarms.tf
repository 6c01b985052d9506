locals {
  # Missing data is not breaching, except for the alarm on silence itself.
  alarm_defaults = {
    comparison = "GreaterThanOrEqualToThreshold"
    hours      = 0
    missing    = "notBreaching"
    percentile = null
    periods    = 1
    statistic  = "Sum"
  }

  dead_letter_periods = ceil(var.alarms.dead_letter_age_minutes / 5)

  workflow = { StateMachineArn = var.state_machine_arn }

  function_alarms = merge([
    for function in local.functions : {
      "${trimprefix(function.name, "${var.name}-")}-errors" = {
        dimensions = { FunctionName = function.name }
        meaning    = "Invocations of ${function.name} fail. The workflow retries, and parks the photo's event if that does not help."
        metric     = "Errors"
        namespace  = "AWS/Lambda"
        section    = "function-errors"
        threshold  = var.alarms.function_errors
      }
      "${trimprefix(function.name, "${var.name}-")}-throttles" = {
        dimensions = { FunctionName = function.name }
        meaning    = "For 15 minutes ${function.name} has been throttled: more photos arrive than its concurrency allows. They wait, and are parked if they wait too long."
        metric     = "Throttles"
        namespace  = "AWS/Lambda"
        periods    = 3
        section    = "function-throttles"
        threshold  = var.alarms.function_throttles
      }
    }
  ]...)

  topic_alarms = {
    for key, topic in var.topics : "${key}-not-delivered" => {
      dimensions = { TopicName = topic }
      meaning    = "SNS gave up delivering messages of ${topic} to a subscriber."
      metric     = "NumberOfNotificationsFailed"
      namespace  = "AWS/SNS"
      section    = "notifications-not-delivered"
      threshold  = var.alarms.notification_failures
    }
  }

  # By name, which is <name>-<key>. `section` is the heading in docs/operations.md.
  alarms = {
    for key, alarm in merge(local.buffer_alarms, local.function_alarms, local.topic_alarms, {
      # Not ApproximateAgeOfOldestMessage, which ignores messages received three times, as by viewing them:
      # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
      # Not its Minimum: viewing hides all events for up to a minute or so, which must not restart the count.
      dead-letters-old = {
        dimensions = { QueueName = var.dead_letter_queue_name }
        meaning    = "For ${local.dead_letter_periods * 5} minutes events have been waiting in the dead-letter queue. They are deleted after 14 days."
        metric     = "ApproximateNumberOfMessagesVisible"
        namespace  = "AWS/SQS"
        periods    = local.dead_letter_periods
        section    = "dead-letters-old"
        statistic  = "Maximum"
        threshold  = var.alarms.dead_letter_age_minutes > 0 ? 1 : 0
      }
      dead-letters-waiting = {
        dimensions = { QueueName = var.dead_letter_queue_name }
        meaning    = "Photos could not be processed; their events wait in the dead-letter queue."
        metric     = "ApproximateNumberOfMessagesVisible"
        namespace  = "AWS/SQS"
        section    = "dead-letters-waiting"
        statistic  = "Maximum"
        threshold  = var.alarms.dead_letters
      }
      delivery-failed = {
        dimensions = { RuleName = var.rule_name }
        meaning    = "EventBridge could not start the workflow and put the uploads' events into the dead-letter queue."
        metric     = "FailedInvocations"
        namespace  = "AWS/Events"
        section    = "delivery-failed"
        threshold  = var.alarms.delivery_failures
      }
      events-lost = {
        dimensions = { RuleName = var.rule_name }
        meaning    = "EventBridge could neither start the workflow nor park the uploads' events: those photos are not analysed until `make audit` starts them."
        metric     = "InvocationsFailedToBeSentToDlq"
        namespace  = "AWS/Events"
        section    = "events-lost"
        threshold  = var.alarms.lost_events
      }
      executions-failed = {
        dimensions = local.workflow
        meaning    = "Executions failed after all retries; their events are in the dead-letter queue."
        metric     = "ExecutionsFailed"
        namespace  = "AWS/States"
        section    = "executions-failed"
        threshold  = var.alarms.executions_failed
      }
      executions-slow = {
        dimensions = local.workflow
        meaning    = "For 15 minutes one photo in 20 or more has taken ${var.alarms.latency_p95_seconds} s or longer from start to notification."
        metric     = "ExecutionTime"
        namespace  = "AWS/States"
        percentile = "p95"
        periods    = 3
        section    = "executions-slow"
        threshold  = var.alarms.latency_p95_seconds * 1000
      }
      # EXPRESS has no quota of transitions, so this one never goes off for it.
      executions-throttled = {
        dimensions = local.workflow
        meaning    = "For 15 minutes Step Functions has throttled executions: the account's quota of state transitions is used up. Nothing is lost; photos wait."
        metric     = "ExecutionThrottled"
        namespace  = "AWS/States"
        periods    = 3
        section    = "executions-throttled"
        threshold  = var.workflow_type == "STANDARD" ? var.alarms.executions_throttled : 0
      }
      executions-timed-out = {
        dimensions = local.workflow
        meaning    = "Executions ran out of time, perhaps before they could record the photo or park its event."
        metric     = "ExecutionsTimedOut"
        namespace  = "AWS/States"
        section    = "executions-timed-out"
        threshold  = var.alarms.executions_timed_out
      }
      no-images = {
        comparison = "LessThanThreshold"
        dimensions = local.workflow
        hours      = var.alarms.no_images_hours
        meaning    = "No photo has arrived for ${var.alarms.no_images_hours} hours."
        metric     = "ExecutionsStarted"
        missing    = "breaching"
        namespace  = "AWS/States"
        section    = "no-images"
        threshold  = var.alarms.no_images_hours > 0 ? 1 : 0
      }
      rekognition-throttled = {
        dimensions = { Operation = "DetectFaces" }
        meaning    = "For 15 minutes Rekognition has throttled calls: the account makes more DetectFaces calls a second than its quota. The quota is shared by everything in this account and region."
        metric     = "ThrottledCount"
        namespace  = "AWS/Rekognition"
        periods    = 3
        section    = "rekognition-throttled"
        threshold  = var.alarms.rekognition_throttles
      }
    }) : key => merge(local.alarm_defaults, alarm) if alarm.threshold > 0
  }
}

resource "aws_cloudwatch_metric_alarm" "alarms" {
  for_each = local.alarms

  alarm_name        = "${var.name}-${each.key}"
  alarm_description = "${each.value.meaning} Runbook: ${var.runbook_url}#${each.value.section}"
  alarm_actions     = [var.alerts_topic_arn]
  ok_actions        = [var.alerts_topic_arn]

  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.percentile == null ? each.value.statistic : null
  extended_statistic  = each.value.percentile
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing

  # Longer periods would make one alarm an hour late, shorter ones cannot look back for days.
  period              = each.value.hours > 0 ? 3600 : 300
  evaluation_periods  = each.value.hours > 0 ? each.value.hours : each.value.periods
  datapoints_to_alarm = each.value.hours > 0 ? each.value.hours : each.value.periods
}
