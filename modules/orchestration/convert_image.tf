locals {
  converts = length(var.convert.formats) > 0
}

# Decodes uploaded files, so it has a separate role, although it needs the same permissions as ProcessImage.
module "convert_image" {
  count  = local.converts ? 1 : 0
  source = "../function"

  account_id           = var.account_id
  architecture         = var.convert.architecture
  build_dir            = var.build_dir
  bundle_wheels        = var.convert.bundle_wheels
  commit               = var.commit
  description          = "Decodes a photo that Rekognition does not support, detects faces and records the outcome"
  key_arn              = var.key_arn
  log_level            = var.log_level
  log_retention_days   = var.log_retention_days
  memory_size          = var.convert.memory_size
  name                 = "${var.name}-convert-image"
  policy_json          = data.aws_iam_policy_document.process_image.json
  reserved_concurrency = var.convert.reserved_concurrency
  runtime              = var.convert.runtime
  source_dir           = "${var.functions_dir}/convert_image"
  timeout              = var.convert.timeout

  environment_variables = merge(local.analysing, {
    CONVERT_FORMATS    = join(",", sort(var.convert.formats))
    CONVERT_IMAGES     = "false"
    CONVERT_MAX_PIXELS = tostring(var.convert.max_pixels)
  })
}
