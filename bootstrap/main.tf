# No lifecycle rule: a state file's old versions are small and the only way back after a bad apply, and Terraform
# waits about a minute for such a rule to settle.
resource "aws_s3_bucket" "state" {
  #checkov:skip=CKV_AWS_18:CloudTrail data events show who read the state; a log bucket would itself need one
  #checkov:skip=CKV_AWS_144:The state describes one region's resources; if that region is lost, so are they
  #checkov:skip=CKV_AWS_145:The S3 backend's "encrypt" requests AES256 on every write, whatever the bucket's default; a customer-managed key could be deleted, and the state with it
  #checkov:skip=CKV2_AWS_61:Old versions of the state are kept intentionally, see above
  #checkov:skip=CKV2_AWS_62:Nothing reacts to changes of the state
  bucket = var.bucket

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "state" {
  bucket = aws_s3_bucket.state.bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket = aws_s3_bucket.state.bucket

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.bucket

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.bucket

  versioning_configuration {
    status = "Enabled"
  }
}

data "aws_iam_policy_document" "state" {
  statement {
    sid       = "DenyPlainHttp"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/*"]

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
}

resource "aws_s3_bucket_policy" "state" {
  bucket = aws_s3_bucket.state.bucket
  policy = data.aws_iam_policy_document.state.json

  # Both change the bucket's access settings, and S3 refuses to change them at once.
  depends_on = [aws_s3_bucket_public_access_block.state]
}
