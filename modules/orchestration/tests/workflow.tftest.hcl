mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

override_module {
  target = module.convert_image
  outputs = {
    alias_arn      = "arn:aws:lambda:us-east-1:111122223333:function:photos-dev-convert-image:live"
    function_name  = "photos-dev-convert-image"
    log_group_name = "/aws/lambda/photos-dev-convert-image"
    role_name      = "photos-dev-convert-image"
    zip            = "build/convert_image.zip"
  }
}

override_module {
  target = module.process_image
  outputs = {
    alias_arn      = "arn:aws:lambda:us-east-1:111122223333:function:photos-dev-process-image:live"
    function_name  = "photos-dev-process-image"
    log_group_name = "/aws/lambda/photos-dev-process-image"
    role_name      = "photos-dev-process-image"
    zip            = "build/process_image.zip"
  }
}

override_module {
  target = module.send_notification
  outputs = {
    alias_arn      = "arn:aws:lambda:us-east-1:111122223333:function:photos-dev-send-notification:live"
    function_name  = "photos-dev-send-notification"
    log_group_name = "/aws/lambda/photos-dev-send-notification"
    role_name      = "photos-dev-send-notification"
    zip            = "build/send_notification.zip"
  }
}

variables {
  account_id         = "111122223333"
  aws_region         = "us-east-1"
  build_dir          = "build"
  dead_letter_queue  = { arn = "arn:aws:sqs:us-east-1:111122223333:photos-dev-dead-letter", url = "https://sqs.us-east-1.amazonaws.com/111122223333/photos-dev-dead-letter" }
  functions_dir      = "../../functions"
  key_arn            = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  name               = "photos-dev"
  results_table      = { arn = "arn:aws:dynamodb:us-east-1:111122223333:table/photos-dev-results", name = "photos-dev-results" }
  results_topic_arn  = "arn:aws:sns:us-east-1:111122223333:photos-dev-results"
  uploads_bucket_arn = "arn:aws:s3:::photos-dev-uploads-111122223333"
}

run "workflow_is_standard_logged_and_traced" {
  command = plan

  assert {
    condition     = aws_sfn_state_machine.pipelines["STANDARD"].type == "STANDARD"
    error_message = "The workflow must run exactly once by default."
  }

  assert {
    condition     = aws_sfn_state_machine.pipelines["STANDARD"].logging_configuration[0].level == "ALL"
    error_message = "Every step must be logged: an EXPRESS execution has no other history."
  }

  assert {
    condition     = !aws_sfn_state_machine.pipelines["STANDARD"].logging_configuration[0].include_execution_data
    error_message = "Object keys must stay out of the logs by default."
  }

  assert {
    condition     = aws_sfn_state_machine.pipelines["STANDARD"].tracing_configuration[0].enabled
    error_message = "Executions must be traced."
  }

  assert {
    condition     = aws_cloudwatch_log_group.pipeline.name == "/aws/vendedlogs/states/photos-dev-pipeline"
    error_message = "Log delivery's resource policy stays small under /aws/vendedlogs/ only, and the key's policy names it."
  }

  assert {
    condition     = aws_cloudwatch_log_group.pipeline.retention_in_days == 90
    error_message = "Log events must be kept for log_retention_days."
  }

  assert {
    condition     = aws_cloudwatch_log_group.pipeline.kms_key_id == var.key_arn
    error_message = "Logs must be encrypted with the stack's key."
  }
}

run "definition_is_complete" {
  command = plan

  assert {
    condition     = !can(regex("\\$\\{", aws_sfn_state_machine.pipelines["STANDARD"].definition))
    error_message = "Every placeholder must be filled in."
  }

  assert {
    condition     = contains(keys(jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States), jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).StartAt)
    error_message = "The definition must be JSON that starts at one of its states."
  }

  assert {
    condition     = alltrue([for state in values(jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States) : can(state.TimeoutSeconds) if state.Type == "Task"])
    error_message = "Every task must time out."
  }

  assert {
    condition     = alltrue([for state in values(jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States) : try(length(state.Retry) > 0, false) if state.Type == "Task"])
    error_message = "Every task must be retried."
  }

  assert {
    condition     = alltrue([for state in values(jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States) : try(contains(flatten(state.Catch[*].ErrorEquals), "States.ALL"), false) if state.Type == "Task"])
    error_message = "Every task must catch what its retries do not mend."
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States.ProcessImage.Arguments.FunctionName == "arn:aws:lambda:us-east-1:111122223333:function:photos-dev-process-image:live"
    error_message = "Photos must be analysed by the live version of ProcessImage."
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States.SendNotification.Arguments.FunctionName == "arn:aws:lambda:us-east-1:111122223333:function:photos-dev-send-notification:live"
    error_message = "People must be notified by the live version of SendNotification."
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States.Park.Arguments.QueueUrl == var.dead_letter_queue.url
    error_message = "Failed events must be parked in the dead-letter queue."
  }

  assert {
    condition     = toset([for state in ["ConvertImage", "ProcessImage", "SendNotification"] : jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States[state].Catch[0].Next]) == toset(["Park"])
    error_message = "What either function fails on must be parked."
  }

  # The longest timeouts the functions' own validation lets pass.
  assert {
    condition     = alltrue([for state in ["ProcessImage", "SendNotification"] : jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States[state].TimeoutSeconds > 60])
    error_message = "A task must wait longer than its function may take, or a finished analysis is thrown away."
  }
}

run "workflows_of_both_types_exist_and_one_gets_the_uploads" {
  command = plan

  variables {
    log_object_keys = true
    workflow_type   = "EXPRESS"
  }

  assert {
    condition = { for type, pipeline in aws_sfn_state_machine.pipelines : type => [pipeline.name, pipeline.type] } == {
      EXPRESS  = ["photos-dev-pipeline-express", "EXPRESS"]
      STANDARD = ["photos-dev-pipeline-standard", "STANDARD"]
    }
    error_message = "A switch of workflow_type must leave the other workflow in place for what it began."
  }

  assert {
    condition     = output.state_machine.name == "photos-dev-pipeline-express"
    error_message = "workflow_type must choose the workflow that uploads go to."
  }

  assert {
    condition     = alltrue([for pipeline in values(aws_sfn_state_machine.pipelines) : pipeline.logging_configuration[0].include_execution_data])
    error_message = "log_object_keys must let executions be followed in the logs."
  }

  assert {
    condition     = toset(one([for statement in data.aws_iam_policy_document.assume_pipeline.statement : one([for condition in statement.condition : condition.values if condition.variable == "aws:SourceArn"])])) == toset([for name in ["", "-express", "-standard"] : "arn:aws:states:us-east-1:111122223333:stateMachine:photos-dev-pipeline${name}"])
    error_message = "Both workflows, and the one from before types were part of names, must be able to end what they began."
  }
}

run "a_turn_is_waited_for_as_long_as_the_type_allows" {
  command = plan

  assert {
    condition = { for type, pipeline in aws_sfn_state_machine.pipelines : type => [for retrier in jsondecode(pipeline.definition).States.ProcessImage.Retry : [retrier.MaxAttempts, retrier.MaxDelaySeconds] if contains(retrier.ErrorEquals, "Lambda.TooManyRequestsException")] } == {
      EXPRESS  = [[6, 30]]
      STANDARD = [[20, 60]]
    }
    error_message = "EXPRESS has five minutes for everything."
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States.ProcessImage.Retry == jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States.SendNotification.Retry
    error_message = "Both functions must be retried alike."
  }

  assert {
    condition     = length([for retrier in jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States.Park.Retry : retrier]) == 1
    error_message = "A task with retriers of its own must keep them."
  }
}

run "backfill_runs_as_many_at_once_as_it_may" {
  # What it calls is known once it is there.
  command = apply

  variables {
    backfill_concurrency = 7
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.backfill.definition).States.EachObject.MaxConcurrency == 7
    error_message = "backfill_concurrency must bound the map."
  }
}

run "backfill_of_standard_workflow_starts_and_follows_it" {
  command = plan

  assert {
    condition = toset(flatten([for statement in data.aws_iam_policy_document.backfill.statement : statement.actions if contains(["RunPipeline", "FollowPipeline", "LearnOfPipelinesEnd"], statement.sid)])) == toset([
      "states:StartExecution", "states:DescribeExecution", "events:DescribeRule", "events:PutRule", "events:PutTargets",
    ])
    error_message = "Waiting for a STANDARD execution takes starting, following and the rule that reports its end."
  }
}

run "backfill_of_express_workflow_only_calls_it" {
  command = plan

  variables {
    workflow_type = "EXPRESS"
  }

  assert {
    condition     = [for statement in data.aws_iam_policy_document.backfill.statement : statement.actions if statement.sid == "RunPipeline"] == [toset(["states:StartSyncExecution"])]
    error_message = "An EXPRESS execution is called, not started."
  }

  assert {
    condition     = length([for statement in data.aws_iam_policy_document.backfill.statement : statement.sid if contains(["FollowPipeline", "LearnOfPipelinesEnd"], statement.sid)]) == 0
    error_message = "What is called and answers needs no following: nothing may be granted for it."
  }
}

run "what_rekognition_does_not_take_is_converted" {
  command = plan

  assert {
    condition     = jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States.ConvertImage.Arguments.FunctionName == "arn:aws:lambda:us-east-1:111122223333:function:photos-dev-convert-image:live"
    error_message = "Photos must be converted by the live version of ConvertImage."
  }

  assert {
    condition     = jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States.ConvertImage.Retry == jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States.ProcessImage.Retry
    error_message = "ConvertImage must be retried as ProcessImage is."
  }

  # The longest timeout its validation lets pass.
  assert {
    condition     = jsondecode(aws_sfn_state_machine.pipelines["STANDARD"].definition).States.ConvertImage.TimeoutSeconds > 120
    error_message = "A task must wait longer than its function may take, or a finished analysis is thrown away."
  }

  assert {
    condition     = one([for statement in data.aws_iam_policy_document.pipeline.statement : statement if statement.sid == "InvokeFunctions"]).resources == toset([for name in ["convert-image", "process-image", "send-notification"] : "arn:aws:lambda:us-east-1:111122223333:function:photos-dev-${name}:live"])
    error_message = "The workflow must be let call the three functions and no other."
  }
}

run "without_a_format_there_is_no_trace_of_converting" {
  command = plan

  variables {
    convert = { formats = [] }
  }

  assert {
    condition     = length(module.convert_image) == 0
    error_message = "There must be no function that is never called."
  }

  assert {
    condition     = !anytrue([for pipeline in aws_sfn_state_machine.pipelines : strcontains(pipeline.definition, "onvert")])
    error_message = "The workflow must not lead to a function that is not there."
  }

  assert {
    condition     = length(one([for statement in data.aws_iam_policy_document.pipeline.statement : statement if statement.sid == "InvokeFunctions"]).resources) == 2
    error_message = "Nothing may be granted for it."
  }

  assert {
    condition     = !contains(keys(output.functions), "convert_image")
    error_message = "Nobody may look for it."
  }
}
