"""What a verification makes is removed again, whatever cannot be removed first."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from operations.deployment import Deployment
from operations.verify_photos import PHOTOS, Trial, trying, wait_for
from tests.unit.pipeline import BUCKET, TABLE, Pipeline, client


@pytest.fixture
def deployment(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A bucket, a table, a topic and a dead-letter queue; uploads are not processed."""
    monkeypatch.setattr("operations.dead_letters._WAIT_SECONDS", 0)
    pipeline.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    clients: dict[str, Any] = {name: client(name) for name in ("sns", "sqs")}
    clients |= {"s3": pipeline.s3, "dynamodb": pipeline.dynamodb}
    environment: Any = SimpleNamespace(name="dev", settings={}, client=clients.__getitem__)
    outputs = {
        "dead_letter_queue_url": clients["sqs"].create_queue(QueueName="dead-letter")["QueueUrl"],
        "name": "photos-dev",
        "results_table_name": TABLE,
        "results_topic_arn": clients["sns"].create_topic(Name="photos-dev-results")["TopicArn"],
        "uploads_bucket_name": BUCKET,
    }
    return Deployment(environment, outputs)


def park(deployment: Deployment, event: dict[str, Any]) -> None:
    deployment.client("sqs").send_message(
        QueueUrl=deployment.dead_letter_queue_url, MessageBody=json.dumps(event)
    )


def made(deployment: Deployment) -> Trial:
    """A verification that sent every photo; one is recorded, one parked, as is a malformed event."""
    trial = Trial(deployment)
    trial.subscribe()
    for photo in PHOTOS:
        trial.upload(photo)
    item = {"ImageID": {"S": trial.uploads[PHOTOS[0]]}, "Key": {"S": trial.prefix + PHOTOS[0].name}}
    deployment.client("dynamodb").put_item(TableName=TABLE, Item=item)
    park(deployment, trial.events[PHOTOS[1]])
    park(deployment, {"detail": {"verify": trial.run}})
    return trial


def left(deployment: Deployment) -> dict[str, int]:
    versions = deployment.client("s3").list_object_versions(Bucket=BUCKET)
    queue = deployment.dead_letter_queue_url
    parked = deployment.client("sqs").receive_message(QueueUrl=queue, VisibilityTimeout=0).get("Messages", [])
    return {
        "objects": len(versions.get("Versions", [])) + len(versions.get("DeleteMarkers", [])),
        "records": len(deployment.client("dynamodb").scan(TableName=TABLE)["Items"]),
        "subscriptions": len(deployment.client("sns").list_subscriptions()["Subscriptions"]),
        "queues": len(
            deployment.client("sqs").list_queues(QueueNamePrefix="photos-dev").get("QueueUrls", [])
        ),
        "parked": len(parked),
    }


NOTHING = {"objects": 0, "records": 0, "subscriptions": 0, "queues": 0, "parked": 0}


def test_all_a_verification_made_is_removed_and_nothing_else(deployment: Deployment) -> None:
    with closing(made(deployment)) as trial:
        deployment.client("s3").delete_object(Bucket=BUCKET, Key=trial.prefix + PHOTOS[0].name)
        assert 0 not in left(deployment).values()
    assert left(deployment) == NOTHING
    park(deployment, {"detail": {"object": {"key": "somebody's.jpg"}}})
    with closing(made(deployment)):
        pass
    assert left(deployment) == NOTHING | {"parked": 1}


@pytest.mark.parametrize("service", ["dynamodb", "s3", "sns"])
def test_what_cannot_be_removed_keeps_nothing_else_from_being_removed(
    service: str, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = deployment.client(service)

    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "Delete")

    for name in ("delete_item", "delete_object", "unsubscribe"):
        if hasattr(refused, name):
            monkeypatch.setattr(refused, name, refuse)
    trial = Trial(deployment)
    # The photo that is deleted at once would be refused, too.
    trial.subscribe()
    trial.upload(PHOTOS[0])
    park(deployment, trial.events[PHOTOS[0]])
    trial.close()
    kept = {"dynamodb": {}, "s3": {"objects": 1}, "sns": {"subscriptions": 1}}
    assert left(deployment) == NOTHING | kept[service]


def test_a_photo_s_way_ends_in_its_record_or_its_parked_event(deployment: Deployment) -> None:
    with closing(made(deployment)) as trial:
        assert [bool(trial.ended_as(photo)) for photo in PHOTOS[:3]] == [True, True, False]
        assert trial.parked.keys() == {"", trial.prefix + PHOTOS[1].name}


def test_each_notification_is_received_once(deployment: Deployment) -> None:
    with closing(made(deployment)) as trial:
        image = trial.uploads[PHOTOS[0]]
        deployment.client("sns").publish(
            TopicArn=deployment.value("results_topic_arn"),
            Message=json.dumps({"image_id": image}),
            MessageAttributes={"key_prefix": {"DataType": "String", "StringValue": trial.prefix}},
        )
        assert wait_for(trial, lambda: trial.notifications, 10)
        trial.receive()
        assert {name: len(facts) for name, facts in trial.notifications.items()} == {image: 1}


def test_an_interrupted_one_waits_for_photos_on_their_way_before_it_removes_their_records(
    deployment: Deployment,
) -> None:
    item: dict[str, Any] = {}
    late = threading.Timer(0.5, lambda: deployment.client("dynamodb").put_item(TableName=TABLE, Item=item))
    said: list[str] = []

    def interrupted() -> None:
        with trying(deployment, said.append) as trial:
            trial.subscribe()
            trial.upload(PHOTOS[0])
            item.update(ImageID={"S": trial.uploads[PHOTOS[0]]}, Key={"S": trial.prefix})
            late.start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    late.join()
    assert said == ["Removing everything; photos on their way are waited for"]
    assert left(deployment) == NOTHING
