"""Command-line tools for development: packaging, setup, checks."""
