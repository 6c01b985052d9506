"""Lambda function: convert and analyse an uploaded photo that Rekognition does not accept."""
