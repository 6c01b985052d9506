mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id  = "111122223333"
  build_dir   = "no/such/folder"
  description = "Greets"
  key_arn     = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  name        = "photos-dev-greeting"
  policy_json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
  source_dir  = "tests/fixtures/before/greeting"
}

run "plan_needs_no_zip" {
  command = plan

  assert {
    condition     = can(regex("^no/such/folder/greeting-[0-9a-f]{16}\\.zip$", aws_lambda_function.function.filename))
    error_message = "The zip must be named after the package and the hash of its sources."
  }

  assert {
    condition     = aws_lambda_function.function.filename == "no/such/folder/greeting-${aws_lambda_function.function.source_code_hash}.zip"
    error_message = "The zip's name and the hash Lambda is given must agree, or a stale zip could be deployed."
  }

  assert {
    condition     = terraform_data.zip.triggers_replace[0] == aws_lambda_function.function.source_code_hash
    error_message = "The zip must be made anew when the sources change."
  }

  assert {
    condition     = output.zip == aws_lambda_function.function.filename
    error_message = "The output must name the zip that is deployed."
  }
}

run "changed_size_keeps_the_zip" {
  command = plan

  variables {
    memory_size = 2048
    timeout     = 90
  }

  assert {
    condition     = aws_lambda_function.function.filename == run.plan_needs_no_zip.zip
    error_message = "A change of memory or timeout must not make another zip."
  }
}

run "changed_source_changes_the_zip" {
  command = plan

  variables {
    source_dir = "tests/fixtures/after/greeting"
  }

  assert {
    condition     = aws_lambda_function.function.filename != run.plan_needs_no_zip.zip
    error_message = "A changed source must be deployed."
  }

  assert {
    condition     = startswith(aws_lambda_function.function.filename, "no/such/folder/greeting-")
    error_message = "The name must stay the package's."
  }

  assert {
    condition     = !strcontains(run.plan_needs_no_zip.zip, aws_lambda_function.function.source_code_hash)
    error_message = "Lambda must be given another hash."
  }
}

run "wheels_are_bundled_for_the_runtime_and_the_processor_of_the_function" {
  command = plan

  variables {
    architecture  = "x86_64"
    bundle_wheels = true
    runtime       = "python3.12"
    source_dir    = "tests/fixtures/after/greeting"
  }

  assert {
    condition     = can(regex("^no/such/folder/greeting-python3\\.12-x86_64-[0-9a-f]{16}\\.zip$", aws_lambda_function.function.filename))
    error_message = "The zip's name must say what its wheels are for."
  }

  assert {
    condition     = !strcontains(run.changed_source_changes_the_zip.zip, aws_lambda_function.function.source_code_hash)
    error_message = "Wheels must change what is deployed."
  }
}

run "reject_wheels_where_they_do_not_run" {
  command = plan

  variables {
    bundle_wheels = true
    runtime       = "python3.11"
    source_dir    = "tests/fixtures/after/greeting"
  }

  expect_failures = [var.bundle_wheels]
}
