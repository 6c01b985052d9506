"""Terraform plans: what they change, which data they lose, and which files the saved one was made from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import subprocess
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from operations import options
from operations.errors import UserError
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from operations.environments import Environment

ACTIONS = ("create", "update", "replace", "delete")

# The sources of a plan, besides the state: if one of them changes, the saved plan is stale.
_SOURCES = (
    *("*.tf", ".terraform.lock.hcl", "*.auto.tfvars", "terraform.tfvars"),
    *("modules/*/*.tf", "modules/*/*.json", "functions/**/*.py", "functions/**/*.lock"),
    *("functions/*/packages.txt", "tools/package.py"),
)
_SYMBOLS = {"create": "+", "delete": "-", "replace": "-/+", "update": "~"}
_LONGEST_VALUE = 60
_MISSING = "(not set)"
_UNKNOWN = "(known after apply)"
# Values the local cloud returns for attributes it does not store: nothing, or AWS's default.
_FORGOTTEN = frozenset({_MISSING, "0", '""', "false", '"missing"'})

# What is lost when a resource is destroyed or replaced; protect_data protects those in HOLDS_DATA.
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


@dataclass(frozen=True)
class Change:
    """What a plan does to one resource: ``create``, ``update``, ``replace`` or ``delete``.

    Attributes:
        attributes: old and new value, as text, of each attribute an update or replacement changes, by path.
        losses: what data is lost, such as "deletes logs older than 7 days"; empty if none is.
    """

    address: str
    type: str
    action: str
    attributes: Mapping[str, tuple[str, str]]
    losses: str

    def as_json(self) -> dict[str, Any]:
        """Return address and action, and the changed attributes and losses if there are any."""
        attributes = {name: {"old": old, "new": new} for name, (old, new) in self.attributes.items()}
        more = {"attributes": attributes, "losses": self.losses}
        return {"address": self.address, "action": self.action} | {k: v for k, v in more.items() if v}


def changes(resources: Iterable[Mapping[str, Any]], *, local: bool = False) -> list[Change]:
    """Return the changes in the `resource_changes` of a plan that Terraform shows as JSON, in its order.

    With `local`, changes that only come from the local cloud's wrong answers are left out (docs/quirks.md).
    """
    found = []
    for resource in resources:
        change, kind = resource["change"], resource["type"]
        if resource["mode"] != "managed" or change["actions"] == ["no-op"]:
            continue
        action = "replace" if len(change["actions"]) == 2 else change["actions"][0]
        before, after = change["before"] or {}, change["after"] or {}
        attributes = {}
        if action in ("update", "replace"):
            attributes = _differences(before, after, change.get("after_unknown") or {})
        if not (local and action == "update" and _is_false(kind, attributes)):
            losses = _losses(kind, action, before, after)
            found.append(Change(resource["address"], kind, action, attributes, losses))
    return found


def _losses(kind: str, action: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if action in ("delete", "replace") and kind in _DESTROYED:
        return _DESTROYED[kind]
    # A new resource holds no data. But rules can be new for an existing bucket, whose name is then known.
    if action == "create" and "bucket" not in after:
        return ""
    was, will = _kept(kind, before), _kept(kind, after)
    return ", ".join(
        phrase.format("1 day" if days == 1 else f"{days:g} days")
        for phrase, days in will.items()
        if days < was[phrase]
    )


def _kept(kind: str, values: Mapping[str, Any]) -> dict[str, float]:
    """How many days a resource keeps its data, by the phrase for what a lower number does."""

    def is_on(block: str, name: str, on: object) -> float:
        return math.inf if any(one.get(name) == on for one in values.get(block) or ()) else 0

    def expires(block: str, days: str) -> float:
        rules = [rule for rule in values.get("rule") or () if rule.get("status") == "Enabled"]
        ends = [one.get(days) or math.inf for rule in rules for one in rule.get(block) or ()]
        return min(ends, default=math.inf)

    match kind:
        case "aws_cloudwatch_log_group":
            return {"deletes logs older than {}": values.get("retention_in_days") or math.inf}
        case "aws_dynamodb_table":
            return {"ends its point-in-time recovery": is_on("point_in_time_recovery", "enabled", True)}
        case "aws_s3_bucket_lifecycle_configuration":
            replaced = "deletes photos replaced or deleted more than {} ago"
            return {
                "deletes photos older than {}": expires("expiration", "days"),
                replaced: expires("noncurrent_version_expiration", "noncurrent_days"),
            }
        case "aws_s3_bucket_versioning":
            on = is_on("versioning_configuration", "status", "Enabled")
            return {"keeps no replaced photos any more": on}
        case "aws_sqs_queue":
            seconds = values.get("message_retention_seconds") or math.inf
            return {"deletes events older than {}": seconds / 86_400}
    return {}


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], unknown: Mapping[str, Any]
) -> dict[str, tuple[str, str]]:
    old, new = _flat(before), _flat(after)
    later = [name for name, whether in _flat(unknown).items() if whether is True]
    inside = tuple(f"{name}{mark}" for name in later for mark in (".", "["))
    found = {
        name: (_text(old.get(name)), _text(new.get(name)))
        for name in old | new
        if old.get(name) != new.get(name) and not name.startswith(inside)
    }
    return found | {name: (_text(old.get(name, before.get(name))), _UNKNOWN) for name in later}


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Every value in `value` by its path; JSON texts, such as policies, are parsed."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, dict):
        inner = {f"{path}.{name}".lstrip("."): one for name, one in value.items()}
    elif isinstance(value, list):
        inner = {f"{path}[{index}]": one for index, one in enumerate(value)}
    else:
        return {path: value}
    return {name: leaf for at, one in inner.items() for name, leaf in _flat(one, at).items()}


def _text(value: Any) -> str:
    text = _MISSING if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _is_false(kind: str, attributes: Mapping[str, tuple[str, str]]) -> bool:
    """Whether the change exists only because the local cloud does not store these attributes."""
    forgetful = {"aws_cloudwatch_metric_alarm": "", "aws_sfn_state_machine": "tracing_configuration"}
    return kind in forgetful and all(
        name.startswith(forgetful[kind]) and (new == _UNKNOWN or old in _FORGOTTEN)
        for name, (old, new) in attributes.items()
    )


def counts(found: Iterable[Change]) -> dict[str, int]:
    """The number of changes by action."""
    return dict.fromkeys(ACTIONS, 0) | Counter(change.action for change in found)


def as_json(found: Sequence[Change]) -> dict[str, Any]:
    """Return counts by action, every change, and the addresses whose data is lost."""
    return {
        **counts(found),
        "changes": [change.as_json() for change in found],
        "loses_data": [change.address for change in found if change.losses],
    }


def show(found: Iterable[Change], console: Console) -> None:
    """Print each change with its attributes; changes that lose data are red."""
    for change in found:
        line = f"{_SYMBOLS.get(change.action, change.action):>4} {change.address}  {change.losses}"
        console.out(line.rstrip(), style="bold red" if change.losses else None)
        for name, (old, new) in change.attributes.items():
            console.out(f"       {name}: {old} -> {new}", style="dim")


def begin(environment: Environment) -> None:
    """Discard the saved plan, and save the hashes of the sources for a new one."""
    discard(environment)
    environment.plan_file.parent.mkdir(parents=True, exist_ok=True)
    _sources_file(environment).write_text(json.dumps(_sources(environment), indent=2), "utf-8")


def saved(environment: Environment) -> str | None:
    """When the saved plan was made: "12 min ago, 2026-11-24 22:28 UTC"; None without one.

    Raises UserError if a source has changed since.
    """
    if not (environment.plan_file.is_file() and _sources_file(environment).is_file()):
        return None
    was, now = json.loads(_sources_file(environment).read_text("utf-8")), _sources(environment)
    made = datetime.fromtimestamp(environment.plan_file.stat().st_mtime, UTC)
    ago = f"{options.duration((datetime.now(UTC) - made).total_seconds())} ago"
    if changed := sorted(name for name in was | now if was.get(name) != now.get(name)):
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise UserError(
            f"The plan saved {ago} was made from other files: {', '.join(changed[:3])}{more}"
            f" changed since; read a new one with 'make plan ENV={environment.name}', then apply."
        )
    return f"{ago}, {made:%Y-%m-%d %H:%M} UTC"


def discard(environment: Environment) -> None:
    """Remove the saved plan, if there is one."""
    environment.plan_file.unlink(missing_ok=True)
    _sources_file(environment).unlink(missing_ok=True)


def _sources_file(environment: Environment) -> Path:
    return environment.plan_file.with_suffix(".tfplan.json")


def _sources(environment: Environment) -> dict[str, str]:
    """SHA-256 of every file a plan of `environment` is made from, by its path in the repository."""
    paths = {path for pattern in _SOURCES for path in ROOT.glob(pattern) if path.is_file()}
    paths |= {environment.variables_file, environment.backend_file}
    return {
        path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
    }


def commit(root: Path = ROOT) -> str | None:
    """The short commit of `root`, with `-dirty` if functions/ has changes; None without git."""

    def git(*arguments: str) -> str:
        command = ("git", "-C", str(root), *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        name = git("rev-parse", "--short", "HEAD")
        # Only functions/ goes into the versions of the functions.
        return f"{name}-dirty" if git("status", "--porcelain", "--", "functions") else name
    except (OSError, subprocess.CalledProcessError):
        return None
