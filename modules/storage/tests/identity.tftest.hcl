mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id  = "111122223333"
  aws_region  = "us-east-1"
  kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  name        = "photos-dev"
}

run "a_stack_is_made" {
  assert {
    condition     = terraform_data.identity.output == "photos-dev in us-east-1, account 111122223333"
    error_message = "The state must remember which stack it holds."
  }
}

run "the_same_stack_is_planned_again" {
  command = plan

  variables {
    photo_retention_days = 30
  }
}

run "reject_another_name" {
  command = plan

  variables {
    name = "photos-qa"
  }

  expect_failures = [terraform_data.identity]
}

run "reject_another_region" {
  command = plan

  variables {
    aws_region  = "eu-west-1"
    kms_key_arn = null
  }

  expect_failures = [terraform_data.identity]
}

run "reject_another_account" {
  command = plan

  variables {
    account_id  = "444455556666"
    kms_key_arn = null
  }

  expect_failures = [terraform_data.identity]
}
