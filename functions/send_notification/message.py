"""The texts of a notification, one for each kind of subscriber."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# "Subjects must be ASCII text that begins with a letter, number, or punctuation mark; must not include line
# breaks or control characters; and must be less than 100 characters long."
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
MAX_SUBJECT_CHARACTERS = 99

# In UTF-16 units; an emoji takes two. With any character outside the GSM alphabet, each part of a long SMS
# holds 67; at most two parts are sent, less one unit because an emoji is not split between them.
# https://docs.aws.amazon.com/sns/latest/dg/sms_publish-to-phone.html
MAX_SMS_UNITS = 133

_HEADLINES = {
    "face_detected": "Face detected in image",
    "no_face": "No face detected in image",
    "rejected": "Image could not be analysed",
}
# Fields of a summary for the workflow only.
_INTERNAL = {"duplicate", "execution_id", "notify", "retry_count"}


@dataclass(frozen=True)
class Message:
    """`bodies`: texts by SNS protocol, `default` for all others. `attributes`: for filter policies."""

    subject: str
    bodies: dict[str, str]
    attributes: dict[str, dict[str, str]]


def compose(result: Mapping[str, Any]) -> Message:
    """The message for a summary of ProcessImage.

    Email gets a sentence with details, SMS a short text, everything else JSON with the exact object key.
    Raises KeyError naming a missing field.
    """
    outcome = str(result["outcome"])
    headline = f"{_HEADLINES[outcome]}: {printable(str(result['key']))}"
    email = [headline]
    if outcome == "face_detected":
        email.append(f"Faces: {result['face_count']}")
    if outcome == "rejected":
        email.append(f"Reason: {result.get('detail') or result['reason']}")
    email += [f"Bucket: {result['bucket']}", f"Time: {result['timestamp']}"]
    facts = {name: value for name, value in result.items() if name not in _INTERNAL and value is not None}
    return Message(
        subject=shortened(headline.encode("ascii", "replace").decode("ascii"), MAX_SUBJECT_CHARACTERS),
        bodies={
            "default": json.dumps(facts),
            "email": "\n".join(email),
            "sms": shortened(headline, MAX_SMS_UNITS),
        },
        attributes={
            "outcome": {"DataType": "String", "StringValue": outcome},
            "face_count": {"DataType": "Number", "StringValue": str(result["face_count"])},
            "key_prefix": {"DataType": "String", "StringValue": key_prefix(str(result["key"]))},
        },
    )


def key_prefix(key: str) -> str:
    """The key up to and including its last `/`, or `/` if it has none: never empty, as SNS requires."""
    return printable(key[: key.rfind("/") + 1]) or "/"


def printable(text: str) -> str:
    """The text on one line, with U+FFFD for characters that neither people nor XML can read."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in {"Cc", "Cn", "Cs", "Zl", "Zp"} else char
        for char in text
    )


def shortened(text: str, limit: int) -> str:
    """The text in at most `limit` UTF-16 units (in ASCII: characters), with its middle left out.

    The beginning has the outcome, the end the file's name.
    """
    units = text.encode("utf-16-le")
    if len(units) <= 2 * limit:
        return text
    tail = limit // 2
    # Half of a surrogate pair decodes to nothing.
    head, end = units[: 2 * (limit - tail - 3)], units[-2 * tail :]
    return f"{head.decode('utf-16-le', 'ignore')}...{end.decode('utf-16-le', 'ignore')}"
