terraform {
  required_version = ">= 1.10"

  # The bucket that will hold every other state cannot hold this one: a small file beside this one does,
  # one for each environment.
  backend "local" {}

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = length(var.allowed_account_ids) == 0 ? null : var.allowed_account_ids

  default_tags {
    tags = {
      Application = "photo-analysis"
      Environment = var.environment
      ManagedBy   = "terraform"
    }
  }
}
