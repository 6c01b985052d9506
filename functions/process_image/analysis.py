"""Ask Rekognition for faces and turn its answer into an outcome.

A photo that can never be analysed is an outcome, not an error: trying again would not change it. Everything
else Rekognition or S3 raise passes through untouched, for the workflow to retry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.literals import AttributeType
    from mypy_boto3_s3 import S3Client

    from .upload import Upload

Outcome = Literal["face_detected", "no_face", "rejected"]
Reason = Literal["empty", "gone", "too_large", "too_small", "unsupported_format"]

# "Maximum image size stored as an Amazon S3 object is limited to 15 MB."
# https://docs.aws.amazon.com/rekognition/latest/dg/limits.html
MAX_IMAGE_BYTES = 15 * 1024 * 1024


class ObjectStorageError(Exception):
    """S3 gave no answer; the message names the SDK's error and no object."""


@dataclass(frozen=True)
class Analysis:
    """`faces`: Rekognition's FaceDetail objects, largest face first as Rekognition orders them."""

    outcome: Outcome
    faces: tuple[dict[str, Any], ...] = ()
    reason: Reason | None = None


def analyse(
    upload: Upload,
    *,
    rekognition: RekognitionClient,
    s3: S3Client,
    attributes: list[AttributeType],
    min_confidence: float,
) -> Analysis:
    """Detect the faces in the uploaded version, or in the current one where the event names no version.

    Faces below `min_confidence` (percent) are left out. Rekognition reads the object with the caller's
    credentials, so this function's role needs `s3:GetObject` and `s3:GetObjectVersion`.

    Raises ObjectStorageError, and whatever Rekognition and S3 raise apart from the errors that mean the photo
    itself is unusable.
    """
    if upload.size == 0:
        return Analysis("rejected", reason="empty")
    if upload.size is not None and upload.size > MAX_IMAGE_BYTES:
        return Analysis("rejected", reason="too_large")

    location = {"Bucket": upload.bucket, "Name": upload.key}
    if upload.version_id:
        location["Version"] = upload.version_id
    try:
        answer = rekognition.detect_faces(Image={"S3Object": location}, Attributes=attributes)  # type: ignore[typeddict-item]
    except rekognition.exceptions.InvalidImageFormatException:
        return Analysis("rejected", reason="unsupported_format")
    except rekognition.exceptions.ImageTooLargeException:
        return Analysis("rejected", reason="too_large")
    except rekognition.exceptions.InvalidParameterException:
        # Bucket, key and version come from S3 and the attributes are checked at plan time, so the parameter
        # that can be wrong is the picture: Rekognition refuses under 80 pixels a side this way.
        return Analysis("rejected", reason="too_small")
    except rekognition.exceptions.InvalidS3ObjectException:
        # One error for a missing object and for a missing permission; only the first is final.
        if _is_gone(upload, s3):
            return Analysis("rejected", reason="gone")
        raise
    faces = tuple(
        dict(face) for face in answer["FaceDetails"] if face.get("Confidence", 100.0) >= min_confidence
    )
    return Analysis("face_detected" if faces else "no_face", faces)


def _is_gone(upload: Upload, s3: S3Client) -> bool:
    """S3 answers 404 for a missing object to callers with `s3:ListBucket`; 403 to others, which is raised."""
    version = {"VersionId": upload.version_id} if upload.version_id else {}
    try:
        s3.head_object(Bucket=upload.bucket, Key=upload.key, **version)  # type: ignore[arg-type]
    except s3.exceptions.ClientError as error:
        # An answer to HEAD has no body, so the status is all there is. 405: the version is a delete marker.
        if error.response["Error"]["Code"] in {"404", "405"}:
            return True
        raise
    except BotoCoreError as error:
        # The SDK's own words hold the URL, and with it the key, which can name a person.
        raise ObjectStorageError(f"S3 did not answer HeadObject: {type(error).__name__}") from None
    return False
