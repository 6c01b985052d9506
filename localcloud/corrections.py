"""Corrections of MiniStack where it differs from AWS in ways that matter here."""

from __future__ import annotations

import functools
import json
import re
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import unescape

from ministack.core import iam_actions, iam_evaluator
from ministack.services import lambda_svc, s3

_KEYS = re.compile(r"<(Key|Prefix|Delimiter|KeyMarker|NextKeyMarker)>(.*?)</\1>", re.DOTALL)


def apply() -> None:
    """Patch MiniStack with the corrections."""
    lambda_svc._throttle_response = _named_throttling(lambda_svc._throttle_response)
    s3._list_object_versions = _url_encoded(s3._list_object_versions)
    s3._list_multipart_uploads = _url_encoded(s3._list_multipart_uploads)
    s3._list_objects_v1 = _unless_request_payment(s3._list_objects_v1)
    iam_evaluator._fnmatch_compile = _across_lines(iam_evaluator._fnmatch_compile)
    iam_actions.extract_iam_action = _one_message_or_many(iam_actions.extract_iam_action)
    iam_actions.extract_resource_arn = _rules_and_roles(iam_actions.extract_resource_arn)


def _named_throttling(original: Any) -> Any:
    """An invocation over the account's limit fails with AWS's error name, which workflows retry."""

    def throttle_response(*arguments: Any, **named: Any) -> Any:
        answer = original(*arguments, **named)
        answer["body"]["errorType"] = "Lambda.TooManyRequestsException"
        return answer

    return throttle_response


def _url_encoded(original: Any) -> Any:
    """A listing encodes keys if requested, because XML cannot hold every character of a key."""

    def listing(bucket: str, query: dict[str, list[str]]) -> Any:
        status, headers, body = original(bucket, query)
        if status == 200 and query.get("encoding-type") == ["url"]:
            body = _KEYS.sub(_encoded, body.decode()).encode()
            body = body.replace(b"<IsTruncated>", b"<EncodingType>url</EncodingType><IsTruncated>", 1)
        return status, headers, body

    return listing


def _unless_request_payment(original: Any) -> Any:
    """GetBucketRequestPayment is not a listing; MiniStack expects another parameter name for it."""

    def listing(bucket: str, query: dict[str, list[str]]) -> Any:
        if "requestPayment" in query:
            return s3._get_bucket_request_payment(bucket)
        return original(bucket, query)

    return listing


def _encoded(found: re.Match[str]) -> str:
    return f"<{found[1]}>{quote(unescape(found[2]))}</{found[1]}>"


def _across_lines(original: Any) -> Any:
    """An asterisk in a policy matches any characters of a key, including line breaks."""

    @functools.lru_cache(maxsize=4096)
    def compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        found: re.Pattern[str] = original(pattern, ignore_case)
        return re.compile(found.pattern.removesuffix("$") + r"\Z", found.flags | re.DOTALL)

    return compiled


def _one_message_or_many(original: Any) -> Any:
    """A batch call needs the permission of the call for one message.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
    """

    def extract(service: str, *request: Any) -> Any:
        action = original(service, *request)
        return action.removesuffix("Batch") if service == "sqs" and action else action

    return extract


def _rules_and_roles(original: Any) -> Any:
    """A rule's ARN omits the default bus; listing its targets and simulating a role use the right resource.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoneventbridge.html
    """

    def extract(
        service: str, method: str, path: str, headers: Any, body: bytes, query_params: Any, *where: str
    ) -> str:
        if service == "events" and (rule := iam_actions._safe_json_field(body, "Rule")):
            body = json.dumps({**json.loads(body), "RuleName": rule}).encode()
        if service == "iam" and (role := iam_actions._query_param(query_params, "PolicySourceArn")):
            return str(role)
        found: str = original(service, method, path, headers, body, query_params, *where)
        return found.replace(":rule/default/", ":rule/") if service == "events" else found

    return extract
