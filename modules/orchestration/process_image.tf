module "process_image" {
  source = "../function"

  account_id           = var.account_id
  architecture         = var.process_image.architecture
  build_dir            = var.build_dir
  commit               = var.commit
  description          = "Detects faces in an uploaded photo with Rekognition and records the outcome"
  key_arn              = var.key_arn
  log_level            = var.log_level
  log_retention_days   = var.log_retention_days
  memory_size          = var.process_image.memory_size
  name                 = "${var.name}-process-image"
  policy_json          = data.aws_iam_policy_document.process_image.json
  reserved_concurrency = var.process_image.reserved_concurrency
  runtime              = var.process_image.runtime
  source_dir           = "${var.functions_dir}/process_image"
  timeout              = var.process_image.timeout

  environment_variables = merge(local.analysing, { CONVERT_IMAGES = tostring(local.converts) })
}

locals {
  # Settings of both functions that analyse photos.
  analysing = {
    FACE_ATTRIBUTES       = join(",", var.face_attributes)
    FACE_MIN_CONFIDENCE   = tostring(var.face_min_confidence)
    LOG_OBJECT_KEYS       = tostring(var.log_object_keys)
    RECORD_RETENTION_DAYS = tostring(coalesce(var.record_retention_days, 0))
    RESULTS_TABLE         = var.results_table.name
  }
}

data "aws_iam_policy_document" "process_image" {
  statement {
    sid       = "ReadPhotos"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${var.uploads_bucket_arn}/*"]
  }

  # Without it S3 answers 403 for an object that is gone, which looks like a missing permission.
  statement {
    sid       = "TellGoneFromForbidden"
    actions   = ["s3:ListBucket"]
    resources = [var.uploads_bucket_arn]
  }

  statement {
    sid     = "DetectFaces"
    actions = ["rekognition:DetectFaces"]
    # DetectFaces has no resource-level permissions:
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonrekognition.html
    resources = ["*"]
  }

  statement {
    sid       = "ReadAndWriteRecords"
    actions   = ["dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [var.results_table.arn]
  }

  statement {
    sid       = "DecryptPhotosAndRecords"
    actions   = ["kms:Decrypt"]
    resources = concat([var.key_arn], var.previous_key_arns)
  }
}
