mock_provider "aws" {
  source = "../tests/terraform/mocks"
}

variables {
  allowed_account_ids = ["111122223333"]
  bucket              = "photo-analysis-dev-tfstate-111122223333"
  environment         = "dev"
  region              = "us-east-1"
}

run "state_is_private_encrypted_and_versioned" {
  command = plan

  assert {
    condition     = aws_s3_bucket.state.bucket == var.bucket
    error_message = "The bucket must be the one the backend's file names."
  }

  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "The state before a bad apply must be there to go back to."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "AES256"
    error_message = "The state must be encrypted."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.state.block_public_acls,
      aws_s3_bucket_public_access_block.state.block_public_policy,
      aws_s3_bucket_public_access_block.state.ignore_public_acls,
      aws_s3_bucket_public_access_block.state.restrict_public_buckets,
    ])
    error_message = "The state must not be made public."
  }

  assert {
    condition     = one(data.aws_iam_policy_document.state.statement).effect == "Deny"
    error_message = "The bucket policy must deny plain HTTP."
  }

  assert {
    condition     = one(one(data.aws_iam_policy_document.state.statement).condition) == { test = "Bool", values = tolist(["false"]), variable = "aws:SecureTransport" }
    error_message = "Only requests without TLS are to be denied."
  }
}

run "reject_what_is_no_account_bucket_environment_or_region" {
  command = plan

  variables {
    allowed_account_ids = ["11112222333"]
    bucket              = "Photos.State"
    environment         = "dev/1"
    region              = "Virginia"
  }

  expect_failures = [var.allowed_account_ids, var.bucket, var.environment, var.region]
}
