"""The plan `make plan` saves for `make apply`: when it was made, and what from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from operations import options
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from operations.environments import Environment

# What a plan is made from besides the state: whatever of it changes, the plan is another.
_SOURCES = (
    *("*.tf", ".terraform.lock.hcl", "*.auto.tfvars", "terraform.tfvars", "modules/*/*.tf"),
    *(
        "modules/*/*.json",
        "functions/**/*.py",
        "functions/**/*.lock",
        "functions/*/packages.txt",
        "tools/package.py",
    ),
)


def fingerprints(environment: Environment) -> dict[str, str]:
    """SHA-256 of every file a plan of `environment` is made from, by its path in the repository."""
    paths = {path for pattern in _SOURCES for path in ROOT.glob(pattern) if path.is_file()}
    paths |= {environment.variables_file, environment.backend_file}
    return {
        path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
    }


@dataclass(frozen=True)
class SavedPlan:
    """A plan that was saved, when, and the files it was made from by their SHA-256."""

    made: datetime
    sources: Mapping[str, str]

    @classmethod
    def of(cls, environment: Environment) -> SavedPlan:
        """What a plan made now is made from."""
        return cls(datetime.now(UTC), fingerprints(environment))

    @classmethod
    def read(cls, environment: Environment) -> SavedPlan | None:
        """The plan that is saved for `environment`; None without one that says what it was made from."""
        try:
            content = json.loads(_beside(environment.plan_file).read_text("utf-8"))
            saved = cls(datetime.fromisoformat(content["made"]), dict(content["sources"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return saved if environment.plan_file.is_file() else None

    @property
    def age(self) -> str:
        """How long ago it was made: "12 min"."""
        return options.duration((datetime.now(UTC) - self.made).total_seconds())

    def write(self, environment: Environment) -> None:
        content = {"made": self.made.isoformat(timespec="seconds"), "sources": dict(self.sources)}
        _beside(environment.plan_file).write_text(json.dumps(content, indent=2) + "\n", "utf-8")

    def changed(self, environment: Environment) -> list[str]:
        """Files that are not what they were when the plan was made."""
        now = fingerprints(environment)
        return sorted(name for name in {*self.sources, *now} if self.sources.get(name) != now.get(name))


def discard(environment: Environment) -> None:
    """Remove the saved plan, if there is one."""
    environment.plan_file.unlink(missing_ok=True)
    _beside(environment.plan_file).unlink(missing_ok=True)


def _beside(plan_file: Path) -> Path:
    return plan_file.with_suffix(".tfplan.json")
