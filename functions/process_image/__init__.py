"""Lambda function: analyse one uploaded photo and record the outcome."""
