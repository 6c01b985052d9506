"""Links lead somewhere, and commands exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from operations.program import ROOT
from tests.documents import markdown

if TYPE_CHECKING:
    from pathlib import Path

FILES = markdown.files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    assert list(markdown.broken_links(path)) == []


def test_every_verb_of_make_exists() -> None:
    known = markdown.verbs()
    named = {(path.relative_to(ROOT).as_posix(), verb) for path in FILES for verb in markdown.made(path)}
    assert len({verb for _, verb in named}) > 20
    assert sorted(one for one in named if one[1] not in known) == []


def test_contributors_are_sent_to_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = set(re.findall(r"`([a-z_]+/[\w/.-]+)`", text))
    assert len(named) > 20
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_a_link_into_nothing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# One `two`, three\n\n```sh\n# not a heading\n```\n", "utf-8")
    path = tmp_path / "some.md"
    path.write_text(
        "# Here\n\n[a](other.md#one-two-three) [b](#here) [c](https://example.com/x) `[d](e.md)`\n"
        "[f](gone.md) [g](other.md#not-a-heading) [h](../outside.md) ![i](gone.png)\n",
        "utf-8",
    )
    assert list(markdown.broken_links(path)) == [
        "gone.md: there is no such file",
        "other.md#not-a-heading: there is no such heading",
        "../outside.md: there is no such file",
        "gone.png: there is no such file",
    ]


def test_a_verb_is_found_in_code_and_not_in_prose(tmp_path: Path) -> None:
    path = tmp_path / "some.md"
    path.write_text(
        "We make soup. `make plan ENV=dev`, `ENV=a make apply` and `make\nverify`.\n\n"
        "```console\n$ make drift ENV=dev\nmake up your mind\n```\n\n```text\nmake nothing\n```\n",
        "utf-8",
    )
    assert list(markdown.made(path)) == ["drift", "up", "plan", "apply", "verify"]
