"""Every path to the key, walked through the deployed resources and their policies; and TLS only.

Policies of topics, queue, bucket and key are evaluated by MiniStack's implementation of IAM's rules, as for
the request the service makes. Each statement is then taken away once and the walk must notice.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from ministack.core.iam_evaluator import (
    EvalContext,
    evaluate_resource_policy,
)

from localcloud.cloud import REGION
from operations.program import ROOT
from tests.documents import permissions
from tests.documents.permissions import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from localcloud.stack import Stack

Policy = dict[str, Any]

# What a service does with the key:
# https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html (CloudWatch),
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html (EventBridge),
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html (Logs).
WRITES_MESSAGES = ("kms:Decrypt", "kms:GenerateDataKey")
KEEPS_LOGS = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:GenerateDataKey", "kms:DescribeKey")


@dataclass(frozen=True)
class Deployed:
    """The deployed resources. `encrypted`: the key each one is encrypted with; `policies`: by ARN."""

    account: str
    region: str
    key_arn: str
    encrypted: Mapping[str, str | None]
    policies: Mapping[str, Policy]
    alarms: Mapping[str, tuple[str, ...]]
    parking: Mapping[str, str]
    log_groups: tuple[str, ...]


TLS_ONLY = {"s3": "s3:GetObject", "sns": "sns:Publish", "sqs": "sqs:ReceiveMessage"}


@dataclass(frozen=True)
class Requester:
    """The origin of a request: a service, with the condition keys it sends, or a caller's ARN."""

    service: str = ""
    caller: str = ""
    tls: bool = True
    keys: Mapping[str, str] = field(default_factory=dict)

    def decision(self, policy: Policy, resource: str, action: str) -> str:
        """Allow, Deny or ImplicitDeny."""
        context = EvalContext(
            principal_arn=self.caller,
            principal_type="AssumedRole",
            principal_account="",
            action=action,
            resource_arn=resource,
            region="us-east-1",
            source_ip="127.0.0.1",
            secure_transport=self.tls,
            service_context={name.lower(): value for name, value in self.keys.items()},
        )
        return str(evaluate_resource_policy(policy, context, service=self.service).decision)

    def may_not(self, deployed: Deployed, resource: str, actions: Iterable[str]) -> Iterator[str]:
        """The actions the resource's policy does not let it do, a sentence each."""
        for action in actions:
            if self.decision(deployed.policies[resource], resource, action) != "Allow":
                yield f"{self.service or self.caller} may not {action} on {resource} with {dict(self.keys)}"


def missing(deployed: Deployed) -> list[str]:
    """The links that are missing, a sentence each."""
    return [
        *(
            f"{name} is not encrypted with the key but with {key_arn}"
            for name, key_arn in deployed.encrypted.items()
            if key_arn != deployed.key_arn
        ),
        *_alarm_to_key(deployed),
        *_rule_to_key(deployed),
        *_logs_to_key(deployed),
        # Without it nobody could manage the key, and no role be granted its use.
        *Requester(caller=f"arn:aws:iam::{deployed.account}:role/administrator").may_not(
            deployed, deployed.key_arn, ["kms:PutKeyPolicy"]
        ),
        *_tls_only(deployed),
        *_uploads_to_key(deployed),
    ]


def _alarm_to_key(deployed: Deployed) -> Iterator[str]:
    alarm = Requester("cloudwatch.amazonaws.com", keys={"aws:SourceAccount": deployed.account})
    for topic in {topic for topics in deployed.alarms.values() for topic in topics}:
        yield from alarm.may_not(deployed, topic, ["sns:Publish"])
    yield from alarm.may_not(deployed, deployed.key_arn, WRITES_MESSAGES)


def _rule_to_key(deployed: Deployed) -> Iterator[str]:
    for rule, queue in deployed.parking.items():
        requester = Requester("events.amazonaws.com", keys={"aws:SourceArn": rule})
        yield from requester.may_not(deployed, queue, ["sqs:SendMessage"])
        # EventBridge does not say for which rule it uses a key.
        yield from replace(requester, keys={}).may_not(deployed, deployed.key_arn, WRITES_MESSAGES)


def _logs_to_key(deployed: Deployed) -> Iterator[str]:
    for group in deployed.log_groups:
        arn = f"arn:aws:logs:{deployed.region}:{deployed.account}:log-group:{group}"
        requester = Requester(
            f"logs.{deployed.region}.amazonaws.com", keys={"kms:EncryptionContext:aws:logs:arn": arn}
        )
        yield from requester.may_not(deployed, deployed.key_arn, KEEPS_LOGS)


def _tls_only(deployed: Deployed) -> Iterator[str]:
    function = Requester(caller=f"arn:aws:sts::{deployed.account}:assumed-role/any/session")
    for arn, policy in deployed.policies.items():
        service = arn.split(":")[2]
        if service not in TLS_ONLY:
            continue
        for resource in (arn, f"{arn}/key") if service == "s3" else (arn,):
            if replace(function, tls=False).decision(policy, resource, TLS_ONLY[service]) != "Deny":
                yield f"{resource} can be reached over plain HTTP"
            if function.decision(policy, resource, TLS_ONLY[service]) == "Deny":
                yield f"{resource} cannot be reached over TLS"


def _uploads_to_key(deployed: Deployed) -> Iterator[str]:
    [bucket] = [arn for arn in deployed.policies if arn.startswith("arn:aws:s3:::")]
    sse, key = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
    strange = deployed.key_arn[:-1] + ("0" if deployed.key_arn[-1] != "0" else "1")
    for headers, fine in (
        ({}, True),
        ({sse: "aws:kms", key: deployed.key_arn}, True),
        ({sse: "AES256"}, False),
        ({sse: "aws:kms"}, False),
        ({sse: "aws:kms", key: strange}, False),
        ({"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"}, False),
    ):
        requester = Requester(
            caller=f"arn:aws:sts::{deployed.account}:assumed-role/any/session", keys=headers
        )
        refused = (
            requester.decision(deployed.policies[bucket], f"{bucket}/photo.jpg", "s3:PutObject") == "Deny"
        )
        if refused is fine:
            yield f"an upload with {headers} is {'refused' if refused else 'stored under another key'}"


@pytest.fixture(scope="module")
def deployed(stack: Stack) -> Deployed:
    sns, sqs, events = stack.client("sns"), stack.client("sqs"), stack.client("events")
    outputs, name = stack.outputs, permissions.stack_name(stack.outputs)
    key_arn = outputs["key_arn"]
    bucket_arn, queue_arn = f"arn:aws:s3:::{stack.bucket}", outputs["dead_letter_queue_arn"]
    topics = {
        arn: sns.get_topic_attributes(TopicArn=arn)["Attributes"]
        for arn in (outputs["alerts_topic_arn"], outputs["results_topic_arn"])
    }
    queue = sqs.get_queue_attributes(QueueUrl=outputs["dead_letter_queue_url"], AttributeNames=["All"])[
        "Attributes"
    ]
    buffer = sqs.get_queue_attributes(
        QueueUrl=outputs["ingestion"]["queue_url"], AttributeNames=["KmsMasterKeyId"]
    )["Attributes"]
    [bucket] = stack.client("s3").get_bucket_encryption(Bucket=stack.bucket)[
        "ServerSideEncryptionConfiguration"
    ]["Rules"]
    table = stack.client("dynamodb").describe_table(TableName=outputs["results_table_name"])["Table"]
    groups = [
        one
        for one in stack.client("logs").describe_log_groups()["logGroups"]
        if one["logGroupName"].startswith((f"/aws/lambda/{name}-", f"/aws/vendedlogs/states/{name}-"))
    ]
    functions = {
        one: stack.client("lambda").get_function_configuration(FunctionName=one)["KMSKeyArn"]
        for one in outputs["function_names"].values()
    }
    rules = {
        rule["Arn"]: target["DeadLetterConfig"]["Arn"]
        for rule in events.list_rules()["Rules"]
        for target in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    }
    return Deployed(
        account=key_arn.split(":")[4],
        region=key_arn.split(":")[3],
        key_arn=key_arn,
        encrypted={
            "the bucket": bucket["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"],
            "the table": table["SSEDescription"]["KMSMasterKeyArn"],
            "the queue": queue["KmsMasterKeyId"],
            "the buffer": buffer["KmsMasterKeyId"],
            **{arn: attributes["KmsMasterKeyId"] for arn, attributes in topics.items()},
            **{one["logGroupName"]: one.get("kmsKeyId") for one in groups},
            **functions,
        },
        policies={
            key_arn: json.loads(stack.client("kms").get_key_policy(KeyId=key_arn)["Policy"]),
            bucket_arn: json.loads(stack.client("s3").get_bucket_policy(Bucket=stack.bucket)["Policy"]),
            queue_arn: json.loads(queue["Policy"]),
            **{arn: json.loads(attributes["Policy"]) for arn, attributes in topics.items()},
        },
        alarms={
            alarm["AlarmName"]: tuple(alarm["AlarmActions"])
            for alarm in stack.client("cloudwatch").describe_alarms()["MetricAlarms"]
        },
        parking=rules,
        log_groups=tuple(one["logGroupName"] for one in groups),
    )


def test_no_link_is_missing(stack: Stack, deployed: Deployed) -> None:
    assert set(deployed.log_groups) == {
        *(f"/aws/lambda/{name}" for name in stack.outputs["function_names"].values()),
        *(
            # The workflow of either type logs into one group.
            f"/aws/vendedlogs/states/{machine['name'].removesuffix('-standard').removesuffix('-express')}"
            for machine in stack.client("stepfunctions").list_state_machines()["stateMachines"]
        ),
    }
    assert deployed.alarms
    assert all(deployed.alarms.values()), "an alarm notifies nobody"
    assert deployed.parking
    assert missing(deployed) == []


def test_an_upload_that_requests_another_encryption_is_refused(stack: Stack) -> None:
    # The local cloud holds a bucket's policy against everybody but the account's root.
    iam, name = stack.client("iam"), f"uploader-{uuid.uuid4().hex}"
    iam.create_user(UserName=name)
    keys = iam.create_access_key(UserName=name)["AccessKey"]
    may = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{stack.bucket}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    iam.put_user_policy(UserName=name, PolicyName="upload", PolicyDocument=policy)
    uploader: Any = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], region_name=REGION).client(
        "s3", endpoint_url=stack.cloud.endpoint_url, verify=str(stack.cloud.ca_bundle)
    )
    # The rule leaves folder markers out.
    where = {"Bucket": stack.bucket, "Key": "encryption/", "Body": b""}
    try:
        assert uploader.put_object(**where)["ServerSideEncryption"] == "aws:kms"
        with pytest.raises(ClientError, match="AccessDenied"):
            uploader.put_object(**where, ServerSideEncryption="AES256")
    finally:
        iam.delete_user_policy(UserName=name, PolicyName="upload")
        iam.delete_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"])
        iam.delete_user(UserName=name)


def test_the_key_rotates(stack: Stack, deployed: Deployed) -> None:
    assert stack.client("kms").get_key_rotation_status(KeyId=deployed.key_arn)["KeyRotationEnabled"] is True


def test_every_statement_is_a_link(deployed: Deployed) -> None:
    unnoticed = []
    for arn, policy in deployed.policies.items():
        for statement in listed(policy["Statement"]):
            rest = {**policy, "Statement": [one for one in policy["Statement"] if one is not statement]}
            if not missing(replace(deployed, policies={**deployed.policies, arn: rest})):
                unnoticed.append((arn, statement["Sid"]))
    assert unnoticed == []


def test_every_action_of_a_statement_is_a_link(deployed: Deployed) -> None:
    unnoticed = []
    for arn, policy in deployed.policies.items():
        for index, statement in enumerate(policy["Statement"]):
            for action in listed(statement["Action"]):
                cut = {**statement, "Action": [one for one in listed(statement["Action"]) if one != action]}
                if not cut["Action"]:
                    continue
                statements = [*policy["Statement"][:index], cut, *policy["Statement"][index + 1 :]]
                changed = {**deployed.policies, arn: {**policy, "Statement": statements}}
                if not missing(replace(deployed, policies=changed)):
                    unnoticed.append((arn, statement["Sid"], action))
    assert unnoticed == []


def test_another_key_anywhere_is_noticed(deployed: Deployed) -> None:
    for name in deployed.encrypted:
        other = {**deployed.encrypted, name: "alias/aws/sns"}
        assert missing(replace(deployed, encrypted=other)) == [
            f"{name} is not encrypted with the key but with alias/aws/sns"
        ]


def test_the_conditions_keep_strangers_out(deployed: Deployed) -> None:
    key, alerts = deployed.key_arn, next(iter(deployed.alarms.values()))[0]
    queue = next(iter(deployed.parking.values()))
    stranger, elsewhere = "999999999999", f"us-east-1:{deployed.account}"
    events, logs = "events.amazonaws.com", "logs.us-east-1.amazonaws.com"
    another_rule = {"aws:SourceArn": f"arn:aws:events:{elsewhere}:rule/another"}
    another_group = {
        "kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{elsewhere}:log-group:/aws/lambda/another"
    }
    for requester, resource, action in (
        (Requester("cloudwatch.amazonaws.com", keys={"aws:SourceAccount": stranger}), alerts, "sns:Publish"),
        (Requester("cloudwatch.amazonaws.com", keys={"aws:SourceAccount": stranger}), key, "kms:Decrypt"),
        (Requester(events, keys=another_rule), queue, "sqs:SendMessage"),
        (Requester(logs, keys=another_group), key, "kms:Decrypt"),
        (Requester(caller=f"arn:aws:iam::{stranger}:role/any"), key, "kms:Decrypt"),
        # A service that uses the key with its caller's permissions only.
        (Requester("s3.amazonaws.com"), key, "kms:Decrypt"),
        (Requester("cloudwatch.amazonaws.com"), key, "kms:Encrypt"),
    ):
        assert requester.decision(deployed.policies[resource], resource, action) == "ImplicitDeny", requester


def test_the_documented_policy_for_a_key_of_ones_own_is_the_one_made_here(
    stack: Stack, deployed: Deployed
) -> None:
    [block] = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "security.md").read_text("utf-8"), re.DOTALL)
    for general, special in (
        ("ACCOUNT", deployed.account),
        ("REGION", deployed.region),
        ("STACK", permissions.stack_name(stack.outputs)),
    ):
        block = block.replace(general, special)
    assert _ordered(json.loads(block)) == _ordered(deployed.policies[deployed.key_arn])


def _ordered(policy: Policy) -> list[str]:
    """A policy's statements with lists in one order: IAM keeps none."""
    return sorted(
        json.dumps({**statement, "Action": sorted(listed(statement["Action"]))}, sort_keys=True)
        for statement in policy["Statement"]
    )
