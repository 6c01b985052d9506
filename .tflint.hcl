# `make lint` adds .tflint-aws.hcl where the ruleset it names can be fetched.
config {
  call_module_type = "local"
}

plugin "terraform" {
  enabled = true
  preset  = "all"
}
