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

run "logs_are_counted_in_a_namespace_of_the_stack" {
  command = plan

  assert {
    condition     = alltrue([for filter in aws_cloudwatch_log_metric_filter.metrics : filter.metric_transformation[0].namespace == "PhotoAnalysis/photos-dev"])
    error_message = "Environments that share an account must not share metrics."
  }

  assert {
    condition     = output.metrics_namespace == "PhotoAnalysis/photos-dev"
    error_message = "The output must name the namespace."
  }

  assert {
    condition = { for filter in aws_cloudwatch_log_metric_filter.metrics : filter.metric_transformation[0].name => filter.log_group_name } == {
      AnalysisTime   = "/aws/lambda/photos-dev-process-image"
      Faces          = "/aws/lambda/photos-dev-process-image"
      Images         = "/aws/lambda/photos-dev-process-image"
      RejectedImages = "/aws/lambda/photos-dev-process-image"
    }
    error_message = "Each metric must be read from the log of the function that writes it."
  }

  assert {
    condition     = alltrue([for filter in aws_cloudwatch_log_metric_filter.metrics : filter.metric_transformation[0].default_value == null])
    error_message = "CloudWatch refuses a default beside dimensions, and averages of zeros mislead."
  }
}
