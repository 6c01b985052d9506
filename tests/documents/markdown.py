"""What Markdown files refer to: links, anchors and verbs of make."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from operations.__main__ import VERBS
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FENCE = re.compile(r"^ *(?P<fence>```+|~~~+).*?^ *(?P=fence) *$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?P<ticks>`+)(?P<code>.+?)(?P=ticks)", re.DOTALL)
_LINK = re.compile(r"\]\((?P<url>[^()\s]+)(?: \"[^\"]*\")?\)|\b(?:src|srcset|href)=\"(?P<attribute>[^\"]+)\"")
_MADE = re.compile(r"(?:^|\$\(|[;&|] *|[A-Z_]+=\S* )make (?:-\S+ )*(?:[A-Z_]+=\S+ )*(?P<verb>[a-z][a-z-]*)")


def files() -> list[Path]:
    """Every Markdown file of the repository, as git knows it: what is built or installed is not ours."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(path for name in names.split("\0") if name and (path := ROOT / name).is_file())


def broken_links(path: Path) -> Iterator[str]:
    """The links of a file that lead nowhere in this repository; other sites' are not followed."""
    prose = _CODE.sub("", _FENCE.sub("", path.read_text("utf-8")))
    for match in _LINK.finditer(prose):
        url = match["url"] or match["attribute"]
        if re.match(r"[a-z]+:", url):
            continue
        name, _, anchor = url.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or not target.is_relative_to(ROOT):
            yield f"{url}: there is no such file"
        elif anchor and (target.suffix != ".md" or anchor not in anchors(target)):
            yield f"{url}: there is no such heading"


def anchors(path: Path) -> set[str]:
    """The anchors GitHub gives a file's headings."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.+?) *#*$", _FENCE.sub("", path.read_text("utf-8")), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return set(found)


def made(path: Path) -> Iterator[str]:
    """The verbs of make that a file's commands name: in code, not in prose, where one makes other things."""
    text = path.read_text("utf-8")
    commands = [
        re.sub(r"^\$ ", "", line.strip())
        for block in _FENCE.finditer(text)
        if re.match(r" *(?:```|~~~)(?:sh|console|bash)\b", block[0])
        for line in block[0].splitlines()
    ]
    commands += [" ".join(match["code"].split()) for match in _CODE.finditer(_FENCE.sub("", text))]
    for command in commands:
        yield from (match["verb"] for match in _MADE.finditer(command))


def verbs() -> set[str]:
    """The verbs of make."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return set(VERBS) | set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
