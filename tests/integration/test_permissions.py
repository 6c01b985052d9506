"""Every grant of every role is taken away once, and something breaks; what is not granted is denied.

The local cloud asks IAM for every call a function makes, so those removals are run. For what Step Functions,
EventBridge, Lambda, SNS and SQS do with a role themselves it does not ask: there, the calls the deployed
configuration leads to are worked out from that configuration, not from the policy, and IAM's simulation
says whether the role may make them.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import time
import uuid
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hcl2
import pytest
from botocore.exceptions import ClientError

from operations.program import ROOT
from tests.documents import permissions
from tests.documents.permissions import Role, listed
from tests.documents.proofs import ELSEWHERE, PROOFS
from tests.integration.pipeline import DeployedPipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.stack import Stack
    from operations.dead_letters import ParkedEvent

# What AWS lists for a workflow's logging and tracing.
# https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
LOG_DELIVERY = (
    *("CreateLogDelivery", "DeleteLogDelivery", "DescribeLogGroups", "DescribeResourcePolicies"),
    *("GetLogDelivery", "ListLogDeliveries", "PutResourcePolicy", "UpdateLogDelivery"),
)
# https://docs.aws.amazon.com/step-functions/latest/dg/xray-iam.html
TRACING = ("GetSamplingRules", "GetSamplingTargets", "PutTelemetryRecords", "PutTraceSegments")

# The rule Step Functions makes to hear of the end of executions another one waits for.
# https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html
NESTED_RULE = "StepFunctionsGetEventsForStepFunctionsExecutionRule"

PHOTO = (ROOT / "samples" / "two-portraits.jpg").read_bytes()

# What a function reports when the action is missing. Rekognition has one error for all it cannot read.
ERRORS = {
    "dynamodb:GetItem": r"GetItem operation.*dynamodb:GetItem",
    "dynamodb:PutItem": r"PutItem operation.*dynamodb:PutItem",
    "dynamodb:UpdateItem": r"UpdateItem operation.*dynamodb:UpdateItem",
    "kms:Decrypt": r"InvalidS3ObjectException",
    "rekognition:DetectFaces": r"DetectFaces operation.*rekognition:DetectFaces",
    "s3:GetObject": r"InvalidS3ObjectException|(Head|Get)Object operation",
    "s3:GetObjectVersion": r"InvalidS3ObjectException|(Head|Get)Object operation",
    "sns:Publish": r"Publish operation.*sns:Publish",
}

END_TO_END = [
    (role, action)
    for role in PROOFS
    for action in PROOFS[role]
    if PROOFS[role][action].method == "end to end"
]
SIMULATED = [
    (role, action)
    for role in PROOFS
    for action in PROOFS[role]
    if PROOFS[role][action].method == "simulated" and (role, action) not in ELSEWHERE
]


@pytest.fixture(scope="module")
def roles(stack: Stack) -> dict[str, Role]:
    return {role.key: role for role in permissions.deployed(stack.client, stack.outputs)}


@contextlib.contextmanager
def without(stack: Stack, role: Role, action: str, resource: str | None = None) -> Iterator[None]:
    """Take an action (on one resource) from a role; give it back in the end."""
    iam = stack.client("iam")
    changed = {
        name: [part for one in listed(policy["Statement"]) for part in _cut(one, action, resource)]
        for name, policy in role.policies.items()
    }
    assert action in role.grants, f"{role.key} has no {action} to take away"
    try:
        for name, statements in changed.items():
            if statements:
                policy = {"Version": "2012-10-17", "Statement": statements}
                iam.put_role_policy(RoleName=role.name, PolicyName=name, PolicyDocument=json.dumps(policy))
            else:
                iam.delete_role_policy(RoleName=role.name, PolicyName=name)
        yield
    finally:
        for name, original in role.policies.items():
            iam.put_role_policy(RoleName=role.name, PolicyName=name, PolicyDocument=json.dumps(original))


def _cut(statement: dict[str, Any], action: str, resource: str | None) -> Iterator[dict[str, Any]]:
    actions, resources = listed(statement["Action"]), listed(statement["Resource"])
    kept = [one for one in actions if one != action]
    left = [] if resource is None else [one for one in resources if one != resource]
    for some, on in ((kept, resources), ([action] if action in actions else [], left)):
        if some and on:
            # Without the name, which must be unique in a policy.
            yield {"Effect": statement["Effect"], "Action": some, "Resource": on}


@dataclass(frozen=True)
class Response:
    """A function's response: its result, or the error it ended with."""

    result: Any
    error: str | None


def invoke(stack: Stack, function: str, payload: dict[str, Any]) -> Response:
    answer = stack.client("lambda").invoke(
        FunctionName=stack.outputs["function_names"][function], Qualifier="live", Payload=json.dumps(payload)
    )
    result = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        return Response(None, f"{result.get('errorType')}: {result.get('errorMessage')}")
    return Response(result, None)


def process(stack: Stack, function: str = "process_image", *, version: bool = True) -> Response:
    """Upload a photo under a new key and have a function process it (without the workflow's retries)."""
    key = f"permissions/{uuid.uuid4().hex}.jpg"
    stored: dict[str, Any] = {"etag": uuid.uuid4().hex, "size": len(PHOTO)}
    with DeployedPipeline(stack).paused():
        put = stack.client("s3").put_object(Bucket=stack.bucket, Key=key, Body=PHOTO)
        if version:
            stored["version-id"] = put["VersionId"]
        event = {"detail": {"bucket": {"name": stack.bucket}, "object": {"key": key, **stored}}}
        return invoke(stack, function, {"event": event, "execution_id": f"test-{uuid.uuid4().hex}"})


def use(stack: Stack, role: str, action: str) -> Response:
    """Make the function need the action."""
    if role == "send-notification":
        result = {
            "duplicate": False,
            "image_id": "a@b",
            "bucket": stack.bucket,
            "key": "a",
            "outcome": "no_face",
            "face_count": 0,
            "timestamp": "2026-01-01T00:00:00Z",
        }
        # A retry looks for the mark before it publishes.
        again = {"execution_id": "a", "retry_count": 1} if action == "dynamodb:UpdateItem" else {}
        return invoke(stack, "send_notification", {**result, **again})
    return process(stack, role.replace("-", "_"), version=action != "s3:GetObject")


def test_every_role_and_every_action_has_a_proof(roles: dict[str, Role]) -> None:
    granted = {(key, action) for key, role in roles.items() for action in role.grants}
    proven = {(key, action) for key, proofs in PROOFS.items() for action in proofs}
    assert granted == proven - ELSEWHERE
    assert not [action for _, action in granted if "*" in action]


def test_these_are_all_the_roles_there_are(stack: Stack, roles: dict[str, Role]) -> None:
    there = {role["RoleName"] for role in stack.client("iam").list_roles()["Roles"]}
    assert there == {role.name for role in roles.values()}


@pytest.mark.parametrize(("role", "action"), END_TO_END)
def test_the_function_fails_without(role: str, action: str, stack: Stack, roles: dict[str, Role]) -> None:
    before = use(stack, role, action)
    assert before.error is None
    with without(stack, roles[role], action):
        during = use(stack, role, action)
    assert during.error is not None, f"{action} is granted and not needed"
    assert re.search(ERRORS[action], during.error, re.DOTALL), during.error
    assert use(stack, role, action).error is None, "the grant was not given back"


def calls(stack: Stack) -> dict[str, set[tuple[str, str]]]:
    """What each role is used for by the services themselves: (action, resource) by role.

    Worked out from the deployed configuration; which actions a feature takes is AWS's documentation, on the
    page the proof of each action names.
    """
    found: dict[str, set[tuple[str, str]]] = {}
    workflows = stack.client("stepfunctions")
    for one in workflows.list_state_machines()["stateMachines"]:
        workflow = workflows.describe_state_machine(stateMachineArn=one["stateMachineArn"])
        found.setdefault(_key(stack, workflow["roleArn"]), set()).update(_workflow_calls(stack, workflow))
    for name in stack.outputs["function_names"].values():
        settings = stack.client("lambda").get_function_configuration(FunctionName=name)
        found.setdefault(_key(stack, settings["Role"]), set()).update(_function_calls(stack, settings))
    events = stack.client("events")
    for rule in events.list_rules()["Rules"]:
        for target in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]:
            if "RoleArn" in target:
                start = ("states:StartExecution", target["Arn"])
                found.setdefault(_key(stack, target["RoleArn"]), set()).add(start)
    return found


def _key(stack: Stack, role_arn: str) -> str:
    return role_arn.rsplit("/", 1)[1].removeprefix(f"{permissions.stack_name(stack.outputs)}-")


def _function_calls(stack: Stack, settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    region, account = settings["FunctionArn"].split(":")[3:5]
    stream = f"arn:aws:logs:{region}:{account}:log-group:{settings['LoggingConfig']['LogGroup']}:log-stream:1"
    yield "logs:CreateLogStream", stream
    yield "logs:PutLogEvents", stream
    if settings["TracingConfig"]["Mode"] == "Active":
        yield "xray:PutTelemetryRecords", "*"
        yield "xray:PutTraceSegments", "*"
    if "FACE_ATTRIBUTES" in settings["Environment"]["Variables"]:
        # process_image calls S3 to learn whether a photo it may not read is gone; S3 answers only callers
        # that may list.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        yield "s3:ListBucket", f"arn:aws:s3:::{stack.bucket}"
    if "CONVERT_FORMATS" in settings["Environment"]["Variables"]:
        # It reads photos itself, and S3 decrypts them on its behalf.
        yield "kms:Decrypt", stack.outputs["key_arn"]
    if "QUEUE_URL" in settings["Environment"]["Variables"]:
        yield from _buffer_calls(stack, settings["Environment"]["Variables"])
    if topic := settings["Environment"]["Variables"].get("RESULTS_TOPIC_ARN"):
        attributes = stack.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
        yield from _encrypting(attributes["KmsMasterKeyId"])


def _buffer_calls(stack: Stack, variables: dict[str, str]) -> Iterator[tuple[str, str]]:
    yield "states:StartExecution", variables["STATE_MACHINE_ARN"]
    queue = _queue(stack, variables["QUEUE_URL"])
    for action in ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "ReceiveMessage"):
        yield f"sqs:{action}", queue["QueueArn"]
    dead_letters = _queue(stack, variables["DEAD_LETTER_QUEUE_URL"])
    yield "sqs:SendMessage", dead_letters["QueueArn"]
    yield from _encrypting(dead_letters["KmsMasterKeyId"])


def _queue(stack: Stack, url: str) -> dict[str, str]:
    found: dict[str, str] = stack.client("sqs").get_queue_attributes(
        QueueUrl=url, AttributeNames=["QueueArn", "KmsMasterKeyId"]
    )["Attributes"]
    return found


def _workflow_calls(stack: Stack, workflow: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _state_calls(stack, workflow["stateMachineArn"], json.loads(workflow["definition"])["States"])
    if workflow["loggingConfiguration"]["level"] != "OFF":
        yield from ((f"logs:{action}", "*") for action in LOG_DELIVERY)
    if _traced(workflow["name"]):
        yield from ((f"xray:{action}", "*") for action in TRACING)


def _state_calls(stack: Stack, machine: str, states: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for state in states.values():
        integration = state.get("Resource", "").rpartition(":::")[2]
        if state["Type"] == "Map":
            assert "ItemReader" not in state, "a reader needs grants of its own"
            yield from _executing(machine)
            # Its own parts are stopped with it; what they started ends by itself.
            yield "states:StopExecution", _execution(machine)
            yield from _state_calls(stack, machine, state["ItemProcessor"]["States"])
        elif integration == "lambda:invoke":
            yield "lambda:InvokeFunction", state["Arguments"]["FunctionName"]
        elif integration == "sqs:sendMessage":
            queue = _queue(stack, state["Arguments"]["QueueUrl"])
            yield "sqs:SendMessage", queue["QueueArn"]
            yield from _encrypting(queue["KmsMasterKeyId"])
        elif integration == "states:startExecution.sync:2":
            started = state["Arguments"]["StateMachineArn"]
            yield from _executing(started)
            where = started.partition(":stateMachine:")[0].replace(":states:", ":events:")
            rule = f"{where}:rule/{NESTED_RULE}"
            yield from ((f"events:{action}", rule) for action in ("DescribeRule", "PutRule", "PutTargets"))
        else:
            assert not integration, f"what {integration} needs is not known here"


def _executing(machine: str) -> Iterator[tuple[str, str]]:
    yield "states:StartExecution", machine
    yield "states:DescribeExecution", _execution(machine)


def _execution(machine: str) -> str:
    return f"{machine.replace(':stateMachine:', ':execution:')}:{uuid.uuid4()}"


def _encrypting(key_arn: str) -> Iterator[tuple[str, str]]:
    yield "kms:Decrypt", key_arn
    yield "kms:GenerateDataKey", key_arn


def _traced(name: str) -> bool:
    # MiniStack does not give a state machine's tracing back, so Terraform's configuration is asked.
    for path in (ROOT / "modules" / "orchestration").glob("*.tf"):
        for resource in hcl2.loads(path.read_text("utf-8")).get("resource", []):
            for label, machine in resource.get('"aws_sfn_state_machine"', {}).items():
                if f"-{label.strip(chr(34)).removesuffix('s')}" in name:
                    return machine["tracing_configuration"][0]["enabled"] is True
    raise AssertionError(f"no file in modules/orchestration holds {name}")


@pytest.fixture(scope="module")
def used(stack: Stack) -> dict[str, set[tuple[str, str]]]:
    return calls(stack)


def allowed(stack: Stack, role: Role, action: str, resource: str) -> bool:
    [answer] = stack.client("iam").simulate_principal_policy(
        PolicySourceArn=role.arn, ActionNames=[action], ResourceArns=[resource]
    )["EvaluationResults"]
    return bool(answer["EvalDecision"] == "allowed")


def test_what_the_services_do_with_the_roles_is_allowed(
    stack: Stack, roles: dict[str, Role], used: dict[str, set[tuple[str, str]]]
) -> None:
    refused = [
        (key, action, resource)
        for key, needed in used.items()
        for action, resource in sorted(needed)
        if not allowed(stack, roles[key], action, resource)
    ]
    assert refused == []


@pytest.mark.parametrize(("role", "action"), SIMULATED)
def test_a_service_is_refused_without(
    role: str, action: str, stack: Stack, roles: dict[str, Role], used: dict[str, set[tuple[str, str]]]
) -> None:
    needed = [resource for one, resource in used[role] if one == action]
    assert needed, f"{action} is granted, and nothing that is deployed leads to it"
    for granted in roles[role].grants[action]:
        with without(stack, roles[role], action, granted):
            refused = [resource for resource in needed if not allowed(stack, roles[role], action, resource)]
        assert refused, f"{action} on {granted} is granted and not needed"
    assert all(allowed(stack, roles[role], action, resource) for resource in needed)


def test_an_upload_is_parked_when_the_function_lost_a_grant(stack: Stack, roles: dict[str, Role]) -> None:
    key = f"permissions/{uuid.uuid4().hex}.jpg"
    with without(stack, roles["process-image"], "dynamodb:PutItem"):
        image_id = stack.upload(key, PHOTO)
        deadline = time.monotonic() + 45
        messages: list[ParkedEvent] = []
        while not messages and time.monotonic() < deadline:
            time.sleep(0.2)
            messages = [one for one in stack.dead_letters() if one.key() == key]
    [message] = messages
    assert "dynamodb:PutItem" in message.cause
    assert stack.record(image_id) is None
    _delete(stack, message.message_id)


def _delete(stack: Stack, message_id: str) -> None:
    sqs, url = stack.client("sqs"), stack.outputs["dead_letter_queue_url"]
    for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=1).get(
        "Messages", []
    ):
        if message["MessageId"] == message_id:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


# Actions close to what the functions do, none of which they are granted.
PROBE = """
import boto3
from botocore.exceptions import ClientError

def attempt(call):
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "done"

def handler(event, context):
    table, bucket, topic, key = event["table"], event["bucket"], event["topic"], {"ImageID": {"S": "nobody"}}
    dynamodb, s3, sns = boto3.client("dynamodb"), boto3.client("s3"), boto3.client("sns")
    return {
        "dynamodb:GetItem": attempt(lambda: dynamodb.get_item(TableName=table, Key=key)),
        "dynamodb:DeleteItem": attempt(lambda: dynamodb.delete_item(TableName=table, Key=key)),
        "dynamodb:Scan": attempt(lambda: dynamodb.scan(TableName=table)),
        "dynamodb:Query": attempt(lambda: dynamodb.query(
            TableName=table, IndexName="ByKey", KeyConditionExpression="#k = :k",
            ExpressionAttributeNames={"#k": "Key"}, ExpressionAttributeValues={":k": {"S": "a"}})),
        "s3:PutObject": attempt(lambda: s3.put_object(Bucket=bucket, Key="a", Body=b"")),
        "s3:DeleteObject": attempt(lambda: s3.delete_object(Bucket=bucket, Key="a")),
        "s3:ListAllMyBuckets": attempt(s3.list_buckets),
        "sns:Publish": attempt(lambda: sns.publish(TopicArn=topic, Message="a")),
        "sqs:ListQueues": attempt(boto3.client("sqs").list_queues),
        "iam:ListRoles": attempt(boto3.client("iam").list_roles),
    }
"""


def test_what_is_not_granted_is_denied(stack: Stack, roles: dict[str, Role]) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("probe.py", PROBE)
    functions, name = stack.client("lambda"), f"probe-{uuid.uuid4().hex}"
    functions.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=roles["process-image"].arn,
        Handler="probe.handler",
        Code={"ZipFile": archive.getvalue()},
        Timeout=30,
    )
    try:
        payload = {
            "table": stack.outputs["results_table_name"],
            "bucket": stack.bucket,
            "topic": stack.outputs["results_topic_arn"],
        }
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(payload))
        attempts = json.loads(answer["Payload"].read())
    finally:
        functions.delete_function(FunctionName=name)
        with contextlib.suppress(ClientError):
            stack.client("logs").delete_log_group(logGroupName=f"/aws/lambda/{name}")
    assert attempts.pop("dynamodb:GetItem") == "done"
    granted_too_much = {
        action: code
        for action, code in attempts.items()
        if "AccessDenied" not in code and "AuthorizationError" not in code
    }
    assert granted_too_much == {}


def test_each_star_is_one_aws_forces(roles: dict[str, Role]) -> None:
    stars = {
        key: sorted({action.partition(":")[0] for action, on in role.grants.items() if "*" in on})
        for key, role in roles.items()
    }
    assert stars == {
        "convert-image": ["rekognition", "xray"],
        "process-image": ["rekognition", "xray"],
        "send-notification": ["xray"],
        "start-workflow": ["xray"],
        "pipeline": ["logs", "xray"],
        "backfill": ["logs", "xray"],
        "rule": [],
    }
    # Nothing narrower next to a star: it would hide that the star is not needed.
    assert not [
        action for role in roles.values() for action, on in role.grants.items() if "*" in on and len(on) > 1
    ]


@pytest.mark.parametrize(
    ("role", "service", "conditions"),
    [
        ("convert-image", "lambda.amazonaws.com", {"aws:SourceAccount"}),
        ("process-image", "lambda.amazonaws.com", {"aws:SourceAccount"}),
        ("send-notification", "lambda.amazonaws.com", {"aws:SourceAccount"}),
        ("start-workflow", "lambda.amazonaws.com", {"aws:SourceAccount"}),
        ("pipeline", "states.amazonaws.com", {"aws:SourceAccount", "aws:SourceArn"}),
        ("backfill", "states.amazonaws.com", {"aws:SourceAccount", "aws:SourceArn"}),
        ("rule", "events.amazonaws.com", {"aws:SourceAccount", "aws:SourceArn"}),
    ],
)
def test_only_this_accounts_service_may_take_the_role(
    role: str, service: str, conditions: set[str], roles: dict[str, Role]
) -> None:
    [statement] = listed(roles[role].trust["Statement"])
    assert statement["Principal"] == {"Service": service}
    assert listed(statement["Action"]) == ["sts:AssumeRole"]
    assert {key for test in statement["Condition"].values() for key in test} == conditions
    account = roles[role].arn.split(":")[4]
    assert statement["Condition"]["StringEquals"]["aws:SourceAccount"] == account


def test_the_documents_table_is_what_is_deployed(stack: Stack) -> None:
    section = permissions.section(stack.client, stack.outputs)
    assert section.path.read_text("utf-8") == section.expected(), "run 'make permissions'"
