"""Lambda function: notify subscribers about one analysed photo over SNS."""
