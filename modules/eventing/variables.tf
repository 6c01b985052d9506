variable "account_id" {
  type        = string
  description = "Account whose rule may assume the role."
  nullable    = false
}

variable "bucket_name" {
  type        = string
  description = "Bucket whose uploads start the workflow."
  nullable    = false
}

variable "key_arn" {
  type        = string
  description = "KMS key the dead-letter queue is encrypted with."
  nullable    = false
}

variable "key_prefix" {
  type        = string
  description = "Only objects whose key begins with this start the workflow; empty for all."
  default     = ""
  nullable    = false

  validation {
    condition     = !startswith(var.key_prefix, "/") && length(var.key_prefix) <= 1024
    error_message = "key_prefix (upload_prefix in tfvars) must not begin with '/' (S3 keys do not, as a rule) and have at most 1,024 characters, like \"photos/\"."
  }
}

variable "name" {
  type        = string
  description = "Prefix of every resource's name."
  nullable    = false
}

variable "state_machine_arn" {
  type        = string
  description = "State machine to start for each upload."
  nullable    = false
}
