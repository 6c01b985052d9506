"""What the deployment's policies grant, walked from end to end in the JSON the provider renders."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from operations.program import ROOT
from tests.definition import longest_waits
from tests.policies import findings
from tests.terraform.workspace import ACCOUNT, Resource
from tools import asl, package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.terraform.workspace import Workspace

# Terraform takes minutes where the processors are busy with something else.
pytestmark = [pytest.mark.terraform, pytest.mark.timeout(600), pytest.mark.xdist_group("deployment")]

Statement = dict[str, Any]

# What AWS grants on "*" only.
# https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
LOG_DELIVERY = {
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
}
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonrekognition.html
ANALYSIS = {"rekognition:DetectFaces"}
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
TRACES = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}
# https://docs.aws.amazon.com/step-functions/latest/dg/xray-iam.html
SAMPLING = {"xray:GetSamplingRules", "xray:GetSamplingTargets"}


class Deployment:
    """The deployment's resources and the questions the tests ask about them."""

    def __init__(self, resources: list[Resource]) -> None:
        self.resources = resources

    def all(self, kind: str) -> list[Resource]:
        return [resource for resource in self.resources if resource.type == kind]

    def one(self, address: str) -> dict[str, Any]:
        return next(resource.values for resource in self.resources if resource.address == address)

    def policies(self) -> Iterator[tuple[str, str]]:
        """Yield every policy with its resource's address."""
        for resource in self.resources:
            if resource.type == "aws_iam_role":
                yield resource.address, resource.values["assume_role_policy"]
            elif resource.type == "aws_kms_key" or resource.type.endswith("_policy"):
                yield resource.address, resource.values["policy"]

    def identity_statements(self, role: str | None = None) -> Iterator[tuple[str, Statement]]:
        """Yield each statement of the roles' policies, or of one, with its policy's address."""
        for resource in self.all("aws_iam_role_policy"):
            if role in (None, resource.address):
                for statement in _statements(resource.values["policy"]):
                    yield resource.address, statement

    def grants(self, role: str, action: str, arn: str) -> bool:
        """Return whether the policy at the address `role` allows `action` on `arn`."""
        return any(
            statement["Effect"] == "Allow"
            and action in _list(statement["Action"])
            and arn in _list(statement["Resource"])
            for _, statement in self.identity_statements(role)
        )


# The roles' policies.
PROCESS_IMAGE = "module.orchestration.module.process_image.aws_iam_role_policy.function"
CONVERT_IMAGE = "module.orchestration.module.convert_image[0].aws_iam_role_policy.function"
SEND_NOTIFICATION = "module.orchestration.module.send_notification.aws_iam_role_policy.function"
START_WORKFLOW = "module.eventing.module.start_workflow.aws_iam_role_policy.function"
PIPELINE = "module.orchestration.aws_iam_role_policy.pipeline"
BACKFILL = "module.orchestration.aws_iam_role_policy.backfill"
RULE = "module.eventing.aws_iam_role_policy.start_workflow"

KEY = "module.storage.aws_kms_key.data[0]"
EXPRESS = 'module.orchestration.aws_sfn_state_machine.pipelines["EXPRESS"]'
STANDARD = 'module.orchestration.aws_sfn_state_machine.pipelines["STANDARD"]'
BUCKET = "module.storage.aws_s3_bucket.uploads"
TABLE = "module.storage.aws_dynamodb_table.results"
QUEUE = "module.eventing.aws_sqs_queue.dead_letter"
BUFFER = "module.eventing.aws_sqs_queue.uploads"
BUFFER_POLICY = "module.eventing.aws_sqs_queue_policy.uploads"
QUEUE_POLICY = "module.eventing.aws_sqs_queue_policy.dead_letter"
EVENT_RULE = "module.eventing.aws_cloudwatch_event_rule.uploads"
TARGET = "module.eventing.aws_cloudwatch_event_target.workflow"
ALERTS = "module.notification.aws_sns_topic.alerts"
ALERTS_POLICY = "module.notification.aws_sns_topic_policy.alerts"
RESULTS = "module.notification.aws_sns_topic.results"


@pytest.fixture(scope="module")
def deployments(workspace: Workspace) -> dict[str, Deployment]:
    """What is deployed, by workflow type."""
    assert not (workspace.folder / "build").exists()
    return {name: Deployment(resources) for name, resources in workspace.deployments().items()}


@pytest.fixture(scope="module")
def deployment(deployments: dict[str, Deployment]) -> Deployment:
    return deployments["STANDARD"]


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _statements(policy: str) -> list[Statement]:
    statements: list[Statement] = json.loads(policy)["Statement"]
    return statements


def _services(statement: Statement) -> list[str]:
    principal = statement.get("Principal", {})
    return _list(principal.get("Service", [])) if isinstance(principal, dict) else []


def _allowed(policy: str, service: str) -> Iterator[tuple[str, Statement]]:
    """Yield each action, with its statement, that `policy` lets `service` do."""
    for statement in _statements(policy):
        if statement["Effect"] == "Allow" and service in _services(statement):
            for action in _list(statement["Action"]):
                yield action, statement


def _actions(policy: str, service: str) -> set[str]:
    return {action for action, _ in _allowed(policy, service)}


# Paths: each returns what is missing on it, a sentence a link.


def alarm_to_key(deployment: Deployment) -> Iterator[str]:
    topic, policy, key = deployment.one(ALERTS), deployment.one(ALERTS_POLICY), deployment.one(KEY)
    for alarm in deployment.all("aws_cloudwatch_metric_alarm"):
        if topic["arn"] not in (alarm.values["alarm_actions"] or []):
            yield f"{alarm.address} does not notify the alerts topic"
    publish = dict(_allowed(policy["policy"], "cloudwatch.amazonaws.com")).get("sns:Publish")
    if policy["arn"] != topic["arn"] or not publish or publish["Resource"] != topic["arn"]:
        yield "alarms may not publish to the alerts topic"
    if topic["kms_master_key_id"] != key["arn"]:
        yield "the alerts topic is not encrypted with the key"
    # CloudWatch needs exactly these two:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
    if not {"kms:Decrypt", "kms:GenerateDataKey*"} <= _actions(key["policy"], "cloudwatch.amazonaws.com"):
        yield "alarms may not use the key"


def rule_to_key(deployment: Deployment) -> Iterator[str]:
    rule, target, key = deployment.one(EVENT_RULE), deployment.one(TARGET), deployment.one(KEY)
    queue, policy = deployment.one(QUEUE), deployment.one(QUEUE_POLICY)
    if not deployment.grants(RULE, "states:StartExecution", target["arn"]):
        yield "the rule may not start the workflow"
    if target["dead_letter_config"][0]["arn"] != queue["arn"]:
        yield "the rule's target does not park in the queue"
    send = dict(_allowed(policy["policy"], "events.amazonaws.com")).get("sqs:SendMessage")
    condition = {"ArnEquals": {"aws:SourceArn": rule["arn"]}}
    if not send or send["Resource"] != queue["arn"] or send.get("Condition") != condition:
        yield "the rule, and no other, may not send to the queue"
    if queue["kms_master_key_id"] != key["arn"]:
        yield "the queue is not encrypted with the key"
    if not {"kms:Decrypt", "kms:GenerateDataKey"} <= _actions(key["policy"], "events.amazonaws.com"):
        yield "rules may not use the key"


def workflow_to_key(deployment: Deployment) -> Iterator[str]:
    queue, key = deployment.one(QUEUE), deployment.one(KEY)
    for alias in deployment.all("aws_lambda_alias"):
        if alias.address.startswith("module.orchestration.") and not deployment.grants(
            PIPELINE, "lambda:InvokeFunction", alias.values["arn"]
        ):
            yield f"the workflow may not invoke {alias.address}"
    if not deployment.grants(PIPELINE, "sqs:SendMessage", queue["arn"]):
        yield "the workflow may not park"
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        if not deployment.grants(PIPELINE, action, key["arn"]):
            yield f"the workflow lacks {action} for the queue"


def buffer_to_workflow(deployment: Deployment) -> Iterator[str]:
    rule, buffer, key = deployment.one(EVENT_RULE), deployment.one(BUFFER), deployment.one(KEY)
    send = dict(_allowed(deployment.one(BUFFER_POLICY)["policy"], "events.amazonaws.com")).get(
        "sqs:SendMessage"
    )
    condition = {"ArnEquals": {"aws:SourceArn": rule["arn"]}}
    if not send or send["Resource"] != buffer["arn"] or send.get("Condition") != condition:
        yield "the rule, and no other, may not put events into the buffer"
    if buffer["kms_master_key_id"] != key["arn"]:
        yield "the buffer is not encrypted with the key"
    workflow = deployment.one(STANDARD)
    for action, arn in (
        *((f"sqs:{one}", buffer["arn"]) for one in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage")),
        ("sqs:ChangeMessageVisibility", buffer["arn"]),
        ("sqs:SendMessage", deployment.one(QUEUE)["arn"]),
        ("states:StartExecution", workflow["arn"]),
        ("kms:Decrypt", key["arn"]),
        ("kms:GenerateDataKey", key["arn"]),
    ):
        if not deployment.grants(START_WORKFLOW, action, arn):
            yield f"the starting function lacks {action} on {arn}"


def photo_to_record(deployment: Deployment) -> Iterator[str]:
    bucket, table, key = deployment.one(BUCKET), deployment.one(TABLE), deployment.one(KEY)
    for action, arn in (
        ("s3:GetObject", f"{bucket['arn']}/*"),
        ("s3:GetObjectVersion", f"{bucket['arn']}/*"),
        ("s3:ListBucket", bucket["arn"]),
        ("rekognition:DetectFaces", "*"),
        ("dynamodb:PutItem", table["arn"]),
        ("kms:Decrypt", key["arn"]),
    ):
        if not deployment.grants(PROCESS_IMAGE, action, arn):
            yield f"ProcessImage lacks {action} on {arn}"
    if table["server_side_encryption"][0]["kms_key_arn"] != key["arn"]:
        yield "the table is not encrypted with the key"
    for encryption in deployment.all("aws_s3_bucket_server_side_encryption_configuration"):
        [rule] = encryption.values["rule"]
        if rule["apply_server_side_encryption_by_default"][0]["kms_master_key_id"] != key["arn"]:
            yield "the bucket is not encrypted with the key"


def notification_to_key(deployment: Deployment) -> Iterator[str]:
    topic, key = deployment.one(RESULTS), deployment.one(KEY)
    if topic["kms_master_key_id"] != key["arn"]:
        yield "the results topic is not encrypted with the key"
    for action, arn in (
        ("sns:Publish", topic["arn"]),
        ("kms:Decrypt", key["arn"]),
        ("kms:GenerateDataKey", key["arn"]),
    ):
        if not deployment.grants(SEND_NOTIFICATION, action, arn):
            yield f"SendNotification lacks {action} on {arn}"


def logs_to_key(deployment: Deployment) -> Iterator[str]:
    key = deployment.one(KEY)
    allowed = dict(_allowed(key["policy"], "logs.us-east-1.amazonaws.com"))
    patterns: list[str] = []
    for action in ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"):
        if action in allowed:
            patterns = _list(allowed[action]["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"])
        else:
            yield f"log groups lack {action} on the key"
    for group in deployment.all("aws_cloudwatch_log_group"):
        if group.values["kms_key_id"] != key["arn"]:
            yield f"{group.address} is not encrypted with the key"
        arn = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group.values['name']}"
        if not any(fnmatchcase(arn, pattern) for pattern in patterns):
            yield f"the key's policy leaves {group.address} out"
        if not group.values["retention_in_days"]:
            yield f"{group.address} keeps events for ever"


def backfill_to_workflow(deployment: Deployment) -> Iterator[str]:
    workflow = deployment.one(STANDARD)
    # By its name, so that a plan that changes the workflow leaves the policy alone.
    arn = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:{workflow['name']}"
    if not deployment.grants(BACKFILL, "states:StartExecution", arn):
        yield "the backfill may not start the workflow"


PATHS = [
    alarm_to_key,
    backfill_to_workflow,
    buffer_to_workflow,
    rule_to_key,
    workflow_to_key,
    photo_to_record,
    notification_to_key,
    logs_to_key,
]


@pytest.mark.parametrize("path", PATHS)
def test_no_link_is_missing_on_the_path_from(path: Any, deployment: Deployment) -> None:
    assert list(path(deployment)) == []


def _without(deployment: Deployment, address: str, attribute: str, action: str | None = None) -> Deployment:
    """Return the deployment with `attribute` of a resource cut, or only `action` taken out of its policy."""
    values = copy.deepcopy(deployment.one(address))
    if action:
        policy = json.loads(values[attribute])
        for statement in policy["Statement"]:
            if statement["Effect"] == "Allow":
                statement["Action"] = [each for each in _list(statement["Action"]) if each != action]
        values[attribute] = json.dumps(policy)
    else:
        values[attribute] = "cut"
    return Deployment(
        [replace(each, values=values) if each.address == address else each for each in deployment.resources]
    )


@pytest.mark.parametrize(
    ("path", "address", "attribute", "action"),
    [
        (alarm_to_key, ALERTS, "kms_master_key_id", None),
        (alarm_to_key, ALERTS_POLICY, "policy", "sns:Publish"),
        (alarm_to_key, ALERTS_POLICY, "arn", None),
        (alarm_to_key, KEY, "policy", "kms:GenerateDataKey*"),
        (backfill_to_workflow, BACKFILL, "policy", "states:StartExecution"),
        (buffer_to_workflow, BUFFER, "kms_master_key_id", None),
        (buffer_to_workflow, BUFFER_POLICY, "policy", "sqs:SendMessage"),
        (buffer_to_workflow, START_WORKFLOW, "policy", "sqs:ReceiveMessage"),
        (buffer_to_workflow, START_WORKFLOW, "policy", "states:StartExecution"),
        (rule_to_key, QUEUE, "kms_master_key_id", None),
        (rule_to_key, QUEUE, "arn", None),
        (rule_to_key, QUEUE_POLICY, "policy", "sqs:SendMessage"),
        (rule_to_key, TARGET, "arn", None),
        (rule_to_key, KEY, "policy", "kms:GenerateDataKey"),
        (workflow_to_key, PIPELINE, "policy", "lambda:InvokeFunction"),
        (workflow_to_key, PIPELINE, "policy", "sqs:SendMessage"),
        (workflow_to_key, PIPELINE, "policy", "kms:GenerateDataKey"),
        (photo_to_record, PROCESS_IMAGE, "policy", "s3:GetObjectVersion"),
        (photo_to_record, PROCESS_IMAGE, "policy", "kms:Decrypt"),
        (notification_to_key, RESULTS, "kms_master_key_id", None),
        (notification_to_key, SEND_NOTIFICATION, "policy", "kms:Decrypt"),
        (logs_to_key, KEY, "policy", "kms:Decrypt"),
        (
            logs_to_key,
            "module.orchestration.module.process_image.aws_cloudwatch_log_group.function",
            "name",
            None,
        ),
        (logs_to_key, "module.orchestration.aws_cloudwatch_log_group.pipeline", "kms_key_id", None),
    ],
)
def test_cut_link_shows(
    path: Any, address: str, attribute: str, action: str | None, deployment: Deployment
) -> None:
    assert list(path(_without(deployment, address, attribute, action)))


def test_the_state_machines_are_sound_as_they_are_deployed(deployments: dict[str, Deployment]) -> None:
    definitions = {
        f"{kind}: {resource.address}": resource.values["definition"]
        for kind, deployment in deployments.items()
        for resource in deployment.all("aws_sfn_state_machine")
    }
    assert len(definitions) == 6
    assert not [name for name, text in definitions.items() if "${" in text]
    assert asl.problems(definitions) == []


def test_an_express_execution_waits_less_than_its_five_minutes(deployments: dict[str, Deployment]) -> None:
    workflow = deployments["EXPRESS"].one(EXPRESS)
    tasks = {
        name: max(sum(longest_waits(retrier)) for retrier in state["Retry"])
        for name, state in json.loads(workflow["definition"])["States"].items()
        if "Retry" in state
    }
    assert set(tasks) == {"ConvertImage", "ProcessImage", "SendNotification", "Park"}
    # Each task meets one kind of trouble, at its worst; what is left is for the calls themselves.
    assert sum(tasks.values()) <= 240


def test_a_backfill_of_an_express_workflow_may_call_it_and_nothing_else_is_new(
    deployments: dict[str, Deployment],
) -> None:
    standard, express = (
        {
            (action, arn)
            for _, statement in deployments[kind].identity_statements(BACKFILL)
            for action in _list(statement["Action"])
            for arn in _list(statement["Resource"])
        }
        for kind in ("STANDARD", "EXPRESS")
    )
    backfill, pipeline = (
        deployments["EXPRESS"].one(address)
        for address in ("module.orchestration.aws_sfn_state_machine.backfill", EXPRESS)
    )
    [task] = re.findall(r'"Resource":"[^"]*:aws-sdk:sfn:(\w+)"', backfill["definition"])
    assert (task, pipeline["arn"] in backfill["definition"]) == ("startSyncExecution", True)
    # Without this very grant the task is refused.
    arn = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:{pipeline['name']}"
    assert express - standard == {("states:StartSyncExecution", arn)}


def test_only_forced_actions_are_granted_on_everything(deployment: Deployment) -> None:
    stars = {
        (role, action)
        for role, statement in deployment.identity_statements()
        if any(resource == "*" for resource in _list(statement["Resource"]))
        for action in _list(statement["Action"])
    }
    assert stars == {
        *((BACKFILL, action) for action in LOG_DELIVERY | SAMPLING | TRACES),
        *((PIPELINE, action) for action in LOG_DELIVERY | SAMPLING | TRACES),
        *((CONVERT_IMAGE, action) for action in ANALYSIS | TRACES),
        *((PROCESS_IMAGE, action) for action in ANALYSIS | TRACES),
        *((SEND_NOTIFICATION, action) for action in TRACES),
        *((START_WORKFLOW, action) for action in TRACES),
    }


def test_every_star_on_resources_says_which_rule_forces_it() -> None:
    unexplained = []
    for path in sorted(ROOT.glob("modules/*/*.tf")):
        text = path.read_text(encoding="utf-8")
        for statement in re.findall(r"^  statement \{\n.*?^  \}", text, re.MULTILINE | re.DOTALL):
            # In a resource's own policy "*" is that resource, or everybody who is denied.
            if re.search(r'resources\s*= \["\*"\]', statement) and "principals {" not in statement:
                [comment] = re.findall(r'((?: +# .*\n)*) +resources\s*= \["\*"\]', statement)
                if "https://docs.aws.amazon.com/" not in comment:
                    unexplained.append(f"{path.relative_to(ROOT)}: {statement}")
    assert not unexplained


def test_no_role_has_an_action_with_a_wildcard(deployment: Deployment) -> None:
    wild = [
        (role, action)
        for role, statement in deployment.identity_statements()
        for action in _list(statement["Action"])
        if "*" in action
    ]
    assert not wild


def test_statement_names_are_unique_in_a_policy(deployment: Deployment) -> None:
    for address, policy in deployment.policies():
        names = [statement.get("Sid") for statement in _statements(policy)]
        assert all(names), address
        assert len(set(names)) == len(names), address


def test_roles_trust_one_service_on_behalf_of_this_account(deployment: Deployment) -> None:
    trusted = {}
    for role in deployment.all("aws_iam_role"):
        [statement] = _statements(role.values["assume_role_policy"])
        [trusted[role.address]] = _services(statement)
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}, role.address
    assert trusted == {
        "module.eventing.aws_iam_role.rule": "events.amazonaws.com",
        "module.eventing.module.start_workflow.aws_iam_role.function": "lambda.amazonaws.com",
        "module.orchestration.aws_iam_role.backfill": "states.amazonaws.com",
        "module.orchestration.aws_iam_role.pipeline": "states.amazonaws.com",
        "module.orchestration.module.convert_image[0].aws_iam_role.function": "lambda.amazonaws.com",
        "module.orchestration.module.process_image.aws_iam_role.function": "lambda.amazonaws.com",
        "module.orchestration.module.send_notification.aws_iam_role.function": "lambda.amazonaws.com",
    }


def test_rule_role_is_trusted_to_the_rule_alone(deployment: Deployment) -> None:
    [statement] = _statements(deployment.one("module.eventing.aws_iam_role.rule")["assume_role_policy"])
    assert statement["Condition"]["ArnEquals"] == {"aws:SourceArn": deployment.one(EVENT_RULE)["arn"]}


@pytest.mark.parametrize(
    ("name", "suffixes"),
    # A map's runs for single objects belong to a state machine named after the map's own; the pipeline's role
    # is for both types, and for what is left of the one from before types were part of names.
    [("backfill", ["", "/*"]), ("pipeline", ["", "-express", "-standard"])],
)
def test_workflow_role_is_trusted_to_its_workflow_alone(
    name: str, suffixes: list[str], deployment: Deployment
) -> None:
    role = deployment.one(f"module.orchestration.aws_iam_role.{name}")
    [statement] = _statements(role["assume_role_policy"])
    arn = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:{role['name']}"
    trusted = _list(statement["Condition"]["ArnLike"]["aws:SourceArn"])
    assert trusted == [f"{arn}{suffix}" for suffix in suffixes]


def test_resource_policies_name_their_principals(deployment: Deployment) -> None:
    for address, policy in deployment.policies():
        for statement in _statements(policy):
            if statement["Effect"] == "Allow" and "Principal" in statement:
                assert "*" not in json.dumps(statement["Principal"]), address


@pytest.mark.parametrize(
    ("kind", "policy_kind", "actions"),
    [
        ("aws_s3_bucket", "aws_s3_bucket_policy", ["s3:*"]),
        ("aws_sns_topic", "aws_sns_topic_policy", ["sns:Publish"]),
        ("aws_sqs_queue", "aws_sqs_queue_policy", ["sqs:*"]),
    ],
)
def test_plain_http_is_denied(
    kind: str, policy_kind: str, actions: list[str], deployment: Deployment
) -> None:
    denied = {
        arn
        for policy in deployment.all(policy_kind)
        for statement in _statements(policy.values["policy"])
        if statement["Effect"] == "Deny"
        and statement["Principal"] == "*"
        and _list(statement["Action"]) == actions
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for arn in _list(statement["Resource"])
    }
    wanted = {resource.values["arn"] for resource in deployment.all(kind)}
    assert wanted
    assert wanted <= denied
    if kind == "aws_s3_bucket":
        assert {f"{arn}/*" for arn in wanted} <= denied


@pytest.mark.parametrize("module", ["convert_image[0]", "process_image", "send_notification"])
def test_apply_in_a_fresh_copy_builds_the_zip_that_is_deployed(
    module: str, deployment: Deployment, workspace: Workspace
) -> None:
    function = deployment.one(f"module.orchestration.module.{module}.aws_lambda_function.function")
    name = module.partition("[")[0]
    digest = package.source_hash(ROOT / "functions" / name)
    assert function["filename"] == f"./build/{name}-{digest}.zip"
    assert function["source_code_hash"] == digest
    assert (workspace.folder / function["filename"]).is_file()


def test_settings_reach_both_functions_that_analyse(deployment: Deployment) -> None:
    [environment] = deployment.one("module.orchestration.module.process_image.aws_lambda_function.function")[
        "environment"
    ]
    analysing = {
        "FACE_ATTRIBUTES": "DEFAULT,SMILE",
        "FACE_MIN_CONFIDENCE": "80",
        "LOG_OBJECT_KEYS": "true",
        "RECORD_RETENTION_DAYS": "30",
        "RESULTS_TABLE": deployment.one(TABLE)["name"],
    }
    assert environment["variables"] == {**analysing, "CONVERT_IMAGES": "true"}
    converting = deployment.one("module.orchestration.module.convert_image[0].aws_lambda_function.function")
    assert converting["environment"][0]["variables"] == {
        **analysing,
        "CONVERT_FORMATS": "heic,webp",
        "CONVERT_IMAGES": "false",
        "CONVERT_MAX_PIXELS": "2000",
    }


def test_settings_reach_send_notification(deployment: Deployment) -> None:
    [environment] = deployment.one(
        "module.orchestration.module.send_notification.aws_lambda_function.function"
    )["environment"]
    assert environment["variables"]["RESULTS_TOPIC_ARN"] == deployment.one(RESULTS)["arn"]


def test_parliament_finds_no_unknown_action_or_resource(deployments: dict[str, Deployment]) -> None:
    found = {
        (resource.address, *finding)
        for deployment in deployments.values()
        for resource in deployment.all("aws_iam_role_policy")
        for finding in findings(resource.values["policy"])
    }
    # It also requires a pattern of Express executions, although only Standard ones are described.
    express = '[{"action": "states:DescribeExecution", "required_format": "arn:*:states:*:*:express:*:*:*"}]'
    assert found == {(BACKFILL, "RESOURCE_MISMATCH", express)}
