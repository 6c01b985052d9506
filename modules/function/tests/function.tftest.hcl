mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id  = "111122223333"
  build_dir   = "build"
  description = "Greets"
  key_arn     = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  name        = "photos-dev-greeting"
  policy_json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
  source_dir  = "tests/fixtures/before/greeting"
}

run "function_is_arm64_python_published_logged_and_traced" {
  command = plan

  assert {
    condition     = aws_lambda_function.function.runtime == "python3.13"
    error_message = "The runtime must be the newest Python by default."
  }

  assert {
    condition     = tolist(aws_lambda_function.function.architectures) == tolist(["arm64"])
    error_message = "The processor must be the cheaper one by default."
  }

  assert {
    condition     = aws_lambda_function.function.handler == "greeting.handler.handler"
    error_message = "The handler must be that of the package in source_dir."
  }

  assert {
    condition     = aws_lambda_function.function.logging_config[0].log_format == "JSON"
    error_message = "Logs must be JSON, so that they can be queried."
  }

  assert {
    condition     = aws_lambda_function.function.logging_config[0].application_log_level == "INFO"
    error_message = "Debug logs must be left out by default."
  }

  assert {
    condition     = aws_lambda_function.function.logging_config[0].log_group == aws_cloudwatch_log_group.function.name
    error_message = "Logs must go to the group whose retention and key are set."
  }

  assert {
    condition     = aws_lambda_function.function.tracing_config[0].mode == "Active"
    error_message = "Invocations must be traced."
  }

  assert {
    condition     = length(aws_lambda_function.function.environment) == 0
    error_message = "No environment may be set where none is asked for."
  }

  assert {
    condition     = aws_lambda_function.function.reserved_concurrent_executions == -1
    error_message = "The account's concurrency must be shared by default."
  }

  assert {
    condition     = aws_lambda_function.function.publish
    error_message = "Each change must make a version, to roll back to."
  }

  assert {
    condition     = can(regex("^Greets \\(code [0-9a-f]{16}\\)$", aws_lambda_function.function.description))
    error_message = "A version must say which sources it was made from, for whoever rolls back to it."
  }

  assert {
    condition     = aws_lambda_alias.live.name == "live" && aws_lambda_alias.live.function_name == "photos-dev-greeting"
    error_message = "The workflow invokes the alias live."
  }
}

run "inputs_reach_the_function" {
  command = plan

  variables {
    architecture          = "x86_64"
    environment_variables = { GREETING = "hello" }
    log_level             = "DEBUG"
    log_retention_days    = 7
    memory_size           = 1024
    reserved_concurrency  = 5
    runtime               = "python3.12"
    timeout               = 60
  }

  assert {
    condition     = tolist(aws_lambda_function.function.architectures) == tolist(["x86_64"])
    error_message = "architecture must be passed on."
  }

  assert {
    condition     = aws_lambda_function.function.environment[0].variables == tomap({ GREETING = "hello" })
    error_message = "environment_variables must be passed on."
  }

  assert {
    condition     = aws_lambda_function.function.logging_config[0].application_log_level == "DEBUG"
    error_message = "log_level must be passed on."
  }

  assert {
    condition     = aws_lambda_function.function.memory_size == 1024
    error_message = "memory_size must be passed on."
  }

  assert {
    condition     = aws_lambda_function.function.reserved_concurrent_executions == 5
    error_message = "reserved_concurrency must be passed on."
  }

  assert {
    condition     = aws_lambda_function.function.runtime == "python3.12"
    error_message = "runtime must be passed on."
  }

  assert {
    condition     = aws_lambda_function.function.timeout == 60
    error_message = "timeout must be passed on."
  }

  assert {
    condition     = aws_cloudwatch_log_group.function.name == "/aws/lambda/photos-dev-greeting"
    error_message = "The key's policy lets log groups under /aws/lambda/ use it."
  }

  assert {
    condition     = aws_cloudwatch_log_group.function.retention_in_days == 7
    error_message = "Log events must be kept for log_retention_days."
  }

  assert {
    condition     = aws_cloudwatch_log_group.function.kms_key_id == var.key_arn
    error_message = "Logs must be encrypted with the stack's key."
  }
}

run "only_lambda_of_the_account_assumes_the_role" {
  command = plan

  assert {
    condition     = one(data.aws_iam_policy_document.assume_function.statement[0].principals).identifiers == toset(["lambda.amazonaws.com"])
    error_message = "Only Lambda may assume the role."
  }

  assert {
    condition     = one(data.aws_iam_policy_document.assume_function.statement[0].condition) == { test = "StringEquals", values = tolist(["111122223333"]), variable = "aws:SourceAccount" }
    error_message = "Functions of other accounts must not assume the role."
  }
}
