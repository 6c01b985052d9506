"""The tutorial's design: clients created in the handler, no check for a record, statusCode responses."""

import json
import os
import urllib.parse
from typing import Any

import boto3


def process(event: dict[str, Any], _context: object) -> dict[str, Any]:
    rekognition, dynamodb = boto3.client("rekognition"), boto3.resource("dynamodb")
    bucket = event["detail"]["bucket"]["name"]
    key = urllib.parse.unquote_plus(event["detail"]["object"]["key"])
    photo: Any = {"Bucket": bucket, "Name": key}
    response = rekognition.detect_faces(Image={"S3Object": photo}, Attributes=["ALL"])
    image_id = f"{key}@{event['detail']['object']['etag']}"
    faces = json.dumps(response["FaceDetails"])
    dynamodb.Table(os.environ["RESULTS_TABLE"]).put_item(Item={"ImageID": image_id, "FaceDetails": faces})
    return {
        "statusCode": 200,
        "image_id": image_id,
        "body": json.dumps({"faces": bool(response["FaceDetails"])}),
    }


def notify(event: dict[str, Any], _context: object) -> dict[str, Any]:
    message = json.dumps({"image_id": event["image_id"], "body": event["body"]})
    boto3.client("sns").publish(TopicArn=os.environ["RESULTS_TOPIC_ARN"], Subject="Face", Message=message)
    return {"statusCode": 200}
