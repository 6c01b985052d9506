"""Who imports whom: localcloud imports operations, operations nothing of ours; nobody imports the scripts."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = ("benchmarks", "functions", "localcloud", "operations", "tests", "tools")
MAY_IMPORT = {
    "functions": {"functions"},
    "localcloud": {"localcloud", "operations"},
    "operations": {"operations"},
    "tools": {"tools"},
}


def imported(path: Path) -> Iterator[str]:
    """Dotted names of what a file imports, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{one.name}" for one in node.names)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_is_below_it(folder: str) -> None:
    wrong = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in (ROOT / folder).rglob("*.py")
        for name in imported(path)
        if (top := name.partition(".")[0]) in OURS and top not in MAY_IMPORT[folder]
    }
    assert wrong == set()


def test_no_test_imports_another_test() -> None:
    wrong = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in (ROOT / "tests").rglob("*.py")
        for name in imported(path)
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split(".")[:-1])
    }
    assert wrong == set()


def test_unit_tests_start_no_local_cloud() -> None:
    wrong = {
        path.name
        for path in (ROOT / "tests" / "unit").glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("LocalCloud.start", "Stack.deploy")
    }
    assert wrong == set()
