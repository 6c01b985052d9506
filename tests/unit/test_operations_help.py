"""Every verb says what it does, at once."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from operations.__main__ import VERBS, main
from operations.program import ROOT

# Half a second is what people do not notice; the rest of it is for a busy computer.
LIMIT_SECONDS = 0.5
ATTEMPTS = 5


def fastest(*arguments: str) -> float:
    """Processor seconds the cheapest of some tries took, which other work on the computer does not change."""
    taken = []
    for _ in range(ATTEMPTS):
        before = os.times()
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
        after = os.times()
        taken.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )
        if taken[-1] < LIMIT_SECONDS:
            break
    return min(taken)


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_answers_in_half_a_second(verb: str) -> None:
    taken = fastest("-m", "operations", *([verb] if verb else []), "--help")
    # What click alone takes here says how busy this computer is.
    click_alone = fastest("-c", "import click")
    assert taken < LIMIT_SECONDS or taken < 2 * click_alone + 0.1, (
        f"{taken:.2f} s (click: {click_alone:.2f} s)"
    )


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_needs_no_sdk_and_that_of_all_verbs_no_tables(verb: str) -> None:
    # A verb's own module may import what draws its tables, and the SDK's errors.
    heavy = {"boto3", "botocore.session", "hcl2", "pyarrow", *(() if verb else ("botocore", "rich"))}
    code = (
        "import sys; from operations.__main__ import main; main(sys.argv[1:], standalone_mode=False);"
        f"print(*sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    arguments = [verb] if verb else []
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--help"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout.startswith("Usage:")
    assert result.stderr.strip() == ""


def test_verbs_are_listed_with_the_first_line_of_their_docstrings() -> None:
    text = " ".join(main.get_help(click.Context(main)).split())
    for verb in VERBS:
        command = main.get_command(click.Context(main), verb)
        assert command
        assert command.help
        line = command.help.partition("\n")[0].rstrip(".")
        assert f"{verb} {line}" in text


def test_an_unknown_verb_is_refused_in_one_sentence() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "operations", "explode"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "No such command 'explode'" in result.stderr
    assert "Traceback" not in result.stderr
