# A state belongs to its stack. With another name, region or account Terraform would destroy this stack's bucket and table,
# or forget them, to create others.
resource "terraform_data" "identity" {
  input = "${var.name} in ${var.aws_region}, account ${var.account_id}"

  lifecycle {
    ignore_changes = [input]

    postcondition {
      condition     = self.output == "${var.name} in ${var.aws_region}, account ${var.account_id}"
      error_message = "This state belongs to ${self.output}, but the settings are for ${var.name} in ${var.aws_region}, account ${var.account_id}: a stack cannot be renamed or moved. Restore name, environment and aws_region; docs/operations.md (Rename or move a stack) describes the alternative."
    }
  }
}
