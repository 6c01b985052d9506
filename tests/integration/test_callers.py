"""Preflight and verify work with what the documents grant their callers; preflight names what is lacking."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from operations import preflight, preflight_checks, verify_photos
from operations.deployment import Deployment
from operations.verify import verify
from tests.documents import grants
from tests.integration.operating import allowed

if TYPE_CHECKING:
    from localcloud.stack import Stack
    from operations.environments import Environment
    from tests.integration.pipeline import DeployedPipeline

_SERVICES = {"service-quotas": "servicequotas", "stepfunctions": "states"}
# Where the action is not called as the operation is.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_ACTIONS = {
    # Verify deletes nothing but versions; the local cloud refuses it anything else.
    "s3:DeleteObject": "s3:DeleteObjectVersion",
    "s3:GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
}


def used(environment: Environment) -> set[str]:
    """The actions of every call the environment's clients make from now on, but the one that needs none."""
    actions: set[str] = set()

    def note(model: Any, **_: Any) -> None:
        service = model.service_model.service_name
        action = f"{_SERVICES.get(service, service)}:{model.name}"
        if action != "sts:GetCallerIdentity":
            actions.add(_ACTIONS.get(action, action))

    environment.session.events.register("before-call", note)
    return actions


def looking(actions: set[str]) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": sorted(actions), "Resource": "*"}],
    }


def check(stack: Stack, actions: set[str]) -> tuple[dict[str, tuple[str, str]], set[str]]:
    """Outcome and text of each of preflight's lines for a caller with `actions`, and what it used."""
    with allowed(stack, looking(actions)) as environment:
        asking = replace(
            environment,
            settings={
                **environment.settings,
                "workflow_type": "EXPRESS",
                "subscriptions": {"me": {"protocol": "sms", "endpoint": "+15555550100"}},
                "kms_key_arn": stack.outputs["key_arn"],
            },
        )
        vars(asking)["variables"] = environment.variables
        calls = used(asking)
        return {line.about: (line.outcome, line.text) for line in preflight.check(asking)}, calls


def test_preflight_checks_everything_with_the_documented_permissions(stack: Stack) -> None:
    actions = {
        action
        for about, action, _ in preflight_checks.CHECKS
        if action
        for action in (action, *grants.ALSO.get(about, ()))
    }
    found, calls = check(stack, actions)
    assert [about for about, (_, text) in found.items() if "needs" in text] == []
    assert calls <= actions
    # The local cloud has no quotas, organisation or account settings, and its numbers are never in a sandbox.
    assert actions - calls <= {
        "lambda:GetAccountSettings",
        "lambda:GetFunctionConcurrency",
        "sns:ListOriginationNumbers",
        "sns:ListSMSSandboxPhoneNumbers",
    }


@pytest.mark.parametrize(
    ("about", "action"),
    [
        ("state bucket", "s3:GetBucketVersioning"),
        ("subscriptions", "sns:ListSubscriptionsByTopic"),
        ("bucket notifications", "s3:GetBucketNotification"),
        ("encryption key", "kms:GetKeyPolicy"),
        ("workflow", "states:ListExecutions"),
    ],
)
def test_preflight_names_what_its_caller_lacks(stack: Stack, about: str, action: str) -> None:
    actions = {one for _, one, _ in preflight_checks.CHECKS if one} | {
        one for also in grants.ALSO.values() for one in also
    }
    found, _ = check(stack, actions - {action})
    assert found[about] == ("not checked", f"needs {action}")


def test_verify_passes_with_the_role_of_the_document_and_uses_all_of_it(
    stack: Stack, pipeline: DeployedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_photos, "SECONDS", 20.0)
    # Somebody else's parked event is met among its own, and left where it is.
    pipeline.park("{}")
    policy = grants.policy("verify.json")
    with allowed(stack, policy) as environment:
        calls = used(environment)
        lines = verify(Deployment(environment, dict(stack.outputs)), lambda _: None)
    assert {line.about: line.text for line in lines if line.outcome == "failed"} == {}
    granted = {action for one in policy["Statement"] for action in grants.listed(one["Action"])}
    assert calls - granted == set()
    # The services use the key on their caller's behalf; Terraform's state is a file here.
    assert granted - calls == {"kms:Decrypt", "kms:GenerateDataKey", "s3:GetObject"}
    assert [letter.body for letter in stack.dead_letters()] == ["{}"]
