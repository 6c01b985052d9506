mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id = "111122223333"
  aws_region = "us-east-1"
  name       = "photos-dev"
}

run "accepts_one_day" {
  command = plan

  variables {
    photo_retention_days            = 1
    replaced_version_retention_days = 1
  }
}

run "reject_no_days" {
  command = plan

  variables {
    photo_retention_days            = 0
    replaced_version_retention_days = 0
  }

  expect_failures = [var.photo_retention_days, var.replaced_version_retention_days]
}

run "reject_negative_days" {
  command = plan

  variables {
    photo_retention_days            = -30
    replaced_version_retention_days = -30
  }

  expect_failures = [var.photo_retention_days, var.replaced_version_retention_days]
}

run "reject_parts_of_days" {
  command = plan

  variables {
    photo_retention_days            = 1.5
    replaced_version_retention_days = 1.5
  }

  expect_failures = [var.photo_retention_days, var.replaced_version_retention_days]
}

run "reject_more_than_a_hundred_years" {
  command = plan

  variables {
    photo_retention_days            = 36501
    replaced_version_retention_days = 99999999999
  }

  expect_failures = [var.photo_retention_days, var.replaced_version_retention_days]
}
