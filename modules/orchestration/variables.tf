variable "account_id" {
  type        = string
  description = "Account whose workflow and functions may assume their roles."
  nullable    = false
}

variable "aws_region" {
  type        = string
  description = "Region the workflows run in."
  nullable    = false
}

variable "backfill_concurrency" {
  type        = number
  description = "Most photos a backfill analyses at once; null means half of ProcessImage's reserved concurrency, or 10 without one."
  default     = null

  validation {
    # Beyond 1,000 runs at once Step Functions throttles the rest of the account:
    # https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html
    condition     = var.backfill_concurrency == null || try(var.backfill_concurrency >= 1 && var.backfill_concurrency <= 1000 && floor(var.backfill_concurrency) == var.backfill_concurrency, false)
    error_message = "backfill_concurrency must be a whole number from 1 to 1000, or null for half of process_image.reserved_concurrency."
  }
}

variable "build_dir" {
  type        = string
  description = "Folder the functions' zips are built in."
  nullable    = false
}

variable "commit" {
  type        = string
  description = "Commit of the functions' sources."
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
  description = "Size of the ConvertImage function, and what it converts."
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(var.convert.formats, ["avif", "bmp", "gif", "heic", "jp2", "jpeg", "png", "tiff", "webp"])) == 0
    error_message = "convert.formats may hold avif, bmp, gif, heic, jp2, jpeg, png, tiff and webp; [] converts nothing."
  }

  validation {
    # Under 1,600 pixels Rekognition's smallest faces are no longer found; over 8,192 a JPEG seldom fits its 5 MB.
    condition     = var.convert.max_pixels >= 1600 && var.convert.max_pixels <= 8192 && floor(var.convert.max_pixels) == var.convert.max_pixels
    error_message = "convert.max_pixels must be a whole number from 1600 to 8192."
  }

  validation {
    condition     = var.convert.memory_size >= 1024
    error_message = "convert.memory_size must be 1024 MB or more: a photo of 128 megapixels is decoded in memory."
  }

  validation {
    # Reading the photo, 30 s of decoding and two attempts of a Rekognition call, 12 s each, must fit; the task waits 125 s.
    condition     = var.convert.timeout >= 80 && var.convert.timeout <= 120
    error_message = "convert.timeout must be 80 to 120 seconds, enough for reading, 30 seconds of decoding and two attempts of a Rekognition call."
  }

  validation {
    # The wheels need glibc 2.27, and Python 3.11 runs on Amazon Linux 2, which has 2.26.
    condition     = !var.convert.bundle_wheels || var.convert.runtime != "python3.11"
    error_message = "convert.runtime must be python3.12 or python3.13: the decoders need Amazon Linux 2023."
  }
}

variable "dead_letter_queue" {
  type = object({
    arn = string
    url = string
  })
  description = "Queue for the events of failed executions."
  nullable    = false
}

variable "face_attributes" {
  type        = list(string)
  description = "What Rekognition reports about a face: DEFAULT, ALL, or DEFAULT with further attributes."
  default     = ["DEFAULT"]
  nullable    = false

  validation {
    # https://docs.aws.amazon.com/rekognition/latest/APIReference/API_DetectFaces.html
    condition = length(var.face_attributes) > 0 && length(setsubtract(var.face_attributes, [
      "DEFAULT", "ALL", "AGE_RANGE", "BEARD", "EMOTIONS", "EYE_DIRECTION", "EYEGLASSES", "EYES_OPEN",
      "FACE_OCCLUDED", "GENDER", "MOUTH_OPEN", "MUSTACHE", "SMILE", "SUNGLASSES",
    ])) == 0
    error_message = "face_attributes must be a list of DEFAULT, ALL, AGE_RANGE, BEARD, EMOTIONS, EYE_DIRECTION, EYEGLASSES, EYES_OPEN, FACE_OCCLUDED, GENDER, MOUTH_OPEN, MUSTACHE, SMILE, SUNGLASSES."
  }
}

variable "face_min_confidence" {
  type        = number
  description = "Minimum confidence in percent; faces below it are left out."
  default     = 90
  nullable    = false

  validation {
    condition     = var.face_min_confidence >= 0 && var.face_min_confidence <= 100
    error_message = "face_min_confidence must be a percentage from 0 to 100."
  }
}

variable "functions_dir" {
  type        = string
  description = "Folder holding the functions' source folders."
  nullable    = false
}

variable "key_arn" {
  type        = string
  description = "KMS key of the bucket, table, topics, queue and log groups."
  nullable    = false
}

variable "log_level" {
  type        = string
  description = "Minimum application log level."
  default     = "INFO"
  nullable    = false

  # As in the functions' module, so that a wrong value is reported once, not once a function.
  validation {
    condition     = contains(["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"], var.log_level)
    error_message = "log_level must be one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL."
  }
}

variable "log_object_keys" {
  type        = bool
  description = "Whether logs hold object keys, which can name people; at log level DEBUG they always do."
  default     = false
  nullable    = false
}

variable "log_retention_days" {
  type        = number
  description = "Days to keep log events."
  default     = 90
  nullable    = false

  # As in the functions' module, so that a wrong value is reported once, not once a log group.
  validation {
    # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a value CloudWatch Logs supports: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "name" {
  type        = string
  description = "Prefix of every resource's name."
  nullable    = false
}

variable "previous_key_arns" {
  type        = list(string)
  description = "KMS keys older photos may be encrypted with."
  default     = []
  nullable    = false
}

variable "process_image" {
  type = object({
    architecture         = optional(string, "arm64")
    memory_size          = optional(number, 512)
    reserved_concurrency = optional(number)
    runtime              = optional(string, "python3.13")
    timeout              = optional(number, 30)
  })
  description = "Size of the ProcessImage function."
  default     = {}
  nullable    = false

  validation {
    # Two attempts of a Rekognition call, 12 s each, must fit.
    condition     = var.process_image.timeout >= 25 && var.process_image.timeout <= 60
    error_message = "process_image.timeout must be 25 to 60 seconds: enough for two attempts of a Rekognition call, and short enough for the retries to fit EXPRESS's five minutes."
  }
}

variable "record_retention_days" {
  type        = number
  description = "Days after which records expire; null keeps them."
  default     = null

  validation {
    condition     = var.record_retention_days == null || try(var.record_retention_days >= 1 && var.record_retention_days <= 36500 && floor(var.record_retention_days) == var.record_retention_days, false)
    error_message = "record_retention_days must be a whole number of days from 1 to 36500, or null to keep records."
  }
}

variable "results_table" {
  type = object({
    arn  = string
    name = string
  })
  description = "Table the records are written to."
  nullable    = false
}

variable "results_topic_arn" {
  type        = string
  description = "Topic for notifications."
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

  validation {
    # One publish of at most 10 s and two calls to the table, of two attempts of 2 s each, must fit.
    condition     = var.send_notification.timeout >= 20 && var.send_notification.timeout <= 60
    error_message = "send_notification.timeout must be 20 to 60 seconds: enough for one publish and its mark, and short enough for the retries to fit EXPRESS's five minutes."
  }
}

variable "uploads_bucket_arn" {
  type        = string
  description = "Bucket the photos are read from."
  nullable    = false
}

variable "workflow_type" {
  type        = string
  description = "Workflow for uploads: STANDARD (exactly once, 90 days of history) or EXPRESS (cheaper, at least once, five minutes at most)."
  default     = "STANDARD"
  nullable    = false

  validation {
    condition     = contains(["STANDARD", "EXPRESS"], var.workflow_type)
    error_message = "workflow_type must be STANDARD or EXPRESS."
  }
}
