"""Lambda function: analyse an uploaded photo that Rekognition cannot take as it is."""
