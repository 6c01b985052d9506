# .tflint.hcl with the ruleset that knows what AWS accepts; `make lint` uses it where the ruleset can be fetched.
config {
  call_module_type = "local"
}

plugin "terraform" {
  enabled = true
  preset  = "all"
}

plugin "aws" {
  enabled = true
  version = "0.40.0"
  source  = "github.com/terraform-linters/tflint-ruleset-aws"
}
