mock_provider "aws" {
  source = "../../tests/terraform/mocks"
}

variables {
  account_id = "111122223333"
  key_arn    = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  name       = "photos-dev"
}

run "topics_are_encrypted_with_a_key_alarms_can_use" {
  command = plan

  # An alarm cannot publish to a topic encrypted with alias/aws/sns.
  assert {
    condition     = aws_sns_topic.alerts.kms_master_key_id == var.key_arn
    error_message = "The alerts topic must be encrypted with the stack's key."
  }

  assert {
    condition     = aws_sns_topic.results.kms_master_key_id == var.key_arn
    error_message = "The results topic must be encrypted with the stack's key."
  }

  assert {
    condition     = length(aws_sns_topic_subscription.results) + length(aws_sns_topic_subscription.alerts) == 0
    error_message = "Nobody may be subscribed without being asked for."
  }
}

run "plain_http_is_denied_on_both_topics" {
  command = plan

  assert {
    condition     = { for topic, document in data.aws_iam_policy_document.plain_http : topic => one(document.statement).effect } == { alerts = "Deny", results = "Deny" }
    error_message = "Each topic must deny something: plain HTTP."
  }

  assert {
    condition     = alltrue([for document in data.aws_iam_policy_document.plain_http : one(document.statement[0].condition) == { test = "Bool", values = tolist(["false"]), variable = "aws:SecureTransport" }])
    error_message = "Only requests without TLS are to be denied."
  }

  assert {
    condition     = alltrue([for document in data.aws_iam_policy_document.plain_http : one(document.statement[0].principals).identifiers == toset(["*"])])
    error_message = "Nobody may publish over plain HTTP."
  }
}

run "alarms_of_the_account_may_publish" {
  command = plan

  assert {
    condition     = one(one([for statement in data.aws_iam_policy_document.alerts.statement : statement if statement.sid == "AlarmsPublish"]).principals).identifiers == toset(["cloudwatch.amazonaws.com"])
    error_message = "Alarms must be able to publish."
  }

  assert {
    condition     = one(one([for statement in data.aws_iam_policy_document.alerts.statement : statement if statement.sid == "AlarmsPublish"]).condition) == { test = "StringEquals", values = tolist(["111122223333"]), variable = "aws:SourceAccount" }
    error_message = "Other accounts' alarms must not be able to publish."
  }
}
