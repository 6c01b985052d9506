mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id  = "111122223333"
  aws_region  = "us-east-1"
  kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  name        = "photos-dev"
}

run "uploads_are_private_encrypted_versioned_and_announced" {
  command = plan

  assert {
    condition     = aws_s3_bucket.uploads.bucket == "photos-dev-uploads-111122223333"
    error_message = "The bucket's name must end with the account, which makes it unique."
  }

  assert {
    condition     = aws_s3_bucket_versioning.uploads.versioning_configuration[0].status == "Enabled"
    error_message = "An overwritten photo must stay readable to the execution that analyses it."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.uploads.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms"
    error_message = "Photos must be encrypted with KMS."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.uploads.rule).apply_server_side_encryption_by_default[0].kms_master_key_id == var.kms_key_arn
    error_message = "Photos must be encrypted with the stack's key, not with S3's own."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.uploads.rule).bucket_key_enabled
    error_message = "Without a bucket key every photo costs a call to KMS."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.uploads.block_public_acls
    error_message = "Public ACLs must be blocked."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.uploads.block_public_policy
    error_message = "Public bucket policies must be blocked."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.uploads.ignore_public_acls
    error_message = "Public ACLs must be ignored."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.uploads.restrict_public_buckets
    error_message = "A public bucket must be restricted to its account."
  }

  assert {
    condition     = aws_s3_bucket_ownership_controls.uploads.rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "Photos must belong to the bucket's owner, whoever uploads them."
  }

  assert {
    condition     = aws_s3_bucket_notification.uploads.eventbridge
    error_message = "Without EventBridge notifications no upload is ever analysed."
  }
}

run "plain_http_and_other_keys_are_denied" {
  command = plan

  assert {
    condition     = [for statement in data.aws_iam_policy_document.uploads.statement : statement.sid if statement.effect == "Deny"] == ["DenyPlainHttp", "DenyKeyOfS3", "DenyKeyOfUploader", "DenyOtherEncryption", "DenyOtherKey"]
    error_message = "The bucket policy must deny plain HTTP and every key but the stack's."
  }

  assert {
    condition     = data.aws_iam_policy_document.uploads.statement[0].actions == toset(["s3:*"])
    error_message = "No request at all may come over plain HTTP."
  }

  assert {
    condition     = one(data.aws_iam_policy_document.uploads.statement[0].principals).identifiers == toset(["*"])
    error_message = "Nobody may use plain HTTP."
  }

  assert {
    condition     = one(data.aws_iam_policy_document.uploads.statement[0].condition) == { test = "Bool", values = tolist(["false"]), variable = "aws:SecureTransport" }
    error_message = "Only requests without TLS are to be denied."
  }
}

run "photos_are_kept_by_default" {
  command = plan

  assert {
    condition     = !contains(aws_s3_bucket_lifecycle_configuration.uploads.rule[*].id, "photos")
    error_message = "Without photo_retention_days no photo may expire."
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.uploads.rule : rule if rule.id == "replaced-versions"]).noncurrent_version_expiration[0].noncurrent_days == 30
    error_message = "Replaced versions must go after 30 days."
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.uploads.rule : rule if rule.id == "broken-multipart-uploads"]).abort_incomplete_multipart_upload[0].days_after_initiation == 7
    error_message = "Parts of broken uploads must go after a week."
  }

  assert {
    condition     = alltrue([for rule in aws_s3_bucket_lifecycle_configuration.uploads.rule : rule.status == "Enabled"])
    error_message = "A lifecycle rule that is switched off keeps photos for ever."
  }
}

run "photo_retention_takes_old_versions_along" {
  command = plan

  variables {
    photo_retention_days = 14
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.uploads.rule : rule if rule.id == "photos"]).expiration[0].days == 14
    error_message = "Photos must expire after photo_retention_days."
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.uploads.rule : rule if rule.id == "replaced-versions"]).noncurrent_version_expiration[0].noncurrent_days == 14
    error_message = "An old version must not outlive the photos' retention."
  }
}

run "longer_photo_retention_keeps_old_versions_no_longer" {
  command = plan

  variables {
    photo_retention_days            = 365
    replaced_version_retention_days = 10
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.uploads.rule : rule if rule.id == "replaced-versions"]).noncurrent_version_expiration[0].noncurrent_days == 10
    error_message = "Old versions must go after replaced_version_retention_days."
  }
}
