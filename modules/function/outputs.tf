output "alias_arn" {
  description = "ARN of the alias `live`, once the function has its permissions."
  value       = aws_lambda_alias.live.arn

  depends_on = [aws_iam_role_policy.function]
}

output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.function.function_name
}

output "log_group_name" {
  description = "Name of the function's log group."
  value       = aws_cloudwatch_log_group.function.name
}

output "role_name" {
  description = "Name of the function's role."
  value       = aws_iam_role.function.name
}

output "zip" {
  description = "Path of the zip that is deployed."
  value       = local.zip
}
