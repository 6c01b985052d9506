"""`make VERB` hands a verb exactly what it is given, and refuses what the verb does not know."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from operations.__main__ import VERBS
from operations.program import ROOT

# Uploaders choose keys, and keys may hold nearly anything.
HOSTILE = "  a b/ü'\"`touch PWNED`$(touch PWNED)$(shell touch PWNED)$5$$;touch PWNED|*?[x]#\\ --json "

# The program, whose verbs print what they would run with.
PROGRAM = """
import json, sys
from operations import program
from operations.__main__ import main

def get_command(ctx, name, real=main.get_command):
    command = real(ctx, name)
    if command:
        command.callback = lambda **given: print(json.dumps(given, default=str))
    return command

main.get_command = get_command
assert sys.argv[1:3] == ["-m", "operations"]
sys.argv[1:3] = []
program.run(main, "operations")
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("python") / "python"
    path.write_text(f"#!{sys.executable}\n{PROGRAM}", "utf-8")
    path.chmod(0o755)
    return path


def make(
    python: Path, *words: str, stamp: Path | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", "-s", *words, f"PY={python}", f"STAMP={stamp or python}"],
        cwd=ROOT,
        env=clean | {"PYTHONPATH": str(ROOT)} | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )


def given(
    python: Path, verb: str, names: dict[str, str], environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """What `make VERB NAME=value ...` runs the verb with."""
    words = [f"{name}={value}" for name, value in names.items()]
    result = make(python, verb, *words, environment=environment)
    assert result.returncode == 0, result.stderr
    assert not (ROOT / "PWNED").exists()
    values: dict[str, Any] = json.loads(result.stdout)
    return values


def refused(python: Path, verb: str, *words: str) -> str:
    """The one sentence `make VERB ...` refuses with, before make's own."""
    result = make(python, verb, *words)
    assert result.returncode != 0
    assert result.stdout == ""
    sentence, _, rest = result.stderr.partition("\n")
    assert rest.startswith("make: ***"), rest
    return sentence


@pytest.mark.parametrize(
    ("verb", "names", "expected"),
    [
        ("status", {"MINUTES": "5", "JSON": "1"}, {"minutes": 5, "as_json": True}),
        ("results", {"OUTCOME": "no_face", "DAY": "2026-11-24"}, {"outcome": "no_face", "day": "2026-11-24"}),
        ("results", {"KEY": HOSTILE, "LIMIT": "3"}, {"key": HOSTILE, "limit": 3, "as_json": False}),
        ("results", {"EXPORT": "my $results `x`.csv"}, {"key": None, "export": "my $results `x`.csv"}),
        ("watch", {"SECONDS": "2"}, {"seconds": 2.0}),
        ("reprocess", {"KEY": HOSTILE, "QUIET": "1"}, {"key": HOSTILE, "quiet": True}),
        ("backfill", {"PREFIX": HOSTILE}, {"prefix": HOSTILE, "confirm": False, "notify": False}),
        ("backfill", {"PREFIX": "a/", "CONFIRM": "1", "NOTIFY": "1"}, {"confirm": True, "notify": True}),
        ("backfill", {"PREFIX": "a/", "DRY_RUN": "0"}, {"confirm": True}),
        ("rollback", {"FUNCTION": "process_image", "DRY_RUN": "1"}, {"confirm": False}),
        ("cost", {"IMAGES": "7", "PHOTO_MB": "0.5"}, {"images": 7, "photo_mb": 0.5}),
        ("rollback", {"FUNCTION": "process_image", "TO": "3"}, {"function": "process_image", "version": 3}),
        ("audit", {"PREFIX": HOSTILE, "GRACE": "9"}, {"prefix": HOSTILE, "grace": 9}),
        ("erase", {"KEY": HOSTILE, "ENV": "staging"}, {"key": HOSTILE, "env": "staging", "confirm": False}),
        ("redrive", {"DISCARD": HOSTILE}, {"message_id": HOSTILE}),
        ("destroy", {"ENV": "qa", "CONFIRM": "1"}, {"env": "qa", "confirm": True}),
        ("new-env", {"NAME": "qa", "ACCOUNT": "111122223333", "REGION": "us-east-1"}, {"name": "qa"}),
        ("diff", {"FROM": "dev", "TO": "prod"}, {"first": "dev", "second": "prod"}),
    ],
)
def test_a_verb_gets_what_make_was_given(
    verb: str, names: dict[str, str], expected: dict[str, object], python: Path
) -> None:
    values = given(python, verb, names)
    assert {name: values[name] for name in expected} == expected


def test_a_verb_gets_what_the_environment_of_make_holds(python: Path) -> None:
    assert given(python, "results", {}, {"KEY": HOSTILE})["key"] == HOSTILE


@pytest.mark.parametrize(("verb", "name", "param"), [
    ("backfill", "NOTIFY", "notify"), ("backfill", "CONFIRM", "confirm"), ("reprocess", "QUIET", "quiet"),
    ("status", "JSON", "as_json"), ("redrive", "CONFIRM", "confirm"), ("results", "FACES", "faces"),
])  # fmt: skip
def test_a_boolean_reads_the_same_everywhere(verb: str, name: str, param: str, python: Path) -> None:
    assert given(python, verb, {name: "1"})[param] is True
    assert given(python, verb, {name: "0"})[param] is False
    assert given(python, verb, {name: ""})[param] is False
    assert refused(python, verb, f"{name}=maybe").startswith(
        f"Error: {name}=: 'maybe' is not a valid boolean."
    )


@pytest.mark.parametrize(
    ("verb", "word", "sentence"),
    [
        ("erase", "CONFRIM=1", "There is no CONFRIM= here; did you mean CONFIRM=?"),
        ("status", "env=dev", "There is no env= here; did you mean ENV=?"),
        ("results", "OUTCOMES=no_face", "There is no OUTCOMES= here; did you mean OUTCOME=?"),
        ("status", "KEY=a.jpg", "There is no KEY= here; there are ENV, JSON, MINUTES."),
        ("results", "LIMIT=x", "LIMIT=: 'x' is not a valid integer."),
        ("results", "LIMIT=0", "LIMIT=: 0 is not in the range x>=1."),
        ("cost", "PHOTO_MB=-1", "PHOTO_MB=: -1.0 is not in the range x>=0."),
    ],
)
def test_what_a_verb_does_not_know_is_refused_with_a_suggestion(
    verb: str, word: str, sentence: str, python: Path
) -> None:
    assert refused(python, verb, word) == f"Error: {sentence}"


def test_verbs_on_one_command_line_each_read_their_own_variables(python: Path) -> None:
    result = make(python, "status", "results", "MINUTES=3", "LIMIT=4")
    assert result.returncode == 0, result.stderr
    first, second = map(json.loads, result.stdout.splitlines())
    assert (first["minutes"], second["limit"]) == (3, 4)


def test_what_a_recipe_starts_takes_none_of_its_variables(python: Path, tmp_path: Path) -> None:
    """As a test that runs a verb below `make test ARGS=-v`."""
    (tmp_path / "Makefile").write_text(
        f"test:\n\t@{sys.executable} -c 'import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))'"
        f" {python} -m operations status\n",
        "utf-8",
    )
    result = subprocess.run(
        ["make", "test", "ARGS=-v", "MINUTES=5"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(result.stdout)["minutes"] == 60


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_there_in_make(verb: str, python: Path) -> None:
    result = make(python, verb)
    assert f"No rule to make target '{verb}'" not in result.stderr
    listed = subprocess.run(
        [sys.executable, "tools/help.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"\n  {verb} " in listed.stdout


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("PHOTOS=no $where", "There is no folder no $where; name one with photos, like PHOTOS=holiday."),
        ("PHOTO=a", "There is no PHOTO= here; did you mean PHOTOS=?"),
    ],
)
def test_the_demo_is_given_its_variables_as_the_verbs_are(word: str, said: str, python: Path) -> None:
    # The interpreter itself is older than the lock: as a stamp it would have .venv made anew.
    result = make(Path(sys.executable), "demo", word, stamp=python)
    assert result.stderr.startswith(f"Error: {said}\n")
