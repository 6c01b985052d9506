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

run "first_version_names_its_commit" {
  variables {
    commit = "aaaaaaa"
  }

  assert {
    condition     = can(regex("^Greets \\(code [0-9a-f]{16}, commit aaaaaaa\\)$", aws_lambda_function.function.description))
    error_message = "A version must say which commit it was made from, for whoever rolls back to it."
  }
}

run "another_commit_alone_changes_nothing" {
  command = plan

  variables {
    commit = "bbbbbbb"
  }

  assert {
    condition     = strcontains(aws_lambda_function.function.description, "commit aaaaaaa") && terraform_data.zip.input == "aaaaaaa"
    error_message = "A plan must stay empty while the function's sources are the same."
  }
}

run "no_commit_changes_nothing" {
  command = plan

  assert {
    condition     = strcontains(aws_lambda_function.function.description, "commit aaaaaaa") && terraform_data.zip.input == "aaaaaaa"
    error_message = "Plain Terraform, which knows no commit, must not change what make deployed."
  }
}

run "changed_sources_name_theirs" {
  variables {
    commit     = "ccccccc-dirty"
    source_dir = "tests/fixtures/after/greeting"
  }

  assert {
    condition     = can(regex("^Greets \\(code [0-9a-f]{16}, commit ccccccc-dirty\\)$", aws_lambda_function.function.description))
    error_message = "The version of changed sources must name the commit they are of."
  }
}
