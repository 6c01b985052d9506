"""The checks of what an apply needs from an account; each only reads."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from operations import state, terraform

if TYPE_CHECKING:
    from collections.abc import Callable

    from operations.environments import Environment

Outcome = Literal["ok", "warning", "fails", "not checked"]
# The outcome of a check and its text; None if it does not apply.
Found = tuple[Outcome, str] | None

# "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below
# its minimum value of [10]" (100 in most accounts, 10 in new ones).
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
_LEAST_UNRESERVED = 10
_USUAL_UNRESERVED = 100
# Emails a second an account may send; above it the subscription is switched off.
# https://docs.aws.amazon.com/general/latest/gr/sns.html
_EMAILS_PER_SECOND = 10
_QUOTAS = "servicequotas:ListServiceQuotas"
# What a customer's own key must allow each service; docs/security.md has the policy.
_KEY_USERS = {
    "cloudwatch.amazonaws.com": {"kms:Decrypt", "kms:GenerateDataKey*"},
    "events.amazonaws.com": {"kms:Decrypt", "kms:GenerateDataKey"},
    "logs.{region}.amazonaws.com": {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*"},
}


def _region(environment: Environment) -> Found:
    region = environment.region
    # Only a warning, because the SDK's list of regions lags behind AWS.
    if region in environment.session.get_available_regions("rekognition"):
        return "ok", f"{region} has Rekognition"
    text = f"the SDK knows no Rekognition in {region}; where there is none every photo is parked: set"
    return "warning", f"{text} another aws_region"


def _tools(environment: Environment) -> Found:  # noqa: ARG001
    versions = ", ".join(f"{name} {version}" for name, version in terraform.locked_providers().items())
    return "ok", f"{terraform.executable()}, {versions}"


def _state_bucket(environment: Environment) -> Found:
    bucket, name = environment.state_bucket, environment.name
    if not state.bucket_exists(environment, environment.account()):
        if environment.local:
            return "ok", f"{bucket} is made with the first apply"
        return "fails", f"{bucket} does not exist; 'make bootstrap ENV={name}' makes it"
    missing = state.lacking(environment)
    return ("warning", f"{bucket} lacks {', '.join(missing)}") if missing else ("ok", bucket)


def _reserved(environment: Environment) -> dict[str, int]:
    """The concurrency each function reserves in the settings."""
    return {
        name: int(count)
        for name in ("process_image", "send_notification", "convert")
        if (count := (environment.settings.get(name) or {}).get("reserved_concurrency"))
    }


def _concurrency(environment: Environment) -> Found:
    if environment.local:
        # The local cloud allows few workers, but accepts every reservation.
        return None
    client = environment.client("lambda")
    limits = client.get_account_settings()["AccountLimit"]
    total, free = int(limits["ConcurrentExecutions"]), int(limits["UnreservedConcurrentExecutions"])
    wanted = _reserved(environment)
    # What the stack's functions already reserve is available to them.
    functions = (state.outputs(environment).get("function_names") or {}).values()
    answers = [client.get_function_concurrency(FunctionName=name) for name in functions]
    held = sum(int(answer.get("ReservedConcurrentExecutions", 0)) for answer in answers)
    left = free + held - sum(wanted.values())
    raising = (
        "raise it with 'aws service-quotas request-service-quota-increase --service-code lambda --quota-code"
        f" L-B99A9384 --desired-value 1000 --region {environment.region}', or set reserved_concurrency = null"
    )
    if left < _LEAST_UNRESERVED and wanted:
        reserved = ", ".join(f"{name} {count}" for name, count in wanted.items())
        return "fails", f"the account allows {total}, and {reserved} are to be reserved; {raising}"
    if left < _USUAL_UNRESERVED:
        return "warning", f"{left} of the account's {total} are left for everything else; {raising}"
    return "ok", f"{left} of {total} left for other functions"


def pace(environment: Environment) -> float | None:
    """The most photos a second the settings allow, assuming a second a photo; None if there is no limit."""
    ingestion, reserved = environment.settings.get("ingestion") or {}, _reserved(environment)
    if ingestion.get("mode") == "buffered":
        return float(ingestion.get("photos_per_second") or reserved.get("process_image", 45))
    return reserved.get("process_image")


def _quota(service: str, words: tuple[str, ...], what: str, environment: Environment) -> Found:
    """Compare the pace with the lowest quota of `service` whose name contains all `words`."""
    pages = environment.client("service-quotas").get_paginator("list_service_quotas")
    listed = pages.paginate(ServiceCode=service).search("Quotas[]")
    held = [float(one["Value"]) for one in listed if all(word in one["QuotaName"].lower() for word in words)]
    quota, wanted = min(held, default=None), pace(environment)
    if quota is None:
        return "not checked", f"Service Quotas lists no {what} in this region"
    if wanted is None:
        return "warning", f"{quota:g} {what} a second are allowed, and nothing bounds the pace; set ingestion"
    found = f"{wanted:g} photos a second, of {quota:g} {what} allowed"
    return "ok" if wanted <= quota else "warning", found


def _subscriptions(environment: Environment, protocol: str) -> list[str]:
    """Endpoints of the settings' subscriptions with `protocol`."""
    both = [environment.settings.get(name) or {} for name in ("subscriptions", "alert_subscriptions")]
    return [
        str(one["endpoint"]) for named in both for one in named.values() if one.get("protocol") == protocol
    ]


def _email(environment: Environment) -> Found:
    wanted = pace(environment)
    if _subscriptions(environment, "email") and (wanted is None or wanted > _EMAILS_PER_SECOND):
        text = f"SNS sends {_EMAILS_PER_SECOND} emails a second and switches a subscription off above that;"
        return "warning", f"{text} give it outcomes = [...] that are rarer"
    return None


def _sms(environment: Environment) -> Found:
    if not (numbers := _subscriptions(environment, "sms")):
        return None
    client = environment.client("sns")
    if client.get_sms_sandbox_account_status()["IsInSandbox"]:
        pages = client.get_paginator("list_sms_sandbox_phone_numbers").paginate()
        verified = set(pages.search("PhoneNumbers[?Status=='Verified'].PhoneNumber"))
        if left := [number for number in numbers if number not in verified]:
            text = f"the account is in the SMS sandbox, and {', '.join(left)} gets nothing: verify it in the"
            return "warning", f"{text} console, or leave the sandbox"
    in_us = any(number.startswith("+1") for number in numbers)
    if in_us and not client.list_origination_numbers().get("PhoneNumbers"):
        return "warning", "numbers in the US need an origination identity; register one for +1"
    return "ok", f"{len(numbers)} SMS subscriptions"


def _confirmed(environment: Environment) -> Found:
    outputs = state.outputs(environment)
    topics = [outputs[name] for name in ("results_topic_arn", "alerts_topic_arn") if name in outputs]
    pages = environment.client("sns").get_paginator("list_subscriptions_by_topic")
    unconfirmed = "Subscriptions[?SubscriptionArn=='PendingConfirmation'].Endpoint"
    if pending := [one for topic in topics for one in pages.paginate(TopicArn=topic).search(unconfirmed)]:
        return "warning", f"never confirmed: {', '.join(pending)}; confirm the email SNS sent there"
    return ("ok", "all subscriptions are confirmed") if topics else None


def _notifications(environment: Environment) -> Found:
    if not (bucket := state.outputs(environment).get("uploads_bucket_name")):
        return None
    answer = environment.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    if others := sorted(answer.keys() - {"EventBridgeConfiguration", "ResponseMetadata"}):
        return "warning", f"{bucket} has {', '.join(others)} that an apply removes: move them to EventBridge"
    return "ok", f"{bucket} notifies EventBridge alone"


def _key(environment: Environment) -> Found:
    if not (arn := environment.settings.get("kms_key_arn")):
        return None
    client = environment.client("kms")
    found = client.describe_key(KeyId=arn)["KeyMetadata"]
    if found["KeyState"] != "Enabled":
        return "fails", f"{arn} is {found['KeyState']}; enable it"
    statements = json.loads(client.get_key_policy(KeyId=arn, PolicyName="default")["Policy"])["Statement"]
    for service, wanted in _KEY_USERS.items():
        name = service.format(region=environment.region)
        allowed = {
            action
            for one in statements
            if one["Effect"] == "Allow" and name in _listed(one.get("Principal"), "Service")
            for action in _listed(one, "Action")
        }
        missing = sorted(wanted - allowed)
        if missing and "kms:*" not in allowed:
            text = f"the policy of {arn} does not let {name} do {', '.join(missing)}; see docs/security.md"
            return "fails", text
    return "ok", f"{arn} is enabled and serves CloudWatch, EventBridge and Logs"


def _listed(value: Any, name: str) -> list[str]:
    found = value.get(name, []) if isinstance(value, dict) else []
    return [found] if isinstance(found, str) else list(found)


def _opt_out(environment: Environment) -> Found:
    client = environment.client("organizations", "us-east-1")
    content = client.describe_effective_policy(PolicyType="AISERVICES_OPT_OUT_POLICY")["EffectivePolicy"]
    services = json.loads(content["PolicyContent"])["services"]
    chosen = {**services.get("default", {}), **services.get("rekognition", {})}.get("opt_out_policy")
    if chosen == "optOut":
        return "ok", "AWS does not keep photos to improve Rekognition"
    return "warning", "AWS may keep photos to improve Rekognition; opt out in AWS Organizations"


def _in_flight(environment: Environment) -> Found:
    """Both types of workflow exist (docs/decisions/0013): executions of the old one end there."""
    arns = state.outputs(environment).get("state_machine_arns") or {}
    wanted = environment.settings.get("workflow_type", "STANDARD")
    if wanted != "EXPRESS" or not (old := arns.get("STANDARD")):
        return None
    client = environment.client("stepfunctions")
    running = client.list_executions(stateMachineArn=old, statusFilter="RUNNING", maxResults=1000)
    return "ok", f"{len(running['executions']):,} executions in flight in the STANDARD workflow end there"


# The subject of each check, the IAM action it needs, and the check itself.
CHECKS: tuple[tuple[str, str, Callable[[Environment], Found]], ...] = (
    ("region", "", _region),
    ("Terraform", "", _tools),
    ("state bucket", "s3:GetBucketVersioning", _state_bucket),
    ("Lambda concurrency", "lambda:GetAccountSettings", _concurrency),
    ("Rekognition quota", _QUOTAS, partial(_quota, "rekognition", ("detectfaces",), "calls of DetectFaces")),
    ("Step Functions quota", _QUOTAS, partial(_quota, "states", ("startexecution", "refill"), "executions")),
    ("email", "", _email),
    ("SMS", "sns:GetSMSSandboxAccountStatus", _sms),
    ("subscriptions", "sns:ListSubscriptionsByTopic", _confirmed),
    ("bucket notifications", "s3:GetBucketNotification", _notifications),
    ("encryption key", "kms:GetKeyPolicy", _key),
    ("AI opt-out", "organizations:DescribeEffectivePolicy", _opt_out),
    ("workflow", "states:ListExecutions", _in_flight),
)
