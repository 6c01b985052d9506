"""What an operations team runs against a deployed environment."""
