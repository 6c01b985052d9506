variable "account_id" {
  type        = string
  description = "Account, for the bucket's unique name and the key policy."
  nullable    = false
}

variable "aws_region" {
  type        = string
  description = "Region everything is deployed to."
  nullable    = false
}

variable "kms_key_arn" {
  type        = string
  description = "ARN of your own KMS key to encrypt with; null for the stack's own key. docs/security.md has the policy it needs."
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn must be a KMS key's ARN, like arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab (not an alias), or null."
  }

  validation {
    condition     = var.kms_key_arn == null || !can(regex(":key/", var.kms_key_arn)) || try(strcontains(var.kms_key_arn, ":${var.aws_region}:${var.account_id}:"), false)
    error_message = "kms_key_arn must be a key in ${var.aws_region} of account ${var.account_id}, like everything else: S3 and DynamoDB accept no key from another region."
  }
}

variable "name" {
  type        = string
  description = "Prefix of every resource's name."
  nullable    = false
}

variable "photo_retention_days" {
  type        = number
  description = "Days after which photos are deleted; their deleted versions are kept replaced_version_retention_days more, but at most photo_retention_days. Null keeps photos."
  default     = null

  validation {
    condition     = var.photo_retention_days == null || try(var.photo_retention_days >= 1 && var.photo_retention_days <= 36500 && floor(var.photo_retention_days) == var.photo_retention_days, false)
    error_message = "photo_retention_days must be a whole number of days from 1 to 36500, or null to keep photos."
  }
}

variable "protect_data" {
  type        = bool
  description = "Whether destroying the stack fails while it holds data: deletion protection on the table, no emptying of the bucket."
  default     = true
  nullable    = false
}

variable "replaced_version_retention_days" {
  type        = number
  description = "Days to keep replaced or deleted versions of photos."
  default     = 30
  nullable    = false

  validation {
    condition     = var.replaced_version_retention_days >= 1 && var.replaced_version_retention_days <= 36500 && floor(var.replaced_version_retention_days) == var.replaced_version_retention_days
    error_message = "replaced_version_retention_days must be a whole number of days from 1 to 36500."
  }
}

variable "retire_made_key" {
  type        = bool
  description = "Whether to delete, or never create, the stack's own key because kms_key_arn names another; anything still encrypted with it is lost."
  default     = false
  nullable    = false

  validation {
    condition     = !var.retire_made_key || var.kms_key_arn != null
    error_message = "retire_made_key needs kms_key_arn, the key to use instead."
  }
}
