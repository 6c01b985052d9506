variable "account_id" {
  type        = string
  description = "Account the alarms are in."
  nullable    = false
}

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

  validation {
    condition     = alltrue([for threshold in values(var.alarms) : threshold >= 0])
    error_message = "alarms must be numbers, 0 or more; 0 disables an alarm."
  }

  validation {
    condition     = alltrue([for name, threshold in var.alarms : floor(threshold) == threshold if name != "latency_p95_seconds"])
    error_message = "alarms must be whole numbers, except latency_p95_seconds."
  }

  validation {
    # An alarm looks back over a day at most, over a week with periods of an hour:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    condition     = var.alarms.dead_letter_age_minutes <= 1440
    error_message = "alarms.dead_letter_age_minutes must be at most 1440 (a day)."
  }

  validation {
    condition     = var.alarms.no_images_hours <= 168
    error_message = "alarms.no_images_hours must be at most 168 (a week)."
  }
}

variable "alerts_topic_arn" {
  type        = string
  description = "Topic for alarms."
  nullable    = false
}

variable "aws_region" {
  type        = string
  description = "Region the alarms are in."
  nullable    = false
}

variable "buffer" {
  type = object({
    capped         = bool
    function_name  = string
    log_group_name = string
    queue_name     = string
  })
  description = "The buffer of uploads and the function that starts the workflow from it; capped if photos_per_day is set. Null for no buffer alarms."
  default     = null
}

variable "dead_letter_queue_name" {
  type        = string
  description = "Queue with the events that could not be processed."
  nullable    = false
}

variable "functions" {
  type = object({
    convert_image = optional(object({
      log_group_name = string
      name           = string
    }))
    process_image = object({
      log_group_name = string
      name           = string
    })
    send_notification = object({
      log_group_name = string
      name           = string
    })
  })
  description = "The functions and their log groups; convert_image is null if not deployed."
  nullable    = false
}

variable "name" {
  type        = string
  description = "Prefix of every resource's name."
  nullable    = false
}

variable "rule_name" {
  type        = string
  description = "Rule that starts the workflow."
  nullable    = false
}

variable "runbook_url" {
  type        = string
  description = "Address of docs/operations.md; each alarm's description links to its section."
  default     = "docs/operations.md"
  nullable    = false

  validation {
    # An alarm's description has 1,024 characters.
    condition     = can(regex("^[!-~]{1,400}$", var.runbook_url)) && !strcontains(var.runbook_url, "#")
    error_message = "runbook_url must be the address of the runbook's page, at most 400 ASCII characters without spaces and without '#', like https://git.example.com/photos/docs/operations.md."
  }
}

variable "state_machine_arn" {
  type        = string
  description = "The workflow."
  nullable    = false
}

variable "topics" {
  type = object({
    alerts  = string
    results = string
  })
  description = "Names of the topics whose deliveries are monitored."
  nullable    = false
}

variable "workflow_type" {
  type        = string
  description = "STANDARD or EXPRESS, which are billed and throttled differently."
  nullable    = false

  validation {
    condition     = contains(["STANDARD", "EXPRESS"], var.workflow_type)
    error_message = "workflow_type must be STANDARD or EXPRESS."
  }
}
