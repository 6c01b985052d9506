"""Call Rekognition to detect faces, and turn its response into an outcome.

A photo that can never be analysed is an outcome, not an error: a retry would not help. All other errors from
Rekognition and S3 are left to the workflow to retry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError

from .outcomes import REASONS
from .picture import HEAD_BYTES, Picture

if TYPE_CHECKING:
    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.literals import AttributeType
    from mypy_boto3_s3 import S3Client

    from .outcomes import Outcome
    from .upload import Upload

# "Maximum image size stored as an Amazon S3 object is limited to 15 MB", "The minimum image dimensions is 80
# pixels for both height and width". https://docs.aws.amazon.com/rekognition/latest/dg/limits.html
MAX_IMAGE_BYTES = 15 * 1024 * 1024
MIN_SIDE = 80


class NeedsConversionError(Exception):
    """Rekognition does not accept the file, but ConvertImage reads more formats and sizes."""


class ObjectStorageError(Exception):
    """S3 did not respond; the message has the SDK's error but not the object."""


@dataclass(frozen=True)
class Analysis:
    """The result of analysing one photo.

    `faces`: Rekognition's FaceDetail objects, in its order, largest face first. For `rejected`, `reason`: a
    key of REASONS, and `detail`: the same for people, with what is known about the file. `format`, `width`
    and `height` (pixels, of the upright picture) are only known for files that ConvertImage decoded.
    """

    outcome: Outcome
    faces: tuple[dict[str, Any], ...] = ()
    reason: str | None = None
    detail: str | None = None
    format: str | None = None
    converted: bool = False
    width: int | None = None
    height: int | None = None


def rejected(reason: str, detail: str | None = None) -> Analysis:
    """The result for a photo that can never be analysed; `detail` defaults to the reason's text.

    Raises KeyError for a reason that is not in REASONS.
    """
    text = REASONS[reason]
    return Analysis("rejected", reason=reason, detail=detail or text)


def found(faces: list[Any], min_confidence: float) -> Analysis:
    """The outcome of DetectFaces' FaceDetails, without the faces below `min_confidence` (percent)."""
    kept = tuple(dict(face) for face in faces if face.get("Confidence", 100.0) >= min_confidence)
    return Analysis("face_detected" if kept else "no_face", kept)


def analyse(
    upload: Upload,
    *,
    rekognition: RekognitionClient,
    s3: S3Client,
    attributes: list[AttributeType],
    min_confidence: float,
    convert: bool = False,
) -> Analysis:
    """Detect the faces in the uploaded version, or in the current one if the event has no version.

    Faces below `min_confidence` (percent) are left out. Rekognition reads the object with the caller's
    credentials, so this function's role needs `s3:GetObject` and `s3:GetObjectVersion`.

    Raises NeedsConversionError if `convert`, for files that only ConvertImage may be able to analyse;
    ObjectStorageError; and whatever Rekognition and S3 raise, except errors that mean the photo is unusable.
    """
    if upload.size == 0:
        return rejected("empty")
    if upload.size is not None and upload.size > MAX_IMAGE_BYTES:
        if convert:
            raise NeedsConversionError
        return rejected(
            "too_large", f"the file has {upload.size / 1024**2:.1f} MB; at most 15 MB are analysed"
        )

    location = {"Bucket": upload.bucket, "Name": upload.key}
    if upload.version_id:
        location["Version"] = upload.version_id
    errors = rekognition.exceptions
    try:
        answer = rekognition.detect_faces(Image={"S3Object": location}, Attributes=attributes)  # type: ignore[typeddict-item]
    except errors.InvalidS3ObjectException:
        # The same error means a missing object or a missing permission; only the former is final.
        if read(upload, s3, length=0) is None:
            return rejected("gone")
        raise
    except (
        errors.ImageTooLargeException,
        errors.InvalidImageFormatException,
        errors.InvalidParameterException,
    ) as error:
        # Any other invalid parameter is the fault of this function or its settings, not of the picture.
        code = error.response["Error"]
        if code["Code"] == "InvalidParameterException" and "dimension" not in code["Message"].lower():
            raise
        if convert:
            raise NeedsConversionError from None
        return _refused(code["Code"], read(upload, s3, length=HEAD_BYTES))
    return found(answer["FaceDetails"], min_confidence)


def _refused(code: str, head: bytes | None) -> Analysis:
    """The rejection of a file that Rekognition refused, by error code and `head` (None: the file is gone)."""
    if not head:
        return rejected("gone" if head is None else "empty")
    picture = Picture.read(head)
    size = f"{picture.width} x {picture.height} pixels" if picture.width else None
    if code == "InvalidParameterException":
        return rejected("too_small", size and f"{size}; at least {MIN_SIDE} x {MIN_SIDE} are needed")
    if code == "ImageTooLargeException":
        many = f"{size}, more" if size else "the picture has more pixels, or the file more bytes,"
        return rejected("too_large", f"{many} than can be analysed; send a smaller copy")
    if picture.format:
        kind = f"the file is a {picture.format} picture that cannot be read"
        return rejected("unsupported_format", f"{kind}: damaged, cut short or of a rare kind; save it anew")
    return rejected(
        "unsupported_format", "the file is not a JPEG or PNG picture; send a photo as one of them"
    )


def read(upload: Upload, s3: S3Client, *, length: int) -> bytes | None:
    """At most the first `length` bytes of the object; None when it is gone.

    For a missing object, S3 returns 404 to callers with `s3:ListBucket`; 403 to others, which is raised.
    """
    where = {"Bucket": upload.bucket, "Key": upload.key}
    if upload.version_id:
        where["VersionId"] = upload.version_id
    try:
        if length:
            answer = s3.get_object(Range=f"bytes=0-{length - 1}", **where)  # type: ignore[arg-type]
            return answer["Body"].read()
        s3.head_object(**where)  # type: ignore[arg-type]
    except s3.exceptions.ClientError as error:
        # A response to HEAD has no body, so check the status. 405: the version is a delete marker.
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status in {404, 405}:
            return None
        # The range cannot be satisfied, because the object is empty.
        if status == 416:
            return b""
        raise
    except BotoCoreError as error:
        # The SDK's message has the URL, and so the key, which can name a person.
        raise ObjectStorageError(f"S3 did not answer: {type(error).__name__}") from None
    return b""
