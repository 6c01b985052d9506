output "backfill" {
  description = "The backfill workflow for existing photos, once its role has its permissions."
  value = {
    arn       = aws_sfn_state_machine.backfill.arn
    name      = aws_sfn_state_machine.backfill.name
    role_name = aws_iam_role.backfill.name
  }

  depends_on = [aws_iam_role_policy.backfill]
}

output "functions" {
  description = "The functions: name, log group and role of each; convert_image only if deployed."
  value = merge({
    process_image = {
      log_group_name = module.process_image.log_group_name
      name           = module.process_image.function_name
      role_name      = module.process_image.role_name
      zip            = module.process_image.zip
    }
    send_notification = {
      log_group_name = module.send_notification.log_group_name
      name           = module.send_notification.function_name
      role_name      = module.send_notification.role_name
      zip            = module.send_notification.zip
    }
    }, { for function in module.convert_image : "convert_image" => {
      log_group_name = function.log_group_name
      name           = function.function_name
      role_name      = function.role_name
      zip            = function.zip
  } })
}

output "state_machine" {
  description = "The workflow for uploads, once its role has its permissions."
  value = {
    arn       = aws_sfn_state_machine.pipelines[var.workflow_type].arn
    name      = aws_sfn_state_machine.pipelines[var.workflow_type].name
    role_name = aws_iam_role.pipeline.name
  }

  depends_on = [aws_iam_role_policy.pipeline]
}

output "state_machine_arns" {
  description = "The workflow of each type; workflow_type selects the one for uploads."
  value       = { for type, pipeline in aws_sfn_state_machine.pipelines : type => pipeline.arn }
}
