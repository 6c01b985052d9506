"""Lambda function: start the workflow for buffered uploads at a set pace."""
