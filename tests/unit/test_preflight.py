"""What an account lacks is found before an apply, from answers that fit botocore's models."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from operations import preflight, preflight_checks
from operations.environments import Environment
from operations.errors import UserError
from tests.documents import grants

BACKEND = {"bucket": "state", "key": "dev.tfstate", "region": "us-east-1"}
SERVICES = {"service-quotas": "servicequotas", "stepfunctions": "states"}
# Where an action is not called as the operation is.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
ACTIONS = {
    "s3:GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:HeadBucket": "s3:ListBucket",
}
QUOTA = {"QuotaCode": "L-1", "ServiceCode": "rekognition"}
DETECT_FACES = "Transactions per second per account for the Amazon Rekognition Image DetectFaces operation"


class FakeAws:
    """Clients of an account whose responses a test sets, in the order of the calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.environment = Environment("dev", {"aws_region": "us-east-1", **settings}, BACKEND)
        self._clients: dict[str, tuple[Any, Stubber]] = {}
        self._used: set[str] = set()
        self.outputs: dict[str, Any] = {}
        monkeypatch.setattr(Environment, "client", lambda _self, service, _region=None: self[service][0])
        monkeypatch.setattr("operations.state.outputs", lambda _environment: self.outputs)

    def __getitem__(self, service: str) -> tuple[Any, Stubber]:
        if service not in self._clients:
            client = boto3.client(  # type: ignore[call-overload]
                service, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
            )
            client.meta.events.register_first("before-call.*.*", self._note)
            stubber = Stubber(client)
            stubber.activate()
            self._clients[service] = (client, stubber)
        return self._clients[service]

    def _note(self, model: Any, **_: Any) -> None:
        action = (
            f"{SERVICES.get(model.service_model.service_name, model.service_model.service_name)}:{model.name}"
        )
        self._used.add(ACTIONS.get(action, action))

    def answers(self, service: str, call: str, answer: dict[str, Any]) -> None:
        self[service][1].add_response(call, answer)

    def refuses(self, service: str, call: str, code: str = "AccessDeniedException") -> None:
        self[service][1].add_client_error(call, code, "no")

    def looks(self, about: str) -> list[tuple[str, str]]:
        [(_, action, look)] = [one for one in preflight_checks.CHECKS if one[0] == about]
        found = preflight._result(self.environment, action, look)
        # Which needs no grant.
        assert self._used - {"sts:GetCallerIdentity"} <= {action, *grants.ALSO.get(about, ())}
        return [found] if found else []


def limits(concurrency: int, unreserved: int) -> dict[str, Any]:
    allowed = {"ConcurrentExecutions": concurrency, "UnreservedConcurrentExecutions": unreserved}
    return {"AccountLimit": allowed, "AccountUsage": {}}


def test_a_new_account_that_refuses_a_reservation_fails_with_the_command_that_raises_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws = FakeAws(monkeypatch, process_image={"reserved_concurrency": 50})
    aws.answers("lambda", "get_account_settings", limits(10, 10))
    [(outcome, text)] = aws.looks("Lambda concurrency")
    assert outcome == "fails"
    assert text.startswith("the account allows 10, and process_image 50 are to be reserved; raise it with")
    assert "--quota-code L-B99A9384" in text


def test_what_the_stack_already_reserves_is_not_requested_again(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = FakeAws(monkeypatch, process_image={"reserved_concurrency": 500})
    aws.outputs = {"function_names": {"process_image": "stack-process-image"}}
    aws.answers("lambda", "get_account_settings", limits(1000, 500))
    aws.answers("lambda", "get_function_concurrency", {"ReservedConcurrentExecutions": 500})
    assert aws.looks("Lambda concurrency") == [("ok", "500 of 1000 left for other functions")]


@pytest.mark.parametrize(
    ("about", "service", "call", "action"),
    [
        ("Lambda concurrency", "lambda", "get_account_settings", "lambda:GetAccountSettings"),
        ("Rekognition quota", "service-quotas", "list_service_quotas", "servicequotas:ListServiceQuotas"),
        ("AI opt-out", "organizations", "describe_effective_policy", "organizations:DescribeEffectivePolicy"),
        ("SMS", "sns", "get_sms_sandbox_account_status", "sns:GetSMSSandboxAccountStatus"),
    ],
)
def test_what_may_not_be_read_is_not_checked_and_never_ok(
    about: str, service: str, call: str, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = FakeAws(monkeypatch, subscriptions={"me": {"protocol": "sms", "endpoint": "+4915112345678"}})
    aws.refuses(service, call)
    assert aws.looks(about) == [("not checked", f"needs {action}")]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("AccessDenied", ("not checked", "needs s3:GetBucketVersioning; GetPublicAccessBlock is refused")),
        ("NoSuchPublicAccessBlockConfiguration", ("warning", "state lacks a public access block")),
    ],
)
def test_a_protection_that_may_not_be_looked_at_is_not_called_missing(
    code: str, found: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = FakeAws(monkeypatch)
    aws.answers("sts", "get_caller_identity", {"Account": "111122223333"})
    aws.answers("s3", "head_bucket", {})
    aws.answers("s3", "get_bucket_versioning", {"Status": "Enabled"})
    aws.refuses("s3", "get_public_access_block", code)
    aws.answers("s3", "get_bucket_policy", {"Policy": "aws:SecureTransport"})
    assert aws.looks("state bucket") == [found]


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({"process_image": {"reserved_concurrency": 50}}, "warning"),
        ({"process_image": {"reserved_concurrency": 5}}, "ok"),
        ({"ingestion": {"mode": "buffered", "photos_per_second": 6}}, "warning"),
        ({"ingestion": {"mode": "buffered", "photos_per_second": 4}}, "ok"),
        ({"ingestion": {"mode": "buffered", "photos_per_second": None}}, "warning"),
        ({"ingestion": {"mode": "buffered"}, "process_image": {"reserved_concurrency": 5}}, "ok"),
        ({}, "warning"),
    ],
)
def test_the_pace_is_held_against_what_rekognition_allows(
    settings: dict[str, Any], outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = FakeAws(monkeypatch, **settings)
    aws.answers(
        "service-quotas",
        "list_service_quotas",
        {"Quotas": [{**QUOTA, "QuotaName": DETECT_FACES, "Value": 5.0}]},
    )
    assert [found for found, _ in aws.looks("Rekognition quota")] == [outcome]


@pytest.mark.parametrize(("region", "outcome"), [("us-east-1", "ok"), ("eu-north-1", "warning")])
def test_a_region_without_rekognition_is_warned_of(
    region: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = FakeAws(monkeypatch, aws_region=region)
    assert [found for found, _ in aws.looks("region")] == [outcome]


def test_a_number_outside_the_sms_sandbox_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {"a": "+4915112345678", "b": "+4915187654321"}
    aws = FakeAws(
        monkeypatch,
        subscriptions={name: {"protocol": "sms", "endpoint": number} for name, number in numbers.items()},
    )
    aws.answers("sns", "get_sms_sandbox_account_status", {"IsInSandbox": True})
    verified = [{"PhoneNumber": numbers["a"], "Status": "Verified"}]
    aws.answers("sns", "list_sms_sandbox_phone_numbers", {"PhoneNumbers": verified})
    [(outcome, text)] = aws.looks("SMS")
    assert outcome == "warning"
    assert numbers["b"] in text
    assert numbers["a"] not in text


def test_unconfirmed_subscriptions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = FakeAws(monkeypatch)
    aws.outputs = {"results_topic_arn": "arn:aws:sns:us-east-1:111122223333:results"}
    one = {"SubscriptionArn": "PendingConfirmation", "Endpoint": "you@example.com", "Protocol": "email"}
    aws.answers("sns", "list_subscriptions_by_topic", {"Subscriptions": [one]})
    [(outcome, text)] = aws.looks("subscriptions")
    assert (outcome, text[:33]) == ("warning", "never confirmed: you@example.com;")


def test_notifications_an_apply_would_remove_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = FakeAws(monkeypatch)
    aws.outputs = {"uploads_bucket_name": "photos"}
    topic = {"TopicArn": "arn:aws:sns:us-east-1:111122223333:other", "Events": ["s3:ObjectCreated:*"]}
    aws.answers(
        "s3", "get_bucket_notification_configuration",
        {"TopicConfigurations": [topic], "EventBridgeConfiguration": {}},
    )  # fmt: skip
    [(outcome, text)] = aws.looks("bucket notifications")
    assert (outcome, "TopicConfigurations" in text) == ("warning", True)


@pytest.mark.parametrize("missing", [None, "events.amazonaws.com", "logs.us-east-1.amazonaws.com"])
def test_a_key_of_ones_own_must_serve_the_services(
    missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = "arn:aws:kms:us-east-1:111122223333:key/one"
    aws = FakeAws(monkeypatch, kms_key_arn=arn)
    aws.answers("kms", "describe_key", {"KeyMetadata": {"KeyId": "one", "KeyState": "Enabled"}})
    statements = [
        {
            "Effect": "Allow",
            "Principal": {"Service": name.format(region="us-east-1")},
            "Action": sorted(actions),
        }
        for name, actions in preflight_checks._KEY_USERS.items()
        if name.format(region="us-east-1") != missing
    ]
    aws.answers("kms", "get_key_policy", {"Policy": json.dumps({"Statement": statements})})
    found = aws.looks("encryption key")
    assert [outcome for outcome, _ in found] == (["fails"] if missing else ["ok"])
    assert missing is None or missing in found[0][1]


def test_executions_in_flight_are_counted_before_the_type_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    arn = "arn:aws:states:us-east-1:111122223333:stateMachine:stack-pipeline-standard"
    aws = FakeAws(monkeypatch, workflow_type="EXPRESS")
    aws.outputs = {"state_machine_arns": {"STANDARD": arn, "EXPRESS": arn.replace("standard", "express")}}
    execution = {"executionArn": arn, "stateMachineArn": arn, "name": "a", "status": "RUNNING"}
    execution |= {"startDate": 0}  # type: ignore[dict-item]
    aws.answers("stepfunctions", "list_executions", {"executions": [execution, execution]})
    [(outcome, text)] = aws.looks("workflow")
    assert (outcome, text[:24]) == ("ok", "2 executions in flight i")


def test_a_warning_does_not_stop_an_apply_and_a_failure_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [preflight.Line("warning", "SMS", "slow")]
    monkeypatch.setattr(preflight, "check", lambda _environment: found)
    preflight.before(FakeAws(monkeypatch).environment, True)
    assert "warning: SMS: slow." in capsys.readouterr().err
    found.append(preflight.Line("fails", "Lambda concurrency", "none left"))
    with pytest.raises(UserError, match=r"An apply would fail\. Lambda concurrency: none left\."):
        preflight.before(FakeAws(monkeypatch).environment, True)
    preflight.before(FakeAws(monkeypatch).environment, False)


@pytest.mark.parametrize(
    ("name", "outcome", "text"),
    [
        ("local", "ok", "state is made with the first apply"),
        ("dev", "fails", "state does not exist; 'make bootstrap ENV=dev' makes it"),
    ],
)
def test_a_missing_state_bucket_stops_nobody_on_the_local_cloud(
    name: str, outcome: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = FakeAws(monkeypatch)
    aws.environment = Environment(name, {"aws_region": "us-east-1"}, BACKEND)
    monkeypatch.setattr(Environment, "account", lambda _: "111122223333")
    monkeypatch.setattr("operations.state.bucket_exists", lambda *_: False)
    assert aws.looks("state bucket") == [(outcome, text)]
