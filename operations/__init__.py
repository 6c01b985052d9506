"""Commands that deploy and operate an environment."""
