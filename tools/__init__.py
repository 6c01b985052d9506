"""Command-line tools of the development environment: packaging, deployment, checks."""
