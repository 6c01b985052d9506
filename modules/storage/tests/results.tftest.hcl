mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id  = "111122223333"
  aws_region  = "us-east-1"
  kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  name        = "photos-dev"
}

run "records_are_encrypted_recoverable_and_indexed" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.results.billing_mode == "PAY_PER_REQUEST"
    error_message = "The table must take any number of uploads without provisioning."
  }

  assert {
    condition     = aws_dynamodb_table.results.hash_key == "ImageID" && aws_dynamodb_table.results.range_key == null
    error_message = "ImageID alone must be the key: the conditional write relies on it."
  }

  assert {
    condition     = aws_dynamodb_table.results.point_in_time_recovery[0].enabled
    error_message = "Records must be recoverable to a point in time."
  }

  assert {
    condition     = aws_dynamodb_table.results.server_side_encryption[0].enabled && aws_dynamodb_table.results.server_side_encryption[0].kms_key_arn == var.kms_key_arn
    error_message = "Records must be encrypted with the stack's key."
  }

  assert {
    condition     = aws_dynamodb_table.results.ttl[0].enabled && aws_dynamodb_table.results.ttl[0].attribute_name == "ExpiresAt"
    error_message = "Records must expire at ExpiresAt."
  }

  assert {
    condition     = { for index in aws_dynamodb_table.results.global_secondary_index : index.name => [index.hash_key, index.range_key] } == { ByKey = ["Key", "Timestamp"], ByOutcomeDay = ["OutcomeDay", "Timestamp"] }
    error_message = "Uploads of a key and of an outcome's day must be found over time, by an index each."
  }

  assert {
    condition     = !anytrue([for index in aws_dynamodb_table.results.global_secondary_index : contains(index.non_key_attributes, "FaceDetails")])
    error_message = "Face details must stay out of the indexes."
  }
}

run "data_is_protected_by_default" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.results.deletion_protection_enabled
    error_message = "The table must refuse to be deleted."
  }

  assert {
    condition     = !aws_s3_bucket.uploads.force_destroy
    error_message = "A bucket with photos must refuse to be deleted."
  }
}

run "unprotected_data_goes_with_the_stack" {
  command = plan

  variables {
    protect_data = false
  }

  assert {
    condition     = !aws_dynamodb_table.results.deletion_protection_enabled
    error_message = "The table must go with the stack."
  }

  assert {
    condition     = aws_s3_bucket.uploads.force_destroy
    error_message = "The bucket must go with the stack, photos included."
  }
}
