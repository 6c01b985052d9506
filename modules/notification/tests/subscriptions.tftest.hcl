mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id = "111122223333"
  key_arn    = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  name       = "photos-dev"
}

run "accepts_every_protocol" {
  command = plan

  variables {
    alert_subscriptions = {
      email      = { protocol = "email", endpoint = "on.call+alarms@ops.example.com" }
      email-json = { protocol = "email-json", endpoint = "alarms@example.com" }
      https      = { protocol = "https", endpoint = "https://hooks.example.com:8443/alarms?team=ops" }
      sms        = { protocol = "sms", endpoint = "+4915112345678" }
      sqs        = { protocol = "sqs", endpoint = "arn:aws:sqs:us-east-1:111122223333:alarms" }
    }
    subscriptions = {
      email      = { protocol = "email", endpoint = "on.call+photos@ops.example.com" }
      email-json = { protocol = "email-json", endpoint = "photos@example.com" }
      https      = { protocol = "https", endpoint = "https://hooks.example.com:8443/photos?team=ops" }
      sms        = { protocol = "sms", endpoint = "+14155550123" }
      sqs        = { protocol = "sqs", endpoint = "arn:aws:sqs:us-east-1:111122223333:photos" }
    }
  }

  assert {
    condition     = { for name, subscription in aws_sns_topic_subscription.results : name => subscription.protocol } == { email = "email", email-json = "email-json", https = "https", sms = "sms", sqs = "sqs" }
    error_message = "Everybody in subscriptions must be subscribed to the results."
  }

  assert {
    condition     = { for name, subscription in aws_sns_topic_subscription.alerts : name => subscription.endpoint } == { for name, subscription in var.alert_subscriptions : name => subscription.endpoint }
    error_message = "Everybody in alert_subscriptions must be subscribed to the alerts."
  }
}

run "outcomes_become_a_filter" {
  command = plan

  variables {
    subscriptions = {
      everything = { protocol = "email", endpoint = "all@example.com" }
      some       = { protocol = "email", endpoint = "some@example.com", outcomes = ["rejected", "no_face"] }
    }
  }

  assert {
    condition     = aws_sns_topic_subscription.results["everything"].filter_policy == null
    error_message = "Without outcomes everything must be told."
  }

  assert {
    condition     = jsonencode(jsondecode(coalesce(aws_sns_topic_subscription.results["some"].filter_policy, "null"))) == jsonencode({ outcome = ["no_face", "rejected"] })
    error_message = "Only the outcomes asked for may be told, in an order that makes no false difference."
  }
}

run "reject_wrong_email_addresses" {
  command = plan

  variables {
    alert_subscriptions = { ops = { protocol = "email", endpoint = "ops@example" } }
    subscriptions       = { ops = { protocol = "email", endpoint = "ops at example.com" } }
  }

  expect_failures = [var.alert_subscriptions, var.subscriptions]
}

run "reject_phone_numbers_that_are_not_e164" {
  command = plan

  variables {
    alert_subscriptions = { ops = { protocol = "sms", endpoint = "004915112345678" } }
    subscriptions       = { ops = { protocol = "sms", endpoint = "+1 (415) 555-0123" } }
  }

  expect_failures = [var.alert_subscriptions, var.subscriptions]
}

run "reject_http_endpoints" {
  command = plan

  variables {
    alert_subscriptions = { hook = { protocol = "https", endpoint = "http://hooks.example.com/alarms" } }
    subscriptions       = { hook = { protocol = "https", endpoint = "http://hooks.example.com/photos" } }
  }

  expect_failures = [var.alert_subscriptions, var.subscriptions]
}

run "reject_http_protocol" {
  command = plan

  variables {
    alert_subscriptions = { hook = { protocol = "http", endpoint = "http://hooks.example.com/alarms" } }
    subscriptions       = { hook = { protocol = "http", endpoint = "http://hooks.example.com/photos" } }
  }

  expect_failures = [var.alert_subscriptions, var.subscriptions]
}

run "reject_unknown_protocols" {
  command = plan

  variables {
    alert_subscriptions = { ops = { protocol = "pager", endpoint = "ops@example.com" } }
    subscriptions       = { ops = { protocol = "Email", endpoint = "ops@example.com" } }
  }

  expect_failures = [var.alert_subscriptions, var.subscriptions]
}

run "reject_endpoints_of_another_protocol" {
  command = plan

  variables {
    alert_subscriptions = { ops = { protocol = "sqs", endpoint = "https://sqs.us-east-1.amazonaws.com/111122223333/alarms" } }
    subscriptions       = { ops = { protocol = "email", endpoint = "+14155550123" } }
  }

  expect_failures = [var.alert_subscriptions, var.subscriptions]
}

run "reject_unknown_outcomes" {
  command = plan

  variables {
    subscriptions = { ops = { protocol = "email", endpoint = "ops@example.com", outcomes = ["rejected", "blurred"] } }
  }

  expect_failures = [var.subscriptions]
}

run "reject_no_outcomes" {
  command = plan

  variables {
    subscriptions = { ops = { protocol = "email", endpoint = "ops@example.com", outcomes = [] } }
  }

  expect_failures = [var.subscriptions]
}

run "reject_the_same_endpoint_twice" {
  command = plan

  variables {
    alert_subscriptions = {
      one = { protocol = "email", endpoint = "ops@example.com" }
      two = { protocol = "email", endpoint = "ops@example.com" }
    }
    subscriptions = {
      faces    = { protocol = "email", endpoint = "ops@example.com", outcomes = ["face_detected"] }
      rejected = { protocol = "email", endpoint = "ops@example.com", outcomes = ["rejected"] }
    }
  }

  expect_failures = [var.alert_subscriptions, var.subscriptions]
}
