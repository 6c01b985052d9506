"""What a plan of Terraform's changes, and which data it loses."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rich.console import Console

    Days = Callable[[Mapping[str, Any]], float]

ACTIONS = ("create", "update", "replace", "delete")

_SYMBOLS = {"create": "+", "delete": "-", "read": "<=", "replace": "-/+", "update": "~"}
_LONGEST_VALUE = 60
_MISSING = "(not set)"
_UNKNOWN = "(known after apply)"
# How the local cloud reads back what it did not keep: as nothing, or as AWS's default.
_FORGOTTEN = frozenset({_MISSING, "0", '""', "[]", "{}", "false", '"missing"'})


def _expires(block: str, days: str) -> Days:
    """Days after which a bucket's lifecycle rules delete something: the soonest of those that are on."""
    return lambda values: min(
        (
            one.get(days) or math.inf
            for rule in values.get("rule") or ()
            if rule.get("status") == "Enabled"
            for one in rule.get(block) or ()
        ),
        default=math.inf,
    )


def _switched_on(block: str, name: str, on: object) -> Days:
    return lambda values: math.inf if any(one.get(name) == on for one in values.get(block) or ()) else 0


# What goes with a resource that is destroyed or replaced; protect_data holds those of HOLDS_DATA.
HOLDS_DATA = {
    "aws_dynamodb_table": "destroys the records in it",
    "aws_kms_key": "destroys what is encrypted with it",
    "aws_s3_bucket": "destroys the photos in it",
    "aws_sqs_queue": "destroys the events in it",
}
_DESTROYED = HOLDS_DATA | {
    "aws_cloudwatch_log_group": "destroys the logs in it",
    "aws_sfn_state_machine": "ends its executions in flight, and destroys their history",
}

# How many days a resource keeps something, by its values, and what goes when they become fewer.
_KEPT: dict[str, tuple[tuple[Days, str], ...]] = {
    "aws_cloudwatch_log_group": (
        (lambda values: values.get("retention_in_days") or math.inf, "deletes logs older than {}"),
    ),
    "aws_dynamodb_table": (
        (_switched_on("point_in_time_recovery", "enabled", True), "ends its point-in-time recovery"),
    ),
    "aws_s3_bucket_lifecycle_configuration": (
        (_expires("expiration", "days"), "deletes photos older than {}"),
        (
            _expires("noncurrent_version_expiration", "noncurrent_days"),
            "deletes photos replaced or deleted more than {} ago",
        ),
    ),
    "aws_s3_bucket_versioning": (
        (_switched_on("versioning_configuration", "status", "Enabled"), "keeps no replaced photos any more"),
    ),
    "aws_sqs_queue": (
        (
            lambda values: (values.get("message_retention_seconds") or math.inf) / 86_400,
            "deletes events older than {}",
        ),
    ),
}


def _days(count: float) -> str:
    return "1 day" if count == 1 else f"{count:g} days"


@dataclass(frozen=True)
class Change:
    """What a plan does to one resource: ``create``, ``update``, ``replace`` or ``delete``.

    Attributes:
        before: its values as they are, none for one to be created.
        after: its values as they will be, without those only an apply finds out.
        unknown: those, true in the place of each.
    """

    address: str
    type: str
    action: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def losses(self) -> str:
        """What data goes, such as "deletes logs older than 7 days"; empty when none does."""
        if self.action in ("delete", "replace") and self.type in _DESTROYED:
            return _DESTROYED[self.type]
        # What is new holds nothing, but rules can be new to a bucket that is there; then its name is known.
        if self.action == "create" and "bucket" not in self.after:
            return ""
        return ", ".join(
            phrase.format(_days(days(self.after)))
            for days, phrase in _KEPT.get(self.type, ())
            if days(self.after) < days(self.before)
        )

    @property
    def destroys_data(self) -> bool:
        """Whether photos, records, parked events or their key are destroyed."""
        return self.action in ("delete", "replace") and self.type in HOLDS_DATA

    @property
    def attributes(self) -> dict[str, tuple[str, str]]:
        """Old and new value of each attribute of a changed resource that differs, as text, by its path."""
        if self.action not in ("update", "replace"):
            return {}
        return dict(_differences("", self.before, self.after, self.unknown))

    def as_json(self) -> dict[str, Any]:
        """Return address and action, and where there are some the changed attributes and the losses."""
        found: dict[str, Any] = {"address": self.address, "action": self.action}
        if self.attributes:
            found["attributes"] = {
                name: {"old": old, "new": new} for name, (old, new) in self.attributes.items()
            }
        return found | {"losses": self.losses} if self.losses else found


def _differences(path: str, before: Any, after: Any, unknown: Any) -> Iterator[tuple[str, tuple[str, str]]]:
    if unknown is True:
        yield path, (_value(before), _UNKNOWN)
        return
    before, after = _parsed(before), _parsed(after)
    if isinstance(before, list) and isinstance(after, list):
        before, after = dict(enumerate(before)), dict(enumerate(after))
        unknown = dict(enumerate(unknown)) if isinstance(unknown, list) else {}
    if isinstance(before, dict) and isinstance(after, dict):
        unknown = unknown if isinstance(unknown, dict) else {}
        for name in dict.fromkeys([*before, *after, *unknown]):
            inner = f"{path}[{name}]" if isinstance(name, int) else f"{path}.{name}".lstrip(".")
            yield from _differences(inner, before.get(name), after.get(name), unknown.get(name))
    elif before != after:
        yield path, (_value(before), _value(after))


def _parsed(value: Any) -> Any:
    """A policy or a definition in JSON as what it says, so that its parts can be compared."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _value(value: Any) -> str:
    text = _MISSING if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


@dataclass(frozen=True)
class Summary:
    """What a plan does, in the order Terraform lists it."""

    changes: tuple[Change, ...]

    def count(self, action: str) -> int:
        return sum(change.action == action for change in self.changes)

    @property
    def losses(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.losses)

    def as_json(self) -> dict[str, Any]:
        """Return counts by action, every change, and the addresses whose data is lost."""
        return {
            **{action: self.count(action) for action in ACTIONS},
            "changes": [change.as_json() for change in self.changes],
            "loses_data": [change.address for change in self.losses],
        }

    def show(self, console: Console) -> None:
        """Print each change, with its attributes; what loses data stands out."""
        for change in self.changes:
            warning = f"  {change.losses}" if change.losses else ""
            style = "bold red" if change.losses else None
            line = f"{_SYMBOLS.get(change.action, change.action):>4} {change.address}{warning}"
            console.print(line, style=style, highlight=False, markup=False)
            for name, (old, new) in change.attributes.items():
                console.print(f"       {name}: {old} -> {new}", style="dim", highlight=False, markup=False)

    def counts(self) -> str:
        """The counts in words: "2 to create, 1 to delete"."""
        return ", ".join(f"{count} to {action}" for action in ACTIONS if (count := self.count(action)))


def summarise(resources: Iterable[dict[str, Any]], *, local: bool = False) -> Summary:
    """Return what the `resource_changes` of a plan that Terraform shows as JSON come to.

    Args:
        local: leave out what the local cloud reads back falsely (docs/quirks.md).
    """
    return Summary(tuple(change for change in _changes(resources) if not (local and _is_false(change))))


def _changes(resources: Iterable[dict[str, Any]]) -> Iterator[Change]:
    for resource in resources:
        change = resource["change"]
        actions = change["actions"]
        if resource["mode"] != "managed" or actions == ["no-op"]:
            continue
        yield Change(
            resource["address"],
            resource["type"],
            "replace" if len(actions) == 2 else actions[0],
            change["before"] or {},
            change["after"] or {},
            change.get("after_unknown") or {},
        )


def _is_false(change: Change) -> bool:
    """Whether the local cloud only forgot what it was given: it reads back nothing for these."""
    forgetful = {"aws_cloudwatch_metric_alarm": "", "aws_sfn_state_machine": "tracing_configuration"}
    prefix = forgetful.get(change.type)
    return (
        prefix is not None
        and change.action == "update"
        and all(
            name.startswith(prefix) and (new == _UNKNOWN or old in _FORGOTTEN)
            for name, (old, new) in change.attributes.items()
        )
    )
