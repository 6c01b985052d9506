# The alarms on the buffer of uploads.
locals {
  buffer = var.buffer == null ? [] : [var.buffer]

  buffer_alarms = merge([for buffer in local.buffer : {
    # It ignores uploads that wait for the daily cap once they were received three times; the cap has its own alarm.
    backlog-old = {
      dimensions = { QueueName = buffer.queue_name }
      meaning    = "An upload has been waiting in the buffer for ${var.alarms.backlog_age_minutes} minutes or longer: more arrive than the pace allows, or it is paused. Events are deleted after 14 days."
      metric     = "ApproximateAgeOfOldestMessage"
      namespace  = "AWS/SQS"
      section    = "backlog-old"
      statistic  = "Maximum"
      threshold  = var.alarms.backlog_age_minutes * 60
    }
    cap-reached = {
      dimensions = {}
      meaning    = "Today's photos_per_day is reached. Uploads wait in the buffer until midnight UTC."
      metric     = "CapReached"
      namespace  = local.namespace
      section    = "cap-reached"
      threshold  = buffer.capped ? var.alarms.cap_reached : 0
    }
    start-workflow-errors = {
      dimensions = { FunctionName = buffer.function_name }
      meaning    = "Invocations of ${buffer.function_name} fail. SQS delivers their uploads again, at most a thousand times."
      metric     = "Errors"
      namespace  = "AWS/Lambda"
      section    = "function-errors"
      threshold  = var.alarms.function_errors
    }
  }]...)

  buffer_rows = [for buffer in local.buffer : {
    height = 6
    text   = "## What waits?"
    widgets = [
      {
        type  = "metric"
        width = 8
        properties = {
          title = "Uploads in the buffer"
          stat  = "Maximum"
          metrics = [
            ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", buffer.queue_name, { label = "waiting", color = local.colours.main }],
            ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", buffer.queue_name, { label = "being started, or held for the cap", color = local.colours.other }],
          ]
        }
      },
      {
        type  = "metric"
        width = 8
        properties = {
          title   = "Age of the oldest upload in the buffer"
          stat    = "Maximum"
          metrics = [["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", buffer.queue_name, { label = "seconds", color = local.colours.bad }]]
        }
      },
      {
        type  = "metric"
        width = 8
        properties = {
          title = "Uploads put into the buffer, and started from it"
          stat  = "Sum"
          metrics = [
            ["AWS/SQS", "NumberOfMessagesSent", "QueueName", buffer.queue_name, { label = "put in", color = local.colours.neutral }],
            ["AWS/SQS", "NumberOfMessagesDeleted", "QueueName", buffer.queue_name, { label = "started", color = local.colours.good }],
            [local.namespace, "CapReached", { label = "batches held for the cap", color = local.colours.bad }],
          ]
        }
      },
    ]
  }]
}

resource "aws_cloudwatch_log_metric_filter" "cap_reached" {
  count = length(local.buffer)

  name           = "${var.name}-cap-reached"
  log_group_name = local.buffer[0].log_group_name
  pattern        = "{ $.message = \"daily cap reached\" }"

  metric_transformation {
    name      = "CapReached"
    namespace = local.namespace
    value     = "1"
    unit      = "Count"
  }
}
