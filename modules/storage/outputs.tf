output "key_arn" {
  description = "ARN of the key everything is encrypted with, once the bucket is this stack's."
  value       = local.key_arn

  # Existing topics and rules of the same name are silently taken over; an existing bucket is an error. Everything needs the
  # key, so a stack with another one's names fails before it takes over anything.
  depends_on = [aws_s3_bucket.uploads]
}

output "previous_key_arns" {
  description = "ARNs of the keys older photos may be encrypted with."
  value       = var.kms_key_arn == null ? [] : aws_kms_key.data[*].arn
}

output "results_table" {
  description = "The results table."
  value = {
    arn  = aws_dynamodb_table.results.arn
    name = aws_dynamodb_table.results.name
  }
}

output "uploads_bucket" {
  description = "The uploads bucket, once it is safe to upload to."
  value = {
    arn  = aws_s3_bucket.uploads.arn
    name = aws_s3_bucket.uploads.id
  }

  depends_on = [
    aws_s3_bucket_policy.uploads,
    aws_s3_bucket_server_side_encryption_configuration.uploads,
    aws_s3_bucket_versioning.uploads,
  ]
}
