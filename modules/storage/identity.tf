# A state belongs to the stack it was made for. Under another name, region or account Terraform would destroy this stack's
# bucket and table, or forget them, to make others.
resource "terraform_data" "identity" {
  input = "${var.name} in ${var.aws_region}, account ${var.account_id}"

  lifecycle {
    ignore_changes = [input]

    postcondition {
      condition     = self.output == "${var.name} in ${var.aws_region}, account ${var.account_id}"
      error_message = "This state is that of ${self.output}, and the settings are for ${var.name} in ${var.aws_region}, account ${var.account_id}: a stack cannot be renamed or moved. Set name, environment and aws_region back; docs/operations.md (Rename or move a stack) says how to get there."
    }
  }
}
