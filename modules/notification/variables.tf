variable "account_id" {
  type        = string
  description = "Account whose alarms may publish."
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

  validation {
    condition     = alltrue([for subscription in values(var.alert_subscriptions) : contains(["email", "email-json", "https", "sms", "sqs"], subscription.protocol)])
    error_message = "alert_subscriptions: the protocol of ${join(", ", [for name, subscription in var.alert_subscriptions : name if !contains(["email", "email-json", "https", "sms", "sqs"], subscription.protocol)])} must be one of email, email-json, https, sms, sqs (plain http would send alarms unencrypted)."
  }

  validation {
    condition     = alltrue([for subscription in values(var.alert_subscriptions) : can(regex(lookup(local.endpoints, subscription.protocol, ".*"), subscription.endpoint))])
    error_message = "alert_subscriptions: the endpoint of ${join(", ", [for name, subscription in var.alert_subscriptions : name if !can(regex(lookup(local.endpoints, subscription.protocol, ".*"), subscription.endpoint))])} does not match its protocol: email needs an address like name@example.com, sms a number like +14155550123, https an https:// address, sqs a queue's ARN."
  }

  validation {
    # SNS keeps one subscription for a protocol and an endpoint, and refuses a second one with another filter.
    condition     = length(distinct([for subscription in values(var.alert_subscriptions) : "${subscription.protocol} ${subscription.endpoint}"])) == length(var.alert_subscriptions)
    error_message = "alert_subscriptions: no two may have the same protocol and endpoint; remove one."
  }
}

variable "key_arn" {
  type        = string
  description = "KMS key the topics are encrypted with."
  nullable    = false
}

variable "name" {
  type        = string
  description = "Prefix of every resource's name."
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

  validation {
    condition     = alltrue([for subscription in values(var.subscriptions) : contains(["email", "email-json", "https", "sms", "sqs"], subscription.protocol)])
    error_message = "subscriptions: the protocol of ${join(", ", [for name, subscription in var.subscriptions : name if !contains(["email", "email-json", "https", "sms", "sqs"], subscription.protocol)])} must be one of email, email-json, https, sms, sqs (plain http would send results unencrypted)."
  }

  validation {
    condition     = alltrue([for subscription in values(var.subscriptions) : can(regex(lookup(local.endpoints, subscription.protocol, ".*"), subscription.endpoint))])
    error_message = "subscriptions: the endpoint of ${join(", ", [for name, subscription in var.subscriptions : name if !can(regex(lookup(local.endpoints, subscription.protocol, ".*"), subscription.endpoint))])} does not match its protocol: email needs an address like name@example.com, sms a number like +14155550123, https an https:// address, sqs a queue's ARN."
  }

  validation {
    # SNS keeps one subscription for a protocol and an endpoint, and refuses a second one with another filter.
    condition     = length(distinct([for subscription in values(var.subscriptions) : "${subscription.protocol} ${subscription.endpoint}"])) == length(var.subscriptions)
    error_message = "subscriptions: no two may have the same protocol and endpoint; combine their outcomes in one."
  }

  validation {
    condition     = alltrue([for subscription in values(var.subscriptions) : subscription.outcomes == null || try(length(subscription.outcomes) > 0 && length(setsubtract(subscription.outcomes, ["face_detected", "no_face", "rejected"])) == 0, false)])
    error_message = "subscriptions: outcomes of ${join(", ", [for name, subscription in var.subscriptions : name if subscription.outcomes != null && !try(length(subscription.outcomes) > 0 && length(setsubtract(subscription.outcomes, ["face_detected", "no_face", "rejected"])) == 0, false)])} must be a list of face_detected, no_face, rejected; omit it for all of them."
  }
}
