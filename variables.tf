variable "alarms" {
  type = object({
    backlog_age_minutes     = optional(number, 360)
    cap_reached             = optional(number, 1)
    dead_letter_age_minutes = optional(number, 60)
    dead_letters            = optional(number, 1)
    delivery_failures       = optional(number, 1)
    executions_failed       = optional(number, 1)
    executions_throttled    = optional(number, 10)
    executions_timed_out    = optional(number, 1)
    function_errors         = optional(number, 5)
    function_throttles      = optional(number, 100)
    latency_p95_seconds     = optional(number, 60)
    lost_events             = optional(number, 1)
    no_images_hours         = optional(number, 0)
    notification_failures   = optional(number, 1)
    rekognition_throttles   = optional(number, 100)
  })
  description = "Threshold of each alarm; counts are per five minutes, and dead_letter_age_minutes is rounded up to a multiple of five; 0 disables an alarm. docs/operations.md has a runbook for each."
  default     = {}
  nullable    = false
}

variable "alert_subscriptions" {
  type = map(object({
    endpoint = string
    protocol = string
  }))
  description = "Who is notified when an alarm goes off, by a name of your choice."
  default     = {}
  nullable    = false
}

variable "allowed_account_ids" {
  type        = list(string)
  description = "Accounts this environment may be applied to; empty allows any."
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.allowed_account_ids : can(regex("^[0-9]{12}$", id))])
    error_message = "allowed_account_ids must be AWS account ids of twelve digits, in quotes, like \"111122223333\"."
  }
}

variable "aws_region" {
  type        = string
  description = "AWS region to deploy to."
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.aws_region))
    error_message = "aws_region must be a region's code, like us-east-1."
  }
}

variable "backfill_concurrency" {
  type        = number
  description = "Most photos a backfill analyses at once; null means half of process_image.reserved_concurrency, or 10 without one."
  default     = null
}

variable "commit" {
  type        = string
  description = "Commit of the functions' sources, shown in each published version; `make` sets it."
  default     = null
}

variable "convert" {
  type = object({
    architecture         = optional(string, "arm64")
    bundle_wheels        = optional(bool, true)
    formats              = optional(list(string), ["avif", "bmp", "gif", "heic", "jp2", "jpeg", "png", "tiff", "webp"])
    max_pixels           = optional(number, 4096)
    memory_size          = optional(number, 1769)
    reserved_concurrency = optional(number)
    runtime              = optional(string, "python3.13")
    timeout              = optional(number, 90)
  })
  description = "Formats that are decoded and shrunk to max_pixels a side before calling Rekognition; with [] the function is not deployed. Without bundle_wheels the decoders come from the computer that runs the functions."
  default     = {}
  nullable    = false
}

variable "environment" {
  type        = string
  description = "Name of the environment: dev, staging, prod or another."
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,14}[a-z0-9]$", var.environment))
    error_message = "environment must be 2 to 16 lower-case letters, digits and hyphens, starting with a letter."
  }

  validation {
    # Another workspace has another, empty state: the stack would be created a second time, under the same names.
    # (A condition must name its own variable.)
    condition     = terraform.workspace == "default" && var.environment != ""
    error_message = "The workspace ${terraform.workspace} is selected, but environments are separated by their files, not by workspaces: unset TF_WORKSPACE, or run `terraform workspace select default`."
  }
}

variable "face_attributes" {
  type        = list(string)
  description = "What Rekognition reports about a face: [\"DEFAULT\"], [\"ALL\"], or DEFAULT with further attributes such as SMILE."
  default     = ["DEFAULT"]
  nullable    = false
}

variable "face_min_confidence" {
  type        = number
  description = "Minimum confidence in percent; faces below it are left out."
  default     = 90
  nullable    = false
}

variable "ingestion" {
  type = object({
    mode              = optional(string, "direct")
    photos_per_day    = optional(number)
    photos_per_second = optional(number)
  })
  description = "How uploads reach the workflow: direct (at once) or buffered (through a queue, started at photos_per_second and at most photos_per_day). Defaults: the pace process_image.reserved_concurrency can sustain (45 without one), and no cap."
  default     = {}
  nullable    = false
}

variable "kms_key_arn" {
  type        = string
  description = "ARN of your own KMS key to encrypt with; null for the stack's own key. docs/security.md has the policy it needs."
  default     = null
}

variable "log_level" {
  type        = string
  description = "Minimum log level of the functions."
  default     = "INFO"
  nullable    = false
}

variable "log_object_keys" {
  type        = bool
  description = "Whether logs hold object keys and execution data, which can name people."
  default     = false
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
  description = "Name of the application, the first part of every resource's name."
  default     = "photo-analysis"
  nullable    = false

  validation {
    # The bucket, <name>-<environment>-uploads-<account>, has 63 characters at most.
    condition     = can(regex("^[a-z][a-z0-9-]{1,22}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 24 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "photo_retention_days" {
  type        = number
  description = "Days after which photos are deleted; their deleted versions are kept replaced_version_retention_days more, but at most photo_retention_days. Null keeps photos."
  default     = null
}

variable "process_image" {
  type = object({
    architecture         = optional(string, "arm64")
    memory_size          = optional(number, 512)
    reserved_concurrency = optional(number)
    runtime              = optional(string, "python3.13")
    timeout              = optional(number, 30)
  })
  description = "Size of the ProcessImage function; reserved_concurrency = Rekognition requests per second x seconds per call."
  default     = {}
  nullable    = false
}

variable "protect_data" {
  type        = bool
  description = "Whether destroying the stack fails while it holds data."
  default     = true
  nullable    = false
}

variable "record_retention_days" {
  type        = number
  description = "Days after which records expire; null keeps them."
  default     = null
}

variable "replaced_version_retention_days" {
  type        = number
  description = "Days to keep replaced or deleted versions of photos."
  default     = 30
  nullable    = false
}

variable "retire_made_key" {
  type        = bool
  description = "Whether to delete, or never create, the stack's own key because kms_key_arn names another; anything still encrypted with it is lost."
  default     = false
  nullable    = false
}

variable "runbook_url" {
  type        = string
  description = "Address of docs/operations.md; each alarm's description links to its section."
  default     = "docs/operations.md"
  nullable    = false
}

variable "send_notification" {
  type = object({
    architecture         = optional(string, "arm64")
    memory_size          = optional(number, 256)
    reserved_concurrency = optional(number)
    runtime              = optional(string, "python3.13")
    timeout              = optional(number, 20)
  })
  description = "Size of the SendNotification function."
  default     = {}
  nullable    = false
}

variable "subscriptions" {
  type = map(object({
    endpoint = string
    outcomes = optional(list(string))
    protocol = string
  }))
  description = "Who is notified of analysed photos, by a name of your choice; outcomes (face_detected, no_face, rejected) default to all."
  default     = {}
  nullable    = false
}

variable "tags" {
  type        = map(string)
  description = "Tags of every resource, in addition to Application, Environment and ManagedBy."
  default     = {}
  nullable    = false

  validation {
    # https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
    condition     = !anytrue([for text in concat(keys(var.tags), compact(values(var.tags))) : startswith(lower(text), "aws:")])
    error_message = "tags: neither a key nor a value may start with \"aws:\", which AWS reserves."
  }

  validation {
    # Role tags ignore case in keys: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html#id_tags_rules_creating
    condition     = length(distinct([for key in concat(keys(var.tags), ["Application", "Environment", "ManagedBy"]) : lower(key)])) == length(var.tags) + 3
    error_message = "tags: keys must differ in more than case from each other and from Application, Environment and ManagedBy, which are already set."
  }

  validation {
    # What every service takes: https://docs.aws.amazon.com/IAM/latest/APIReference/API_Tag.html,
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_Tag.html
    condition     = alltrue([for key, value in var.tags : can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]+$", key)) && can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]*$", value))])
    error_message = "tags: ${join(", ", [for key, value in var.tags : "\"${key}\"" if !can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]+$", key)) || !can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]*$", value))])} must hold letters, digits, spaces and _ . : / = + - @ only, in key and value."
  }

  validation {
    # https://docs.aws.amazon.com/IAM/latest/APIReference/API_Tag.html
    condition     = alltrue([for key, value in var.tags : length(key) <= 128 && try(length(value) <= 256, true)])
    error_message = "tags: a key has at most 128 characters, a value at most 256."
  }

  validation {
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TaggingRestrictions.html: 50, less Application, Environment and ManagedBy.
    condition     = length(var.tags) <= 47
    error_message = "tags: at most 47, because a resource can have 50 and three are already set."
  }
}

variable "upload_prefix" {
  type        = string
  description = "Only objects whose key starts with this are analysed; empty for all."
  default     = ""
  nullable    = false
}

variable "workflow_type" {
  type        = string
  description = "STANDARD (exactly once, 90 days of history) or EXPRESS (cheaper, at least once, five minutes at most)."
  default     = "STANDARD"
  nullable    = false
}
