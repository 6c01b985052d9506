"""The deployed state machine's own file, its tasks answered by Step Functions' mock configuration.

MiniStack looks a mocked error up once and raises it at every attempt, so the number of attempts is the number
the matching retrier allows. Waits are switched off; what they are is read from the definition.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from localcloud import LocalCloud
from localcloud.cloud import REGION
from tests.definition import pipeline, retriers
from tests.integration.aws import attempts, client, finished, history, make_role

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "pipeline"
IMAGE = {
    "duplicate": False,
    "notify": True,
    "image_id": "photos/anna.jpg@e1",
    "outcome": "no_face",
    "face_count": 0,
}
# What ProcessImage may answer, and whether people are notified then.
IMAGES = {
    "Due": IMAGE,
    "OlderFunction": {name: value for name, value in IMAGE.items() if name != "notify"},
    "OlderFunctionDuplicate": {"duplicate": True},
    "Duplicate": {**IMAGE, "duplicate": True, "notify": False},
    "FolderMarker": {"ignored": "folder_marker", "duplicate": False, "notify": False},
    "RecordedOnly": {**IMAGE, "notify": False},
    "Nothing": {},
}
# What it answers to what Rekognition does not take.
UNREAD = {"convert": True, "duplicate": False, "notify": False}
NOTIFIED = ("Due", "OlderFunction", "Nothing")
EVENT = {
    "detail-type": "Object Created",
    "source": "aws.s3",
    "detail": {"bucket": {"name": "uploads"}, "object": {"key": "photos/anna.jpg", "etag": "e1", "size": 1}},
}
# What each error name is worth, counted in attempts: one more than the retrier that knows it allows.
ATTEMPTS = {
    "InvalidEventError": 1,
    "ConfigurationError": 1,
    "Lambda.AWSLambdaException": 1,
    "Lambda.ResourceNotFoundException": 1,
    "Runtime.ImportModuleError": 1,
    "Runtime.HandlerNotFound": 1,
    "ThrottlingException": 7,
    "ThrottledException": 7,
    "ProvisionedThroughputExceededException": 7,
    "RequestLimitExceeded": 7,
    "Lambda.TooManyRequestsException": 21,
    "Lambda.ClientExecutionTimeoutException": 7,
    "Lambda.ServiceException": 7,
    "Lambda.SdkClientException": 7,
    "States.Timeout": 2,
    "Lambda.Unknown": 2,
    "Sandbox.Timedout": 2,
    "Runtime.ExitError": 2,
    "Runtime.OutOfMemory": 2,
    "AccessDeniedException": 4,
    "InternalServerError": 4,
    "ClientError": 4,
}
TASKS = ("ConvertImage", "ProcessImage", "SendNotification")


def _cases() -> dict[str, dict[str, str]]:
    cases = {
        **{name: {"ProcessImage": name, "SendNotification": "Sent"} for name in IMAGES},
        "Converted": {"ProcessImage": "Unread", "ConvertImage": "Due", "SendNotification": "Sent"},
        "ConvertedDuplicate": {"ProcessImage": "Unread", "ConvertImage": "Duplicate"},
        "NotParked": {"ProcessImage": "Fails-InvalidEventError", "Park": "Fails-QueueRefuses"},
    }
    for error in ATTEMPTS:
        cases[f"ConvertImage-{error}"] = {"ProcessImage": "Unread", "ConvertImage": f"Fails-{error}"}
        cases[f"ProcessImage-{error}"] = {"ProcessImage": f"Fails-{error}"}
        cases[f"SendNotification-{error}"] = {"ProcessImage": "Due", "SendNotification": f"Fails-{error}"}
    return cases


def _mock_configuration() -> dict[str, Any]:
    responses: dict[str, Any] = {
        **{name: {"0": {"Return": {"StatusCode": 200, "Payload": image}}} for name, image in IMAGES.items()},
        "Unread": {"0": {"Return": {"StatusCode": 200, "Payload": UNREAD}}},
        "Sent": {"0": {"Return": {"StatusCode": 200, "Payload": {"message_id": "m1"}}}},
    }
    for error in (*ATTEMPTS, "QueueRefuses"):
        responses[f"Fails-{error}"] = {"0": {"Throw": {"Error": error, "Cause": f"the cause of {error}"}}}
    return {"StateMachines": {NAME: {"TestCases": _cases()}}, "MockedResponses": responses}


class Workflow:
    """The state machine on a separate local cloud, with a real dead-letter queue."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._states, self._sqs = client(cloud, "stepfunctions"), client(cloud, "sqs")
        self.queue = self._sqs.create_queue(QueueName="dead-letter")["QueueUrl"]
        functions = f"arn:aws:lambda:{REGION}:000000000000:function"
        definition = json.dumps(
            pipeline(
                convert_image_arn=f"{functions}:convert-image:live",
                dead_letter_queue_url=self.queue,
                partition="aws",
                process_image_arn=f"{functions}:process-image:live",
                send_notification_arn=f"{functions}:send-notification:live",
            )
        )
        role = make_role(cloud, NAME, "states")
        self.arn = self._states.create_state_machine(name=NAME, definition=definition, roleArn=role)[
            "stateMachineArn"
        ]

    def start(self, case: str, given: Any = EVENT) -> str:
        answer = self._states.start_execution(stateMachineArn=f"{self.arn}#{case}", input=json.dumps(given))
        return str(answer["executionArn"])

    def finished(self, execution: str) -> dict[str, Any]:
        return finished(self._states, execution)

    def attempts(self, execution: str, state: str) -> int:
        return attempts(self._states, execution, state)

    def entered(self, execution: str) -> list[str]:
        """The states an execution went through."""
        events = history(self._states, execution)
        return [state for state, event in events if "stateEnteredEventDetails" in event]

    def parked(self) -> list[dict[str, Any]]:
        """The messages of the dead-letter queue, taken out of it."""
        found: list[dict[str, Any]] = []
        while messages := self._sqs.receive_message(
            QueueUrl=self.queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            found += messages
        return found


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workflow]:
    folder = tmp_path_factory.mktemp("workflow")
    mocks = folder / "mocks.json"
    mocks.write_text(json.dumps(_mock_configuration()), "utf-8")
    settings = {"SFN_MOCK_CONFIG": str(mocks), "SFN_WAIT_SCALE": "0"}
    with LocalCloud.start(folder / "localcloud", extra_environment=settings) as cloud:
        yield Workflow(cloud)


@pytest.fixture(autouse=True)
def empty_queue(workflow: Workflow) -> None:
    workflow.parked()


def attributes(message: dict[str, Any]) -> dict[str, str]:
    return {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}


def test_an_image_is_recorded_then_notified(workflow: Workflow) -> None:
    execution = workflow.start("Due")
    answer = workflow.finished(execution)
    assert answer["status"] == "SUCCEEDED"
    assert json.loads(answer["output"]) == {"message_id": "m1"}
    assert workflow.entered(execution) == [
        "ProcessImage",
        "IsNotificationDue",
        "SendNotification",
    ]


def test_what_rekognition_does_not_take_is_converted_before_it_is_notified(workflow: Workflow) -> None:
    execution = workflow.start("Converted")
    assert workflow.finished(execution)["status"] == "SUCCEEDED"
    assert workflow.entered(execution) == [
        *("ProcessImage", "IsNotificationDue", "ConvertImage", "IsNotificationDue", "SendNotification")
    ]
    duplicate = workflow.start("ConvertedDuplicate")
    assert workflow.finished(duplicate)["status"] == "SUCCEEDED"
    assert workflow.entered(duplicate)[-1] == "NotDue"


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.proves("folder-marker")
def test_people_are_notified_when_a_notification_is_due(workflow: Workflow, case: str) -> None:
    execution = workflow.start(case)
    assert workflow.finished(execution)["status"] == "SUCCEEDED"
    assert workflow.entered(execution)[-1] == ("SendNotification" if case in NOTIFIED else "NotDue")
    assert workflow.parked() == []


@pytest.mark.parametrize("error", ATTEMPTS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.proves("out-of-time", "invoke-refused")
def test_an_error_is_tried_as_often_as_it_deserves_then_parked(
    workflow: Workflow, task: str, error: str
) -> None:
    execution = workflow.start(f"{task}-{error}")
    answer = workflow.finished(execution)
    assert workflow.attempts(execution, task) == ATTEMPTS[error]
    assert (answer["status"], answer["error"]) == ("FAILED", error)
    assert workflow.entered(execution)[-2:] == ["Park", "Parked"]
    (message,) = workflow.parked()
    assert json.loads(message["Body"]) == EVENT
    assert attributes(message) == {
        "ERROR_CODE": error,
        "ERROR_MESSAGE": f"the cause of {error}",
        "EXECUTION_ID": execution,
        "REDRIVEN_FROM": json.dumps([execution], separators=(",", ":")),
    }


def test_the_chain_of_executions_grows_and_stays_out_of_the_body(workflow: Workflow) -> None:
    for chain in (["first"], ["first", "second"]):
        execution = workflow.start(
            "ProcessImage-InvalidEventError", {**EVENT, "notify": False, "redriven_from": chain}
        )
        workflow.finished(execution)
        (message,) = workflow.parked()
        assert json.loads(message["Body"]) == {**EVENT, "notify": False}
        assert json.loads(attributes(message)["REDRIVEN_FROM"]) == [*chain, execution]


@pytest.mark.parametrize(
    "given",
    [{}, {"detail": {}}, {"detail": "text"}, {"detail": {"object": {"key": 7}}}, {"detail": {"object": []}}],
    ids=json.dumps,
)
@pytest.mark.proves("not-an-event")
def test_an_input_that_is_not_an_event_is_parked_too(workflow: Workflow, given: object) -> None:
    execution = workflow.start("ProcessImage-InvalidEventError", given)
    assert workflow.finished(execution)["status"] == "FAILED"
    (message,) = workflow.parked()
    assert json.loads(message["Body"]) == given


def test_an_event_that_cannot_be_parked_is_tried_patiently_and_says_so(workflow: Workflow) -> None:
    execution = workflow.start("NotParked")
    answer = workflow.finished(execution)
    assert workflow.attempts(execution, "Park") == 7
    assert (answer["status"], answer["error"]) == ("FAILED", "NotParked")
    assert "QueueRefuses" in answer["cause"]
    assert "InvalidEventError" in answer["cause"]
    assert json.loads(answer["input"]) == EVENT


def test_every_error_a_retrier_names_is_tried_here() -> None:
    named = {error for retrier in retriers() for error in retrier["ErrorEquals"]}
    assert named - {"States.ALL"} <= ATTEMPTS.keys()


def test_waits_are_spread_out() -> None:
    states = pipeline()["States"]
    for name in (*TASKS, "Park"):
        for retrier in states[name]["Retry"]:
            if retrier["MaxAttempts"] > 0:
                assert (retrier["JitterStrategy"], retrier["BackoffRate"]) == ("FULL", 2)
