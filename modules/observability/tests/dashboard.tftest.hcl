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

run "dashboard_asks_the_four_questions_in_order" {
  command = plan

  assert {
    condition = [for widget in jsondecode(aws_cloudwatch_dashboard.pipeline.dashboard_body).widgets : split("\n", widget.properties.markdown)[0] if widget.type == "text"] == [
      "## Is it working?",
      "## How much?",
      "## How fast?",
      "## What failed?",
    ]
    error_message = "Somebody woken at night reads from top to bottom."
  }

  assert {
    condition     = output.dashboard_url == "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/photos-dev"
    error_message = "The output must lead to the dashboard."
  }
}

run "dashboard_shows_every_alarm" {
  command = plan

  assert {
    condition     = one([for widget in jsondecode(aws_cloudwatch_dashboard.pipeline.dashboard_body).widgets : widget.properties.alarms if widget.type == "alarm"]) == [for name in output.alarm_names : "arn:aws:cloudwatch:us-east-1:111122223333:alarm:${name}"]
    error_message = "The first widget must hold all alarms."
  }
}

run "widgets_fill_the_width" {
  command = plan

  assert {
    condition = alltrue([for top, widths in {
      for widget in jsondecode(aws_cloudwatch_dashboard.pipeline.dashboard_body).widgets : widget.y => widget.width...
    } : sum(widths) == 24])
    error_message = "A dashboard is 24 columns wide."
  }

  assert {
    condition     = alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.pipeline.dashboard_body).widgets : try(widget.properties.region, "") == "us-east-1" if contains(["metric", "log"], widget.type)])
    error_message = "CloudWatch refuses widgets without a region."
  }
}

run "latest_errors_are_found_whatever_the_runtime_calls_them" {
  command = plan

  assert {
    condition     = alltrue([for field in ["level in", "log_level in", "ispresent(errorType)", "record.status"] : strcontains(one([for widget in jsondecode(aws_cloudwatch_dashboard.pipeline.dashboard_body).widgets : widget.properties.query if widget.type == "log"]), field)])
    error_message = "Runtime clients write level or log_level, uncaught errors have an errorType, and time-outs are Lambda's own lines."
  }
}
