variable "allowed_account_ids" {
  type        = list(string)
  description = "Accounts the bucket may be created in; empty allows any."
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.allowed_account_ids : can(regex("^[0-9]{12}$", id))])
    error_message = "allowed_account_ids must be AWS account ids of twelve digits, in quotes, like \"111122223333\"."
  }
}

variable "bucket" {
  type        = string
  description = "Name of the state bucket, as in environments/<environment>.s3.tfbackend."
  nullable    = false

  validation {
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; dots would break TLS.
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket must be an S3 bucket name: 3 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit."
  }
}

variable "environment" {
  type        = string
  description = "Name of the environment whose state the bucket holds."
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,14}[a-z0-9]$", var.environment))
    error_message = "environment must be 2 to 16 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "region" {
  type        = string
  description = "AWS region of the bucket, as in environments/<environment>.s3.tfbackend."
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's code, like us-east-1."
  }
}
