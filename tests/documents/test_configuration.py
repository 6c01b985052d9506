"""docs/configuration.md and the modules' READMEs leave nothing out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from operations.program import ROOT
from tests.documents import configuration

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = (ROOT, *(ROOT / "modules" / name for name in configuration.MODULES))


def document(folder: Path) -> str:
    path = ROOT / "docs" / "configuration.md" if folder == ROOT else folder / "README.md"
    return path.read_text("utf-8")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_input_and_output_is_listed(folder: Path) -> None:
    text = document(folder)
    for kind, name in (("variable", "variables.tf"), ("output", "outputs.tf")):
        # Not read by the parser the tables are written with.
        for found in re.findall(rf'^{kind} "(\w+)"', (folder / name).read_text("utf-8"), re.MULTILINE):
            assert f"\n| `{found}` | " in text


def test_every_attribute_a_tfvars_file_may_set_is_listed() -> None:
    text, blocks = document(ROOT), f"\n{(ROOT / 'variables.tf').read_text('utf-8')}".split("\nvariable ")
    attributes = [
        (block.split('"')[1], attribute)
        for block in blocks[1:]
        for attribute in re.findall(r"^    (\w+) += \w", block.partition("description")[0], re.MULTILINE)
    ]
    assert attributes
    missing = [one for one in attributes if not re.search(rf"`{one[0]}(\.<name>)?\.{one[1]}`", text)]
    assert missing == []


def test_attributes_of_objects_are_spelled_out_with_their_defaults() -> None:
    kind = (
        'map(object({a = string, b = optional(list(string), ["x, y", "z"]), '
        "c = object({d = optional(number)})}))"
    )
    assert list(configuration.spelled_out("who", kind, "{}")) == [
        configuration.Input("who", "map(object)", "{}"),
        configuration.Input("who.<name>.a", "string", None),
        configuration.Input("who.<name>.b", "list(string)", '["x, y", "z"]'),
        configuration.Input("who.<name>.c", "object", None),
        configuration.Input("who.<name>.c.d", "number", "null"),
    ]


def test_a_value_is_held_to_what_the_module_that_gets_it_says() -> None:
    assert "workflow_type must be STANDARD or EXPRESS." in configuration.must(ROOT, "workflow_type")
    assert not re.search(r"error_message.*workflow_type must be", (ROOT / "variables.tf").read_text("utf-8"))
