"""Deletes versions of objects for good, whatever characters their keys hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# DeleteObjects takes so many: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
BATCH = 1000
# XML 1.0, in which DeleteObjects is asked, cannot hold these: https://www.w3.org/TR/xml/#charsets
NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def delete(client: Any, bucket: str, versions: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Delete versions, each a key and a version's id; return S3's error for each of those it keeps.

    At most BATCH at a time. Raises botocore's ClientError when S3 refuses the whole request.
    """
    odd = [version for version in versions if NOT_IN_XML.search(version[0])]
    for key, version_id in odd:
        client.delete_object(Bucket=bucket, Key=key, VersionId=version_id)
    others = [
        {"Key": key, "VersionId": version_id} for key, version_id in versions if not NOT_IN_XML.search(key)
    ]
    if not others:
        return []
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": others, "Quiet": True})
    errors: list[dict[str, str]] = answer.get("Errors", [])
    return errors
