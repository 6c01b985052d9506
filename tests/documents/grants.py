"""What the callers of preflight and verify may do: the tables in docs/security.md."""

from __future__ import annotations

import json
import re
from typing import Any

from operations import preflight_checks
from operations.program import ROOT

# Further calls of a check, besides the action it names, which decides.
ALSO = {
    "state bucket": ("s3:GetBucketPolicy", "s3:GetBucketPublicAccessBlock", "s3:ListBucket"),
    "Lambda concurrency": ("lambda:GetFunctionConcurrency", "s3:GetObject"),
    "SMS": ("sns:ListOriginationNumbers", "sns:ListSMSSandboxPhoneNumbers"),
    "subscriptions": ("s3:GetObject",),
    "bucket notifications": ("s3:GetObject",),
    "encryption key": ("kms:DescribeKey",),
    "workflow": ("s3:GetObject",),
}


def preflight() -> str:
    """The actions of each check of preflight, but those that ask AWS nothing."""
    lines = ["| Check | Actions |", "|---|---|"]
    for about, action, _ in preflight_checks.CHECKS:
        if action:
            actions = ", ".join(f"`{one}`" for one in (action, *ALSO.get(about, ())))
            lines.append(f"| {about} | {actions} |")
    return "\n".join(lines)


def policy(name: str) -> dict[str, Any]:
    """A policy of docs/ci.md.

    Raises:
        ValueError: the document holds no such policy, or two.
    """
    document = (ROOT / "docs" / "ci.md").read_text("utf-8")
    [text] = re.findall(rf"^`{re.escape(name)}`: .*?```json\n(.*?)```", document, re.MULTILINE | re.DOTALL)
    content: dict[str, Any] = json.loads(text)
    return content


def verify() -> str:
    """What verify does with the role of docs/ci.md, by its statements."""
    lines = ["| To | Actions | On |", "|---|---|---|"]
    for one in policy("verify.json")["Statement"]:
        words = re.sub(r"(?<!^)([A-Z])", r" \1", one["Sid"]).lower()
        actions, resources = (listed(one[field]) for field in ("Action", "Resource"))
        where = "<br>".join(f"`{_general(resource)}`" for resource in resources)
        lines.append(f"| {words} | {', '.join(f'`{action}`' for action in actions)} | {where} |")
    return "\n".join(lines)


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _general(resource: str) -> str:
    for special, general in (
        ("photo-analysis-dev-tfstate-111122223333", "STATE-BUCKET"),
        ("photo-analysis-dev", "STACK"),
        ("111122223333", "ACCOUNT"),
        ("us-east-1", "REGION"),
    ):
        resource = resource.replace(special, general)
    return resource
