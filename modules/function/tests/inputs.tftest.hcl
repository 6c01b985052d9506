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

run "accepts_least_sizes" {
  command = plan

  variables {
    memory_size          = 128
    reserved_concurrency = 1
    timeout              = 1
  }
}

run "accepts_largest_sizes_and_longest_name" {
  command = plan

  variables {
    log_retention_days = 3653
    memory_size        = 10240
    name               = format("%064d", 0)
    timeout            = 900
  }
}

run "reject_nothing" {
  command = plan

  variables {
    log_retention_days   = 0
    memory_size          = 127
    reserved_concurrency = 0
    timeout              = 0
  }

  expect_failures = [var.log_retention_days, var.memory_size, var.reserved_concurrency, var.timeout]
}

run "reject_too_large_sizes" {
  command = plan

  variables {
    memory_size = 10241
    timeout     = 901
  }

  expect_failures = [var.memory_size, var.timeout]
}

run "reject_too_long_names" {
  command = plan

  variables {
    name = format("%065d", 0)
  }

  expect_failures = [var.name]
}

run "reject_parts_of_sizes" {
  command = plan

  variables {
    memory_size          = 256.5
    reserved_concurrency = 1.5
    timeout              = 2.5
  }

  expect_failures = [var.memory_size, var.reserved_concurrency, var.timeout]
}

run "reject_what_lambda_and_logs_do_not_offer" {
  command = plan

  variables {
    architecture       = "amd64"
    log_level          = "WARNING"
    log_retention_days = 45
    runtime            = "python3.9"
  }

  expect_failures = [var.architecture, var.log_level, var.log_retention_days, var.runtime]
}
