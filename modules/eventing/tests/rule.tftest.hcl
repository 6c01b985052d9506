mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id        = "111122223333"
  bucket_name       = "photos-dev-uploads-111122223333"
  build_dir         = "build"
  functions_dir     = "../../functions"
  key_arn           = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  name              = "photos-dev"
  state_machine_arn = "arn:aws:states:us-east-1:111122223333:stateMachine:photos-dev-pipeline"
}

# proves: folder-marker
run "rule_matches_uploads_to_the_bucket" {
  command = plan

  assert {
    condition     = aws_cloudwatch_event_rule.uploads.state == "ENABLED"
    error_message = "A rule switched off by hand must be switched on again by the next apply."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.uploads.event_pattern).source == ["aws.s3"]
    error_message = "Only S3's events may match."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.uploads.event_pattern)["detail-type"] == ["Object Created"]
    error_message = "Only created objects may match."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.uploads.event_pattern).detail.bucket.name == ["photos-dev-uploads-111122223333"]
    error_message = "Other buckets' events must not match."
  }

  assert {
    condition     = jsonencode(jsondecode(aws_cloudwatch_event_rule.uploads.event_pattern).detail.object) == jsonencode({ "$or" = [{ key = [{ anything-but = { suffix = "/" } }] }, { size = [{ anything-but = 0 }] }] })
    error_message = "All but folder markers, which are empty and end in a slash, must match."
  }
}

run "rule_with_a_prefix_matches_that_prefix_only" {
  command = plan

  variables {
    key_prefix = "photos/"
  }

  # A second pattern on the key would be an alternative to the first: everything would match.
  assert {
    condition     = jsonencode(jsondecode(aws_cloudwatch_event_rule.uploads.event_pattern).detail.object) == jsonencode({ key = [{ prefix = "photos/" }] })
    error_message = "Exactly the keys with the prefix must match."
  }
}

run "reject_prefix_that_begins_with_a_slash" {
  command = plan

  variables {
    key_prefix = "/photos/"
  }

  expect_failures = [var.key_prefix]
}

run "reject_prefix_longer_than_a_key" {
  command = plan

  variables {
    key_prefix = format("%01025d", 0)
  }

  expect_failures = [var.key_prefix]
}
