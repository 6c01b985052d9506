"""The settings of this function, from its environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ConfigurationError(Exception):
    """An environment variable is missing or unusable; the message names it."""


@dataclass(frozen=True)
class Settings:
    """`photos_per_second`: this worker's share of the pace; `photos_per_day`: the overall cap, or None."""

    state_machine_arn: str
    queue_url: str
    dead_letter_queue_url: str
    photos_per_second: float
    photos_per_day: int | None
    counts_table: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Raises ConfigurationError naming the variable."""
        try:
            return cls(
                state_machine_arn=environment["STATE_MACHINE_ARN"],
                queue_url=environment["QUEUE_URL"],
                dead_letter_queue_url=environment["DEAD_LETTER_QUEUE_URL"],
                photos_per_second=_positive("PHOTOS_PER_SECOND", environment["PHOTOS_PER_SECOND"]),
                photos_per_day=_whole("PHOTOS_PER_DAY", environment["PHOTOS_PER_DAY"]) or None,
                counts_table=environment["COUNTS_TABLE"],
            )
        except KeyError as missing:
            raise ConfigurationError(f"environment variable {missing.args[0]} is not set") from None


def _positive(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigurationError(f"environment variable {name} is not a number above 0: {text!r}")
    return number


def _whole(name: str, text: str) -> int:
    if not text.isdecimal():
        raise ConfigurationError(f"environment variable {name} is not a whole number: {text!r}")
    return int(text)
