mock_provider "aws" {
  source = "../../tests/terraform/mocks"
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

run "accepts_every_face_attribute_and_the_limits" {
  command = plan

  variables {
    face_attributes = [
      "DEFAULT", "ALL", "AGE_RANGE", "BEARD", "EMOTIONS", "EYE_DIRECTION", "EYEGLASSES", "EYES_OPEN",
      "FACE_OCCLUDED", "GENDER", "MOUTH_OPEN", "MUSTACHE", "SMILE", "SUNGLASSES",
    ]
    face_min_confidence   = 0
    process_image         = { timeout = 60 }
    record_retention_days = 1
    send_notification     = { timeout = 60 }
  }
}

run "reject_unknown_face_attributes" {
  command = plan

  variables {
    face_attributes = ["DEFAULT", "HAT"]
  }

  expect_failures = [var.face_attributes]
}

run "reject_too_little" {
  command = plan

  variables {
    face_attributes       = []
    face_min_confidence   = -1
    process_image         = { timeout = 24 }
    record_retention_days = 0
    send_notification     = { timeout = 19 }
  }

  expect_failures = [
    var.face_attributes, var.face_min_confidence, var.process_image, var.record_retention_days, var.send_notification,
  ]
}

run "reject_too_much" {
  command = plan

  variables {
    face_min_confidence = 100.1
    process_image       = { timeout = 61 }
    send_notification   = { timeout = 61 }
  }

  expect_failures = [var.face_min_confidence, var.process_image, var.send_notification]
}

run "reject_negative_record_retention" {
  command = plan

  variables {
    record_retention_days = -1
  }

  expect_failures = [var.record_retention_days]
}

run "reject_parts_of_days" {
  command = plan

  variables {
    record_retention_days = 0.5
  }

  expect_failures = [var.record_retention_days]
}

run "reject_unknown_workflow_type" {
  command = plan

  variables {
    workflow_type = "express"
  }

  expect_failures = [var.workflow_type]
}

run "reject_record_retention_past_a_hundred_years" {
  command = plan

  variables {
    record_retention_days = 36501
  }

  expect_failures = [var.record_retention_days]
}

run "reject_what_logs_cannot_be_kept_for" {
  command = plan

  variables {
    log_level          = "LOUD"
    log_retention_days = -7
  }

  expect_failures = [var.log_level, var.log_retention_days]
}

run "accepts_the_limits_of_converting" {
  command = plan

  variables {
    convert = { formats = ["heic"], max_pixels = 1600, memory_size = 1024, runtime = "python3.12", timeout = 80 }
  }
}

run "reject_converting_that_cannot_work" {
  command = plan

  variables {
    convert = { formats = ["heic", "svg"], max_pixels = 100, memory_size = 512, runtime = "python3.11", timeout = 30 }
  }

  expect_failures = [var.convert]
}
