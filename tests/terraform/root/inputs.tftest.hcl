mock_provider "aws" {
  source = "./tests/terraform/mocks"
}

variables {
  aws_region  = "eu-west-1"
  environment = "dev"
}

run "accepts_two_inputs_and_protects_data" {
  command = plan

  assert {
    condition     = output.environment == "dev"
    error_message = "Region and environment must be enough."
  }

  assert {
    condition     = output.aws_region == "eu-west-1"
    error_message = "The output must name the region everything lives in."
  }

  assert {
    condition     = output.function_names == { convert_image = "photo-analysis-dev-convert-image", process_image = "photo-analysis-dev-process-image", send_notification = "photo-analysis-dev-send-notification", start_workflow = "photo-analysis-dev-start-workflow" }
    error_message = "Names must begin with application and environment, so that environments can share an account."
  }

  assert {
    condition     = var.protect_data
    error_message = "Data must be protected unless asked otherwise."
  }
}

run "accepts_longest_names" {
  command = plan

  variables {
    environment = "a23456789-123456"
    name        = "a23456789-123456789-1234"
  }
}

run "accepts_regions_of_every_partition" {
  command = plan

  variables {
    aws_region = "us-gov-west-1"
  }
}

run "reject_what_is_no_account_region_or_name" {
  command = plan

  variables {
    allowed_account_ids = ["11112222333"]
    aws_region          = "Ireland"
    environment         = "Dev"
    name                = "1photos"
  }

  expect_failures = [var.allowed_account_ids, var.aws_region, var.environment, var.name]
}

run "reject_account_aliases_and_zones" {
  command = plan

  variables {
    allowed_account_ids = ["111122223333", "my-company"]
    aws_region          = "us-east-1a"
  }

  expect_failures = [var.allowed_account_ids, var.aws_region]
}

run "reject_too_long_names" {
  command = plan

  variables {
    environment = "a23456789-1234567"
    name        = "a23456789-123456789-12345"
  }

  expect_failures = [var.environment, var.name]
}

run "reject_too_short_names" {
  command = plan

  variables {
    environment = "d"
    name        = "ph"
  }

  expect_failures = [var.environment, var.name]
}

run "accepts_tags_every_service_takes" {
  command = plan

  variables {
    tags = { "cost-center/team" = "Fotos München 2 + x=y_z.1:a@example.com", (format("%0128d", 0)) = format("%0256d", 0), empty = "" }
  }
}

run "accepts_as_many_tags_as_a_resource_has_room_for" {
  command = plan

  variables {
    tags = { for number in range(47) : "tag${number}" => "value" }
  }
}

run "reject_tags_aws_keeps" {
  command = plan

  variables {
    tags = { "AWS:team" = "photos" }
  }

  expect_failures = [var.tags]
}

run "reject_tag_values_aws_keeps" {
  command = plan

  variables {
    tags = { team = "aws:photos" }
  }

  expect_failures = [var.tags]
}

run "reject_tags_that_are_set_already" {
  command = plan

  variables {
    tags = { environment = "production" }
  }

  expect_failures = [var.tags]
}

run "reject_tags_that_differ_in_case_only" {
  command = plan

  variables {
    tags = { Team = "photos", team = "photos" }
  }

  expect_failures = [var.tags]
}

run "reject_characters_in_tag_keys" {
  command = plan

  variables {
    tags = { "r&d" = "photos" }
  }

  expect_failures = [var.tags]
}

run "reject_characters_in_tag_values" {
  command = plan

  variables {
    tags = { teams = "photos, #films" }
  }

  expect_failures = [var.tags]
}

run "reject_tags_without_a_key" {
  command = plan

  variables {
    tags = { "" = "photos" }
  }

  expect_failures = [var.tags]
}

run "reject_too_long_tag_keys" {
  command = plan

  variables {
    tags = { (format("%0129d", 0)) = "photos" }
  }

  expect_failures = [var.tags]
}

run "reject_too_long_tag_values" {
  command = plan

  variables {
    tags = { team = format("%0257d", 0) }
  }

  expect_failures = [var.tags]
}

run "reject_more_tags_than_a_resource_has_room_for" {
  command = plan

  variables {
    tags = { for number in range(48) : "tag${number}" => "value" }
  }

  expect_failures = [var.tags]
}

run "nothing_is_left_of_converting_without_a_format" {
  command = plan

  variables {
    convert = { formats = [] }
  }

  assert {
    condition     = !contains(keys(output.function_names), "convert_image")
    error_message = "There must be no function that is never called."
  }
}
