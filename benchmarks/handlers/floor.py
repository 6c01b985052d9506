"""The floor: the same API calls as ours for one new photo, and nothing else."""

import json
import os
from typing import Any

import boto3

REKOGNITION, DYNAMODB, SNS = boto3.client("rekognition"), boto3.client("dynamodb"), boto3.client("sns")
TABLE, TOPIC = os.environ["RESULTS_TABLE"], os.environ["RESULTS_TOPIC_ARN"]


def process(event: dict[str, Any], _context: object) -> dict[str, Any]:
    detail = event["event"]["detail"]
    bucket, stored = detail["bucket"]["name"], detail["object"]
    key = {"ImageID": {"S": f"{stored['key']}@{stored['etag']}"}}
    DYNAMODB.get_item(TableName=TABLE, Key=key, ConsistentRead=True)
    photo: Any = {"Bucket": bucket, "Name": stored["key"]}
    faces = REKOGNITION.detect_faces(Image={"S3Object": photo}, Attributes=["DEFAULT"])["FaceDetails"]
    DYNAMODB.put_item(TableName=TABLE, Item={**key, "FaceDetails": {"S": json.dumps(faces)}})
    return {"duplicate": False, "image_id": key["ImageID"]["S"]}


def notify(event: dict[str, Any], _context: object) -> dict[str, Any]:
    SNS.publish(TopicArn=TOPIC, Subject="Face", Message=json.dumps(event))
    DYNAMODB.update_item(
        TableName=TABLE,
        Key={"ImageID": {"S": event["image_id"]}},
        UpdateExpression="SET NotifiedAt = :now",
        ExpressionAttributeValues={":now": {"S": "now"}},
    )
    return {}
