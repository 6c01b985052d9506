"""Preflight works with what the documents grant its caller, and names what its caller lacks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from operations import preflight, preflight_checks
from tests.documents import grants
from tests.integration.operating import allowed

if TYPE_CHECKING:
    from localcloud.stack import Stack
    from operations.environments import Environment

_SERVICES = {"service-quotas": "servicequotas", "stepfunctions": "states"}
# Where the action is not called as the operation is.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
_ACTIONS = {
    "s3:GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:HeadBucket": "s3:ListBucket",
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


def test_preflight_looks_at_everything_with_what_the_document_grants(stack: Stack) -> None:
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
