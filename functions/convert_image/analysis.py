"""Read an upload, decode it, and call Rekognition with the bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from process_image.analysis import found, read, rejected
from process_image.settings import ConfigurationError

from .formats import FORMATS
from .sandbox import UnusableError, decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_rekognition import RekognitionClient
    from mypy_boto3_rekognition.literals import AttributeType
    from mypy_boto3_s3 import S3Client

    from process_image.analysis import Analysis
    from process_image.upload import Upload

# A file of this size and the largest picture that is decoded fit the function's default memory.
MAX_FILE_MB = 128


@dataclass(frozen=True)
class Limits:
    """What is converted: `formats` of FORMATS, at most `max_pixels` a side; `memory_mb` of the function."""

    formats: frozenset[str]
    max_pixels: int
    memory_mb: int | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Limits:
        """Raises ConfigurationError naming the variable."""
        try:
            formats = frozenset(environment["CONVERT_FORMATS"].split(","))
            max_pixels = environment["CONVERT_MAX_PIXELS"]
        except KeyError as missing:
            raise ConfigurationError(f"environment variable {missing.args[0]} is not set") from None
        if not formats <= FORMATS.keys():
            raise ConfigurationError(f"CONVERT_FORMATS has formats that are not known: {sorted(formats)}")
        if not max_pixels.isdecimal():
            raise ConfigurationError(f"CONVERT_MAX_PIXELS is not a whole number: {max_pixels!r}")
        memory = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        return cls(formats, int(max_pixels), int(memory) if memory else None)


def analyse(
    upload: Upload,
    *,
    rekognition: RekognitionClient,
    s3: S3Client,
    attributes: list[AttributeType],
    min_confidence: float,
    limits: Limits,
) -> Analysis:
    """Detect the faces in the uploaded version, or in the current one if the event has no version.

    The converted picture is not stored. Raises ObjectStorageError, DecoderError, and whatever Rekognition and
    S3 raise; a file that cannot be decoded is an outcome.
    """
    most = MAX_FILE_MB * 1024 * 1024
    # One byte more, to detect a larger file.
    data = read(upload, s3, length=most + 1)
    if not data:
        return rejected("gone" if data is None else "empty")
    if len(data) > most:
        return rejected("too_large", f"the file has more than {MAX_FILE_MB} MB; send a smaller copy")
    try:
        picture = decode(
            data, formats=limits.formats, max_pixels=limits.max_pixels, memory_mb=limits.memory_mb
        )
    except UnusableError as error:
        return replace(rejected(error.reason, error.detail), format=error.format)
    answer = rekognition.detect_faces(Image={"Bytes": picture.jpeg}, Attributes=attributes)
    return replace(
        found(answer["FaceDetails"], min_confidence),
        format=picture.format,
        converted=True,
        width=picture.width,
        height=picture.height,
    )
