resource "aws_dynamodb_table" "results" {
  name                        = "${var.name}-results"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "ImageID"
  deletion_protection_enabled = var.protect_data

  attribute {
    name = "ImageID"
    type = "S"
  }

  attribute {
    name = "Key"
    type = "S"
  }

  attribute {
    name = "OutcomeDay"
    type = "S"
  }

  attribute {
    name = "Timestamp"
    type = "S"
  }

  # Provider 6 warns that hash_key and range_key become key_schema, which provider 5 does not know.
  # Faces stay out of the indexes: they are most of a record's size, and can be read by ImageID.
  global_secondary_index {
    name               = "ByKey"
    hash_key           = "Key"
    range_key          = "Timestamp"
    projection_type    = "INCLUDE"
    non_key_attributes = local.indexed_attributes
  }

  global_secondary_index {
    name               = "ByOutcomeDay"
    hash_key           = "OutcomeDay"
    range_key          = "Timestamp"
    projection_type    = "INCLUDE"
    non_key_attributes = local.indexed_attributes
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = local.key_arn
  }

  ttl {
    attribute_name = "ExpiresAt"
    enabled        = true
  }
}

locals {
  # Attributes in an index besides its own and the table's keys; DynamoDB allows 100 over all indexes.
  indexed_attributes = ["Bucket", "ExecutionId", "FaceCount", "FaceDetected", "Outcome", "Reason", "Size", "VersionId"]
}
