variable "allowed_account_ids" {
  description = "AWS accounts the bucket may be made in. Null allows any."
  type        = set(string)
  default     = null

  validation {
    condition     = alltrue([for id in coalesce(var.allowed_account_ids, []) : can(regex("^[0-9]{12}$", id))])
    error_message = "Each of allowed_account_ids must be an AWS account id: twelve digits, in quotes."
  }
}

variable "bucket" {
  description = "Name of the state bucket, as in environments/<environment>.s3.tfbackend."
  type        = string
  nullable    = false

  validation {
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; dots would break TLS.
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket must be an S3 bucket name: 3 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit."
  }
}

variable "environment" {
  description = "Name of the environment whose state the bucket holds."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.environment))
    error_message = "environment must be 1 to 20 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "region" {
  description = "AWS region of the bucket, as in environments/<environment>.s3.tfbackend."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be an AWS region, such as us-east-1."
  }
}
