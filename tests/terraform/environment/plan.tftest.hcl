# Run once for each environment, with -var-file.

mock_provider "aws" {
  source = "./tests/terraform/mocks"
}

run "environment_plans" {
  command = plan

  assert {
    condition     = length(var.allowed_account_ids) == 1
    error_message = "An environment must name its one account, so that it cannot be applied to another's."
  }

  assert {
    condition     = var.environment != "prod" || var.protect_data
    error_message = "Production's data must be protected."
  }

  assert {
    condition     = var.environment == "local" || !var.log_object_keys
    error_message = "Object keys can name people: they must stay out of the logs where people's photos are."
  }

  assert {
    condition     = var.environment == "dev" || var.process_image.reserved_concurrency != null
    error_message = "Where load is, unbounded concurrency would run into Rekognition's quota; only a new account's quota forbids to reserve any."
  }
}
