"""The settings of this function, from its environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_rekognition.literals import AttributeType


class ConfigurationError(Exception):
    """An environment variable is missing or unusable; the message names it."""


@dataclass(frozen=True)
class Settings:
    """`min_confidence` is in percent; `retention_days` None keeps records for ever.

    `convert`: whether ConvertImage analyses files that Rekognition does not accept.
    """

    table: str
    attributes: list[AttributeType]
    min_confidence: float
    retention_days: int | None
    log_object_keys: bool
    convert: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Raises ConfigurationError naming the variable."""
        try:
            confidence = environment["FACE_MIN_CONFIDENCE"]
            days = environment["RECORD_RETENTION_DAYS"]
            return cls(
                table=environment["RESULTS_TABLE"],
                attributes=cast("list[AttributeType]", environment["FACE_ATTRIBUTES"].split(",")),
                min_confidence=_percent("FACE_MIN_CONFIDENCE", confidence),
                retention_days=_days("RECORD_RETENTION_DAYS", days) or None,
                log_object_keys=environment["LOG_OBJECT_KEYS"] == "true",
                convert=environment["CONVERT_IMAGES"] == "true",
            )
        except KeyError as missing:
            raise ConfigurationError(f"environment variable {missing.args[0]} is not set") from None


def _percent(name: str, text: str) -> float:
    try:
        percent = float(text)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise ConfigurationError(f"environment variable {name} is not a number from 0 to 100: {text!r}")
    return percent


def _days(name: str, text: str) -> int:
    if not text.isdecimal():
        raise ConfigurationError(f"environment variable {name} is not a whole number of days: {text!r}")
    return int(text)
