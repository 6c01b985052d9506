output "key_arn" {
  description = "ARN of the key everything is encrypted with."
  value       = local.key_arn
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
