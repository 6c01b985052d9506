variable "account_id" {
  type        = string
  description = "Account whose function may assume the role."
  nullable    = false
}

variable "architecture" {
  type        = string
  description = "Architecture: arm64 (cheaper) or x86_64."
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture of ${var.name} must be arm64 or x86_64."
  }
}

variable "build_dir" {
  type        = string
  description = "Folder the zip is built in."
  nullable    = false
}

variable "bundle_wheels" {
  type        = bool
  description = "Whether to bundle the wheels of source_dir's requirements.lock, for the runtime and architecture."
  default     = false
  nullable    = false

  validation {
    # Such wheels need glibc 2.27, and Python 3.11 runs on Amazon Linux 2, which has 2.26.
    condition     = !var.bundle_wheels || var.runtime != "python3.11"
    error_message = "runtime must be python3.12 or python3.13 if wheels are bundled: they need Amazon Linux 2023."
  }
}

variable "commit" {
  type        = string
  description = "Commit of the sources, shown by rollback; only read when the sources change."
  default     = null
}

variable "description" {
  type        = string
  description = "What the function does."
  nullable    = false
}

variable "environment_variables" {
  type        = map(string)
  description = "Environment variables of the function."
  default     = {}
  nullable    = false
}

variable "key_arn" {
  type        = string
  description = "KMS key the log group is encrypted with."
  nullable    = false
}

variable "log_level" {
  type        = string
  description = "Minimum application log level."
  default     = "INFO"
  nullable    = false

  validation {
    condition     = contains(["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"], var.log_level)
    error_message = "log_level must be one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL."
  }
}

variable "log_retention_days" {
  type        = number
  description = "Days to keep log events."
  default     = 90
  nullable    = false

  validation {
    # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a value CloudWatch Logs supports: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "memory_size" {
  type        = number
  description = "Memory in MB; CPU grows with it."
  default     = 256
  nullable    = false

  validation {
    condition     = var.memory_size >= 128 && var.memory_size <= 10240 && floor(var.memory_size) == var.memory_size
    error_message = "memory_size of ${var.name} must be a whole number of MB from 128 to 10240."
  }
}

variable "name" {
  type        = string
  description = "Name of the function, 1 to 64 characters."
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.name))
    error_message = "name must be 1 to 64 letters, digits, hyphens or underscores: shorten the stack's name or the environment's."
  }
}

variable "policy_json" {
  type        = string
  description = "IAM policy with the function's permissions, besides its own logs and traces."
  nullable    = false
}

variable "reserved_concurrency" {
  type        = number
  description = "Maximum concurrency: requests per second times seconds per call; null shares the account's."
  default     = null

  validation {
    condition     = var.reserved_concurrency == null || try(var.reserved_concurrency >= 1 && floor(var.reserved_concurrency) == var.reserved_concurrency, false)
    error_message = "reserved_concurrency of ${var.name} must be a whole number, 1 or more, or null to share the account's concurrency (0 would disable the function)."
  }
}

variable "runtime" {
  type        = string
  description = "Lambda runtime."
  default     = "python3.13"
  nullable    = false

  validation {
    condition     = contains(["python3.11", "python3.12", "python3.13"], var.runtime)
    error_message = "runtime of ${var.name} must be python3.11, python3.12 or python3.13."
  }
}

variable "source_dir" {
  type        = string
  description = "Folder of the function's Python package, whose handler.py defines `handler`."
  nullable    = false
}

variable "timeout" {
  type        = number
  description = "Timeout of an invocation in seconds."
  default     = 30
  nullable    = false

  validation {
    condition     = var.timeout >= 1 && var.timeout <= 900 && floor(var.timeout) == var.timeout
    error_message = "timeout of ${var.name} must be a whole number of seconds from 1 to 900."
  }
}
