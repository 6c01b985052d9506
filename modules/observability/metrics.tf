locals {
  # Lambda puts the fields a function logs next to "message", at the top level of each JSON event:
  # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html
  log_metrics = {
    images = {
      dimensions = { Outcome = "$.outcome" }
      metric     = "Images"
      pattern    = "{ $.message = \"image processed\" && $.outcome = * }"
      unit       = "Count"
      value      = "1"
    }
    rejected = {
      dimensions = { Reason = "$.reason" }
      metric     = "RejectedImages"
      pattern    = "{ $.message = \"image processed\" && $.outcome = \"rejected\" }"
      unit       = "Count"
      value      = "1"
    }
    faces = {
      dimensions = null
      metric     = "Faces"
      pattern    = "{ $.message = \"image processed\" && $.face_count >= 0 }"
      unit       = "Count"
      value      = "$.face_count"
    }
    # A duplicate's result comes from the record and has no analysis time.
    analysis_time = {
      dimensions = null
      metric     = "AnalysisTime"
      pattern    = "{ $.message = \"image processed\" && $.outcome != \"duplicate\" && $.analysis_ms >= 0 }"
      unit       = "Milliseconds"
      value      = "$.analysis_ms"
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "metrics" {
  for_each = merge(
    { for key, metric in local.log_metrics : key => merge(metric, { function = "process_image" }) },
    # ConvertImage logs the same as ProcessImage, and its photos count too.
    { for key, metric in local.log_metrics : "converted_${key}" => merge(metric, { function = "convert_image" }) if contains(keys(local.functions), "convert_image") },
  )

  name           = "${var.name}-${replace(each.key, "_", "-")}"
  log_group_name = local.functions[each.value.function].log_group_name
  pattern        = each.value.pattern

  metric_transformation {
    name       = each.value.metric
    namespace  = local.namespace
    value      = each.value.value
    unit       = each.value.unit
    dimensions = each.value.dimensions
  }
}
