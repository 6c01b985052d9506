output "bucket_name" {
  description = "Name of the state bucket. It is usable once its protections are in place."
  value       = aws_s3_bucket.state.bucket

  depends_on = [
    aws_s3_bucket_ownership_controls.state,
    aws_s3_bucket_policy.state,
    aws_s3_bucket_server_side_encryption_configuration.state,
    aws_s3_bucket_versioning.state,
  ]
}
