"""The programs around the product stay small: docs/decisions/0019."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

# Lines of the programs for one line of the product.
MOST = 1.7
LONGEST = 300


def lines(*patterns: str) -> Iterator[tuple[str, int]]:
    """The length of each file of this checkout; not documents, locks and tests of the product."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split():
        path = ROOT / name
        if path.is_file() and "tests" not in path.parts and path.suffix not in (".md", ".lock", ".hcl"):
            yield name, len(path.read_text("utf-8").splitlines())


def test_the_programs_are_small_beside_the_product() -> None:
    product = sum(count for _, count in lines("functions", "modules", "bootstrap", "environments", "*.tf"))
    programs = sum(count for _, count in lines("operations/*.py", "localcloud/*.py", "tools/*.py"))
    assert product > 3000
    assert programs <= MOST * product, f"{programs:,} lines of programs, {product:,} of the product"


def test_no_file_of_the_programs_is_long() -> None:
    found = dict(lines("operations/*.py", "localcloud/*.py", "tools/*.py"))
    assert len(found) > 40
    assert {name: count for name, count in found.items() if count > LONGEST} == {}
