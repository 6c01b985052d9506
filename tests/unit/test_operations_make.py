"""`make VERB` hands a verb exactly what it is given, whatever is in it."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from operations.__main__ import VERBS, main
from operations.terraform import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    import click

# Uploaders choose keys, and keys may hold nearly anything.
HOSTILE = "a b/ü'\"`touch PWNED`$(touch PWNED)$(shell touch PWNED)$5$$;touch PWNED|*?[x]#\\ --json"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """What stands in for Python: prints its arguments as JSON."""
    path = tmp_path / "echo"
    path.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n", "utf-8")
    path.chmod(0o755)
    return path


def started(echo: Path, verb: str, *given: str, **exported: str) -> list[str]:
    """What `NAME=value make VERB NAME=value ...` starts the verb with."""
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    result = subprocess.run(
        ["make", "-s", verb, f"PY={echo}", f"STAMP={echo}", *given],
        cwd=ROOT,
        env=clean | exported,
        capture_output=True,
        text=True,
        check=True,
    )
    command: list[str] = json.loads(result.stdout)
    assert command[:3] == ["-m", "operations", verb]
    return command[3:]


def arguments(echo: Path, verb: str, **given: str) -> list[str]:
    """What `make VERB NAME=value ...` starts the verb with."""
    return started(echo, verb, *(f"{name}={value}" for name, value in given.items()))


def parsed(verb: str, given: list[str]) -> dict[str, object]:
    command: click.Command = importlib.import_module(f"operations.{verb}").command
    values: dict[str, object] = command.make_context(verb, given).params
    return values


@pytest.mark.parametrize(
    ("verb", "given", "expected"),
    [
        ("status", {"MINUTES": "5", "JSON": "1"}, {"minutes": 5, "as_json": True}),
        ("results", {"OUTCOME": "no_face", "DAY": "2026-11-24"}, {"outcome": "no_face", "day": "2026-11-24"}),
        ("results", {"KEY": HOSTILE, "LIMIT": "3"}, {"key": HOSTILE, "limit": 3, "as_json": False}),
        ("results", {}, {"key": None, "export": None}),
        ("watch", {"SECONDS": "2", "JSON": "1"}, {"seconds": 2.0, "as_json": True}),
        ("reprocess", {"KEY": HOSTILE, "QUIET": "1"}, {"key": HOSTILE, "quiet": True}),
        ("backfill", {"PREFIX": HOSTILE}, {"prefix": HOSTILE, "confirm": False, "notify": False}),
        ("backfill", {"PREFIX": "", "DRY_RUN": "0"}, {"prefix": "", "confirm": True}),
        ("backfill", {"PREFIX": "a/", "DRY_RUN": "1"}, {"confirm": False}),
        ("backfill", {"PREFIX": "a/", "CONFIRM": "1", "NOTIFY": "1"}, {"confirm": True, "notify": True}),
        *(
            ("backfill", {"PREFIX": "a/", "CONFIRM": refused}, {"confirm": False})
            for refused in ("0", "n", "No", "False", "off", "10")
        ),
        ("cost", {"IMAGES": "7", "PHOTO_MB": "0.5"}, {"images": 7, "photo_mb": 0.5}),
        (
            "rollback",
            {"FUNCTION": "process_image", "TO": "3"},
            {"function": "process_image", "version": 3, "dry_run": False},
        ),
        ("rollback", {"FUNCTION": "process_image", "DRY_RUN": "1"}, {"dry_run": True}),
        ("audit", {"PREFIX": HOSTILE}, {"prefix": HOSTILE}),
    ],
)
def test_a_verb_gets_what_make_was_given(
    verb: str, given: dict[str, str], expected: dict[str, object], echo: Path
) -> None:
    values = parsed(verb, arguments(echo, verb, **given))
    assert {name: values[name] for name in expected} == expected
    assert not (ROOT / "PWNED").exists()


def test_a_verb_gets_what_the_environment_of_make_holds(echo: Path) -> None:
    assert parsed("results", started(echo, "results", KEY=HOSTILE))["key"] == HOSTILE
    assert not (ROOT / "PWNED").exists()


def test_a_file_is_named_as_it_was_given(echo: Path) -> None:
    values = parsed("results", arguments(echo, "results", EXPORT="my $results `x`.csv"))
    assert str(values["export"]) == "my $results `x`.csv"


def test_a_backfill_of_everything_is_asked_for_with_an_empty_prefix_not_by_forgetting_it(echo: Path) -> None:
    assert parsed("backfill", arguments(echo, "backfill", PREFIX=""))["prefix"] == ""
    forgotten = arguments(echo, "backfill")
    assert parsed("backfill", forgotten)["prefix"] is None
    refused = CliRunner().invoke(main, ["backfill", *forgotten])
    assert (refused.exit_code, refused.stderr[:24]) == (1, "Error: Say which photos:")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_there_in_make_with_its_environment_and_json(verb: str, echo: Path) -> None:
    given = arguments(echo, verb, ENV="staging", JSON="1", KEY="k", PREFIX="p", FUNCTION="process_image")
    assert given[:2] == ["--env", "staging"]
    assert "--json" in given


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_variable_a_verb_reads(verb: str) -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    [rule] = re.findall(rf"^{verb}: \$\(STAMP\) (## .*\n(?:\t.*\n)+)", text, re.MULTILINE)
    line, _, recipe = rule.partition("\n")
    read = set(re.findall(r"\$\(if \$\(([A-Z_]+)\)", recipe)) - {"JSON"}
    assert {name for name in read if not re.search(rf"\b{name}=", line)} <= {"CONFIRMED", "GRACE"}
