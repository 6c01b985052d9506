resource "aws_s3_bucket" "uploads" {
  #checkov:skip=CKV_AWS_18:Access logs would keep object keys, which can name people, beyond the photos' retention; CloudTrail data events show who read a photo, see docs/security.md
  #checkov:skip=CKV_AWS_144:No copies of people's faces in a second region: uploaders keep the original, and records and photos must be erasable in one place
  bucket        = "${var.name}-uploads-${var.account_id}"
  force_destroy = !var.protect_data
}

resource "aws_s3_bucket_ownership_controls" "uploads" {
  bucket = aws_s3_bucket.uploads.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "uploads" {
  bucket = aws_s3_bucket.uploads.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "uploads" {
  bucket = aws_s3_bucket.uploads.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      kms_master_key_id = local.key_arn
      sse_algorithm     = "aws:kms"
    }
  }
}

resource "aws_s3_bucket_versioning" "uploads" {
  bucket = aws_s3_bucket.uploads.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "uploads" {
  bucket = aws_s3_bucket.uploads.id

  rule {
    id     = "broken-multipart-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  rule {
    id     = "replaced-versions"
    status = "Enabled"

    filter {}

    # A delete marker holds the key, which can name a person, long after the photo is gone.
    expiration {
      expired_object_delete_marker = true
    }

    noncurrent_version_expiration {
      noncurrent_days = var.photo_retention_days == null ? var.replaced_version_retention_days : min(var.photo_retention_days, var.replaced_version_retention_days)
    }
  }

  dynamic "rule" {
    for_each = var.photo_retention_days == null ? [] : [var.photo_retention_days]

    content {
      id     = "photos"
      status = "Enabled"

      filter {}

      expiration {
        days = rule.value
      }
    }
  }

  # S3 refuses noncurrent_version_expiration until versioning is on.
  depends_on = [aws_s3_bucket_versioning.uploads]
}

data "aws_iam_policy_document" "uploads" {
  # Rekognition reads photos with its caller's credentials, so there is no service principal here:
  # it needs the ProcessImage role's s3:GetObject.
  statement {
    sid       = "DenyPlainHttp"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.uploads.arn, "${aws_s3_bucket.uploads.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  # The bucket's encryption is only a default: an upload may request another, and then neither this key's policy
  # nor its deletion applies to that photo.
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
  dynamic "statement" {
    for_each = {
      DenyOtherEncryption = [
        { test = "Null", variable = "", value = "false" },
        { test = "StringNotEquals", variable = "", value = "aws:kms" },
      ]
      DenyOtherKey = [
        { test = "Null", variable = "-aws-kms-key-id", value = "false" },
        { test = "StringNotEquals", variable = "-aws-kms-key-id", value = local.key_arn },
      ]
      # Without a key in the request S3 uses its own, aws/s3.
      DenyKeyOfS3 = [
        { test = "Null", variable = "-aws-kms-key-id", value = "true" },
        { test = "StringEquals", variable = "", value = "aws:kms" },
      ]
      # Rekognition could not read it.
      DenyKeyOfUploader = [{ test = "Null", variable = "-customer-algorithm", value = "false" }]
    }

    content {
      sid       = statement.key
      effect    = "Deny"
      actions   = ["s3:PutObject"]
      resources = ["${aws_s3_bucket.uploads.arn}/*"]

      principals {
        type        = "*"
        identifiers = ["*"]
      }

      dynamic "condition" {
        for_each = statement.value

        content {
          test     = condition.value.test
          variable = "s3:x-amz-server-side-encryption${condition.value.variable}"
          values   = [condition.value.value]
        }
      }
    }
  }
}

resource "aws_s3_bucket_policy" "uploads" {
  bucket = aws_s3_bucket.uploads.id
  policy = data.aws_iam_policy_document.uploads.json

  # S3 answers concurrent changes to a bucket's access settings with a conflict.
  depends_on = [aws_s3_bucket_public_access_block.uploads]
}

# A bucket has one notification configuration: a second such resource anywhere overwrites this one.
resource "aws_s3_bucket_notification" "uploads" {
  bucket      = aws_s3_bucket.uploads.id
  eventbridge = true
}
