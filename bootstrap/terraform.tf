terraform {
  required_version = ">= 1.10"

  # The bucket for all other states cannot hold this one: a small local file does,
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
