# `make lint` uses .tflint-aws.hcl instead if its ruleset can be downloaded.
config {
  call_module_type = "local"
}

plugin "terraform" {
  enabled = true
  preset  = "all"
}
