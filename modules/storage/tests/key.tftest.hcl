mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id = "111122223333"
  aws_region = "us-east-1"
  name       = "photos-dev"
}

run "key_is_made_rotated_and_slow_to_delete" {
  command = plan

  assert {
    condition     = aws_kms_key.data[0].enable_key_rotation
    error_message = "The key must rotate."
  }

  assert {
    condition     = aws_kms_key.data[0].deletion_window_in_days == 30
    error_message = "A key deleted by mistake takes everything with it: the window must be the longest."
  }

  assert {
    condition     = aws_kms_alias.data[0].name == "alias/photos-dev"
    error_message = "People must find the key by the stack's name."
  }
}

run "key_serves_alarms_rules_and_own_log_groups_only" {
  command = plan

  assert {
    condition = toset(flatten([for statement in data.aws_iam_policy_document.key.statement : [for principal in statement.principals : principal.identifiers if principal.type == "Service"]])) == toset([
      "cloudwatch.amazonaws.com", "events.amazonaws.com", "logs.us-east-1.amazonaws.com",
    ])
    error_message = "Exactly the services that use the key without a caller's credentials may use it."
  }

  assert {
    condition     = alltrue([for statement in data.aws_iam_policy_document.key.statement : !anytrue([for principal in statement.principals : contains(principal.identifiers, "*")])])
    error_message = "The key must not be everybody's."
  }

  assert {
    condition = alltrue([
      for pattern in one(one([for statement in data.aws_iam_policy_document.key.statement : statement if statement.sid == "LogGroupsOfThisStack"]).condition).values :
      can(regex(":111122223333:log-group:/aws/(lambda|vendedlogs/states)/photos-dev-\\*$", pattern))
    ])
    error_message = "CloudWatch Logs may use the key for this stack's log groups only."
  }
}

run "a_retired_key_is_gone" {
  command = plan

  variables {
    kms_key_arn     = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    retire_made_key = true
  }

  assert {
    condition     = length(aws_kms_key.data) == 0
    error_message = "No key may be kept beside the given one."
  }

  assert {
    condition     = length(aws_kms_alias.data) == 0
    error_message = "No alias may be made for the given key."
  }

  assert {
    condition     = length(output.previous_key_arns) == 0
    error_message = "No other key may be used."
  }
}

run "accepts_multi_region_keys_of_every_partition" {
  command = plan

  variables {
    aws_region  = "us-gov-west-1"
    kms_key_arn = "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
  }
}

run "reject_key_alias" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:111122223333:alias/photos"
  }

  expect_failures = [var.kms_key_arn]
}

run "reject_text_that_is_no_key" {
  command = plan

  variables {
    kms_key_arn = "my-key"
  }

  expect_failures = [var.kms_key_arn]
}

run "reject_key_of_another_region" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  expect_failures = [var.kms_key_arn]
}

run "reject_key_of_another_account" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  expect_failures = [var.kms_key_arn]
}

run "reject_retiring_the_key_that_is_used" {
  command = plan

  variables {
    retire_made_key = true
  }

  expect_failures = [var.retire_made_key]
}

run "the_made_key_stays_beside_a_key_of_your_own" {
  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  override_resource {
    target = aws_kms_key.data
    values = { arn = "arn:aws:kms:us-east-1:111122223333:key/made" }
  }

  assert {
    condition     = length(aws_kms_key.data) == 1
    error_message = "Photos from before the given key lie under the made one: it must not be deleted."
  }

  assert {
    condition     = output.key_arn == var.kms_key_arn
    error_message = "Everything new must be encrypted with the given key."
  }

  assert {
    condition     = output.previous_key_arns == tolist(["arn:aws:kms:us-east-1:111122223333:key/made"])
    error_message = "Whoever reads older photos must be told of the made key."
  }
}
