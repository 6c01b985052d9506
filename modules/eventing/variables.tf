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

variable "build_dir" {
  type        = string
  description = "Folder the function's zip is built in."
  nullable    = false
}

variable "commit" {
  type        = string
  description = "Commit of the functions' sources."
  default     = null
}

variable "functions_dir" {
  type        = string
  description = "Folder holding the functions' source folders."
  nullable    = false
}

variable "ingestion" {
  type = object({
    mode              = optional(string, "direct")
    photos_per_day    = optional(number)
    photos_per_second = optional(number)
  })
  description = "How uploads reach the workflow: direct (the rule starts it) or buffered (through a queue, started at photos_per_second and at most photos_per_day). Defaults: the pace process_image.reserved_concurrency can sustain (45 without one), and no cap."
  default     = {}
  nullable    = false

  validation {
    condition     = contains(["direct", "buffered"], var.ingestion.mode)
    error_message = "ingestion.mode must be direct or buffered."
  }

  validation {
    # StartExecution of STANDARD refills at 300 a second in the large regions and 150 in others:
    # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    condition     = var.ingestion.photos_per_second == null || try(var.ingestion.photos_per_second >= 1 && var.ingestion.photos_per_second <= 300 && floor(var.ingestion.photos_per_second) == var.ingestion.photos_per_second, false)
    error_message = "ingestion.photos_per_second must be a whole number from 1 to 300 (StartExecution's quota), not ${coalesce(var.ingestion.photos_per_second, 0)}, which is ${coalesce(var.ingestion.photos_per_second, 0) * 3600} photos an hour; `make pause` stops starting photos."
  }

  validation {
    condition = try(var.ingestion.photos_per_second <= var.process_image.reserved_concurrency, true)
    error_message = format(
      "ingestion.photos_per_second = %v is more than process_image.reserved_concurrency = %v can process: %v at once, one second each, is %v photos a second. Set it to at most %v, or raise the concurrency to %v.",
      coalesce(var.ingestion.photos_per_second, 0), coalesce(var.process_image.reserved_concurrency, 0), coalesce(var.process_image.reserved_concurrency, 0),
      coalesce(var.process_image.reserved_concurrency, 0), coalesce(var.process_image.reserved_concurrency, 0), coalesce(var.ingestion.photos_per_second, 0),
    )
  }

  validation {
    # As in the pace's arithmetic, ingestion.tf.
    condition = var.workflow_type != "EXPRESS" || var.ingestion.mode != "buffered" || var.process_image.reserved_concurrency == null || coalesce(var.ingestion.photos_per_second, local.default_pace) <= local.sustained
    error_message = format(
      "ingestion.photos_per_second = %v is more than EXPRESS can sustain with process_image.reserved_concurrency = %v and timeout = %v: one stalled attempt leaves %v x %v photos waiting, which the spare capacity of %v a second cannot process in the 300 - %v seconds left of five minutes. Set it to at most %v, raise the concurrency, or use STANDARD.",
      coalesce(var.ingestion.photos_per_second, local.default_pace), coalesce(var.process_image.reserved_concurrency, 0), var.process_image.timeout, coalesce(var.ingestion.photos_per_second, local.default_pace), var.process_image.timeout,
      coalesce(var.process_image.reserved_concurrency, 0) - coalesce(var.ingestion.photos_per_second, local.default_pace), var.process_image.timeout, local.sustained,
    )
  }

  validation {
    condition     = var.ingestion.photos_per_day == null || try(floor(var.ingestion.photos_per_day) == var.ingestion.photos_per_day && var.ingestion.photos_per_day >= 60 * coalesce(var.ingestion.photos_per_second, local.default_pace), false)
    error_message = "ingestion.photos_per_day = ${coalesce(var.ingestion.photos_per_day, 0)} must be a whole number of at least a minute's pace, 60 x ${coalesce(var.ingestion.photos_per_second, local.default_pace)} = ${60 * coalesce(var.ingestion.photos_per_second, local.default_pace)}, or null for no cap; a lower cap needs a lower photos_per_second."
  }
}

variable "key_arn" {
  type        = string
  description = "KMS key the queues are encrypted with."
  nullable    = false
}

variable "key_prefix" {
  type        = string
  description = "Only objects whose key starts with this start the workflow; empty for all."
  default     = ""
  nullable    = false

  validation {
    condition     = !startswith(var.key_prefix, "/") && length(var.key_prefix) <= 1024
    error_message = "key_prefix (upload_prefix in tfvars) must not start with '/' (S3 keys usually do not) and must have at most 1,024 characters, like \"photos/\"."
  }
}

variable "log_level" {
  type        = string
  description = "Minimum log level of the function."
  default     = "INFO"
  nullable    = false
}

variable "log_retention_days" {
  type        = number
  description = "Days to keep log events."
  default     = 90
  nullable    = false
}

variable "name" {
  type        = string
  description = "Prefix of every resource's name."
  nullable    = false
}

variable "process_image" {
  type = object({
    architecture         = optional(string, "arm64")
    reserved_concurrency = optional(number)
    runtime              = optional(string, "python3.13")
    timeout              = optional(number, 30)
  })
  description = "Size of the ProcessImage function, which limits the pace; start_workflow uses the same runtime and architecture."
  default     = {}
  nullable    = false
}

variable "state_machine_arn" {
  type        = string
  description = "State machine to start for each upload."
  nullable    = false
}

variable "workflow_type" {
  type        = string
  description = "STANDARD or EXPRESS; with EXPRESS the pace must fit its five minutes."
  default     = "STANDARD"
  nullable    = false
}
