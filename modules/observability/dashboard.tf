locals {
  alarm_arn_prefix = "arn:${data.aws_partition.current.partition}:cloudwatch:${var.aws_region}:${var.account_id}:alarm:"

  runbook = startswith(var.runbook_url, "https://") ? "[runbook](${var.runbook_url})" : "runbook, ${var.runbook_url}"

  colours = {
    bad     = "#d62728"
    good    = "#2ca02c"
    neutral = "#7f7f7f"
    main    = "#1f77b4"
    other   = "#ff7f0e"
  }

  # Questions from top to bottom, each a row of widgets: `widgets` are side by side and fill 24 columns.
  rows = concat(local.own_rows, local.buffer_rows)

  own_rows = [
    {
      height = 6
      text   = "## Is it working?\nWhat to do about a red alarm stands under its name in the ${local.runbook}."
      widgets = [
        {
          type  = "alarm"
          width = 12
          properties = {
            title  = "Alarms"
            alarms = [for key in sort(keys(local.alarms)) : "${local.alarm_arn_prefix}${var.name}-${key}"]
          }
        },
        {
          type  = "metric"
          width = 4
          properties = {
            title                = "Events waiting in the dead-letter queue"
            view                 = "singleValue"
            stat                 = "Maximum"
            period               = 60
            setPeriodToTimeRange = false
            metrics              = [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.dead_letter_queue_name, { label = "events", color = local.colours.bad }]]
          }
        },
        {
          type  = "metric"
          width = 8
          properties = {
            title = "Executions: started, succeeded, failed"
            stat  = "Sum"
            metrics = [
              ["AWS/States", "ExecutionsStarted", "StateMachineArn", var.state_machine_arn, { label = "started", color = local.colours.neutral }],
              ["AWS/States", "ExecutionsSucceeded", "StateMachineArn", var.state_machine_arn, { label = "succeeded", color = local.colours.good }],
              ["AWS/States", "ExecutionsFailed", "StateMachineArn", var.state_machine_arn, { label = "failed", color = local.colours.bad }],
            ]
          }
        },
      ]
    },
    {
      height = 6
      text   = "## How much?"
      widgets = [
        {
          type  = "metric"
          width = 12
          properties = {
            title   = "Images by outcome"
            stat    = "Sum"
            stacked = true
            metrics = [for outcome, colour in {
              duplicate     = local.colours.neutral
              face_detected = local.colours.good
              no_face       = local.colours.main
              rejected      = local.colours.other
            } : [local.namespace, "Images", "Outcome", outcome, { label = outcome, color = colour }]]
          }
        },
        {
          type  = "metric"
          width = 6
          properties = {
            title   = "Faces found"
            stat    = "Sum"
            metrics = [[local.namespace, "Faces", { label = "faces", color = local.colours.good }]]
          }
        },
        {
          type  = "metric"
          width = 6
          properties = {
            title = "Messages: published, delivered"
            stat  = "Sum"
            metrics = [
              ["AWS/SNS", "NumberOfMessagesPublished", "TopicName", var.topics.results, { label = "published", color = local.colours.neutral }],
              ["AWS/SNS", "NumberOfNotificationsDelivered", "TopicName", var.topics.results, { label = "delivered", color = local.colours.good }],
            ]
          }
        },
      ]
    },
    {
      height = 6
      text   = "## How fast?"
      widgets = [
        {
          type  = "metric"
          width = 8
          properties = {
            title = "From start to notification"
            metrics = [for stat, colour in { p50 = local.colours.good, p95 = local.colours.other, p99 = local.colours.bad } :
              ["AWS/States", "ExecutionTime", "StateMachineArn", var.state_machine_arn, { stat = stat, label = stat, color = colour }]
            ]
            yAxis = { left = { label = "ms", min = 0, showUnits = false } }
            annotations = {
              horizontal = var.alarms.latency_p95_seconds > 0 ? [{ label = "alarm on p95", value = var.alarms.latency_p95_seconds * 1000 }] : []
            }
          }
        },
        {
          type  = "metric"
          width = 8
          properties = {
            title = "Analysing one image, p95"
            stat  = "p95"
            metrics = [
              [local.namespace, "AnalysisTime", { label = "ProcessImage's work", color = local.colours.main }],
              ["AWS/Rekognition", "ResponseTime", "Operation", "DetectFaces", { label = "Rekognition, whole account", color = local.colours.neutral }],
            ]
            yAxis = { left = { label = "ms", min = 0, showUnits = false } }
          }
        },
        {
          type  = "metric"
          width = 8
          properties = {
            title = "Functions at work at once"
            stat  = "Maximum"
            metrics = [for key, function in local.functions :
              ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", function.name, { label = local.labels[key] }]
            ]
          }
        },
      ]
    },
    {
      height = 6
      text   = "## What failed?"
      widgets = [
        {
          type  = "metric"
          width = 8
          properties = {
            title = "Executions and deliveries"
            stat  = "Sum"
            metrics = [
              ["AWS/States", "ExecutionsFailed", "StateMachineArn", var.state_machine_arn, { label = "executions failed" }],
              ["AWS/States", "ExecutionsTimedOut", "StateMachineArn", var.state_machine_arn, { label = "executions timed out" }],
              ["AWS/States", "ExecutionsAborted", "StateMachineArn", var.state_machine_arn, { label = "executions stopped by hand" }],
              ["AWS/Events", "FailedInvocations", "RuleName", var.rule_name, { label = "EventBridge gave up" }],
              ["AWS/SNS", "NumberOfNotificationsFailed", "TopicName", var.topics.results, { label = "messages not delivered" }],
            ]
          }
        },
        {
          type  = "metric"
          width = 8
          properties = {
            title = "Functions and throttling"
            stat  = "Sum"
            metrics = concat(
              [for pair in setproduct(["Errors", "Throttles"], keys(local.functions)) :
                ["AWS/Lambda", pair[0], "FunctionName", local.functions[pair[1]].name, { label = "${local.labels[pair[1]]} ${lower(pair[0])}" }]
              ],
              [["AWS/Rekognition", "ThrottledCount", "Operation", "DetectFaces", { label = "Rekognition throttles, whole account" }]],
            )
          }
        },
        {
          type  = "metric"
          width = 8
          properties = {
            title   = "Rejected images by reason"
            stat    = "Sum"
            stacked = true
            # All reasons; functions/process_image/outcomes.py defines them.
            metrics = [[{ id = "rejected", label = "$${PROP('Dim.Reason')}", expression = "SEARCH('{\"${local.namespace}\",Reason} MetricName=\"RejectedImages\"', 'Sum', 300)" }]]
          }
        },
      ]
    },
    {
      height = 6
      text   = ""
      widgets = [
        {
          type  = "log"
          width = 24
          properties = {
            title = "Latest errors of the functions"
            view  = "table"
            query = join("\n", [
              join(" | ", [for function in local.functions : "SOURCE '${function.log_group_name}'"]),
              "| fields @timestamp, coalesce(errorType, record.errorType, record.status) as error, coalesce(errorMessage, message) as text, coalesce(requestId, record.requestId) as request",
              # Runtime clients before 4.0.4 write log_level; what ends a function uncaught has an errorType with any version.
              # Time-outs and out-of-memory errors are in Lambda's own report.
              "| filter level in [\"ERROR\", \"CRITICAL\"] or log_level in [\"ERROR\", \"CRITICAL\"] or ispresent(errorType) or (type = \"platform.report\" and record.status != \"success\")",
              "| sort @timestamp desc",
              "| limit 20",
            ])
          }
        },
      ]
    },
  ]

  widget_defaults = {
    period = 300
    region = var.aws_region
    view   = "timeSeries"
  }
  defaults_of = {
    alarm  = []
    log    = ["region"]
    metric = ["period", "region", "view"]
  }

  text_height = 2
  # Where each row begins: under the texts and widgets of those above it.
  tops = [for index, row in local.rows : sum(concat([0], [
    for above in slice(local.rows, 0, index) : above.height + (above.text == "" ? 0 : local.text_height)
  ]))]

  texts = [for index, row in local.rows : {
    type       = "text"
    x          = 0
    y          = local.tops[index]
    width      = 24
    height     = local.text_height
    properties = { markdown = row.text, background = "transparent" }
  } if row.text != ""]

  panels = flatten([for index, row in local.rows : [for place, widget in row.widgets : {
    type   = widget.type
    x      = sum(concat([0], [for left in slice(row.widgets, 0, place) : left.width]))
    y      = local.tops[index] + (row.text == "" ? 0 : local.text_height)
    width  = widget.width
    height = row.height
    properties = merge(
      { for name, value in local.widget_defaults : name => value if contains(local.defaults_of[widget.type], name) },
      widget.properties,
    )
  }]])
}

resource "aws_cloudwatch_dashboard" "pipeline" {
  dashboard_name = var.name
  dashboard_body = jsonencode({ widgets = concat(local.texts, local.panels) })
}
