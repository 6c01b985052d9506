"""Lambda function: tell people about one analysed photo over SNS."""
