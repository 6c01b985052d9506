mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id             = "111122223333"
  alerts_topic_arn       = "arn:aws:sns:us-east-1:111122223333:photos-dev-alerts"
  dead_letter_queue_name = "photos-dev-dead-letter"
  name                   = "photos-dev"
  rule_name              = "photos-dev-uploads"
  state_machine_arn      = "arn:aws:states:us-east-1:111122223333:stateMachine:photos-dev-pipeline"
  workflow_type          = "STANDARD"

  functions = {
    process_image = {
      architecture   = "arm64"
      log_group_name = "/aws/lambda/photos-dev-process-image"
      memory_size    = 512
      name           = "photos-dev-process-image"
    }
    send_notification = {
      architecture   = "arm64"
      log_group_name = "/aws/lambda/photos-dev-send-notification"
      memory_size    = 256
      name           = "photos-dev-send-notification"
    }
  }

  topics = {
    alerts  = "photos-dev-alerts"
    results = "photos-dev-results"
  }
}

run "dashboard_asks_the_five_questions_in_order" {
  command = plan

  assert {
    condition = [for widget in jsondecode(aws_cloudwatch_dashboard.pipeline.dashboard_body).widgets : split("\n", widget.properties.markdown)[0] if widget.type == "text"] == [
      "## Is it working?",
      "## How much?",
      "## How fast?",
      "## What failed?",
      "## What does it cost?",
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

run "standard_is_paid_by_transition" {
  command = plan

  variables {
    prices = { state_transition = 0.5 }
  }

  assert {
    condition     = strcontains(aws_cloudwatch_dashboard.pipeline.dashboard_body, "FILL(started, 0) * 2.5")
    error_message = "An execution that notifies makes five transitions."
  }

  assert {
    condition     = !strcontains(aws_cloudwatch_dashboard.pipeline.dashboard_body, "ExpressExecutionBilledDuration")
    error_message = "STANDARD is not billed by duration."
  }
}

run "express_is_paid_by_request_and_duration" {
  command = plan

  variables {
    prices        = { express_gb_second = 16, express_request = 3 }
    workflow_type = "EXPRESS"
  }

  assert {
    condition     = strcontains(aws_cloudwatch_dashboard.pipeline.dashboard_body, "FILL(started, 0) * 3 + FILL(billed, 0) / 1000 * 1\"")
    error_message = "EXPRESS is billed by request and by memory, 64 MB at least."
  }
}

run "functions_are_paid_by_their_memory_and_processor" {
  command = plan

  variables {
    prices = { lambda_gb_second = { arm64 = 2, x86_64 = 4 }, lambda_request = 1 }

    functions = {
      process_image = {
        architecture   = "x86_64"
        log_group_name = "/aws/lambda/photos-dev-process-image"
        memory_size    = 2048
        name           = "photos-dev-process-image"
      }
      send_notification = {
        architecture   = "arm64"
        log_group_name = "/aws/lambda/photos-dev-send-notification"
        memory_size    = 512
        name           = "photos-dev-send-notification"
      }
    }
  }

  assert {
    condition     = strcontains(aws_cloudwatch_dashboard.pipeline.dashboard_body, "FILL(picalls, 0) * 1 + FILL(piduration, 0) / 1000 * 8 + FILL(sncalls, 0) * 1 + FILL(snduration, 0) / 1000 * 1\"")
    error_message = "A second costs by memory and architecture."
  }
}
