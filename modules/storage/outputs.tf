output "key_arn" {
  description = "ARN of the key everything is encrypted with, once the bucket is this stack's."
  value       = local.key_arn

  # Topics and rules of a name that exists are taken over without a word; a bucket's name is refused. Everything takes the
  # key, so a stack whose names another one has stops before it takes over anything.
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
