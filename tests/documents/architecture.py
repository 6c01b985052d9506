"""The pictures of docs/architecture.md: how the modules are wired, and the workflow."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from operations.program import ROOT
from tests.documents.configuration import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHAPES = {"Task": '["{}"]', "Choice": '{{"{}"}}', "Succeed": '(["{}"])', "Fail": '(["{}: fails"])'}


def modules() -> str:
    """Which module's outputs go into which, as a picture; the names on an arrow are the outputs."""
    wired: dict[tuple[str, str], set[str]] = {}
    calls = blocks(ROOT / "main.tf", "module")
    for name, call in calls.items():
        for module, output in re.findall(r"\bmodule\.(\w+)\.(\w+)", json.dumps(call)):
            wired.setdefault((module, name), set()).add(output)
    arrows = [
        f'    {source} -->|"{"<br>".join(sorted(names))}"| {target}'
        for (source, target), names in sorted(wired.items())
    ]
    inside = [
        f"    {name} -.-> {module}"
        for name, call in sorted(calls.items())
        for module in sorted(_inner(call["source"]))
    ]
    return _picture("LR", [*(f'    {name}["{name}"]' for name in sorted(calls)), *arrows, *inside])


def _inner(source: str) -> set[str]:
    """The modules that a module of the root calls itself."""
    found = set()
    for path in (ROOT / source).glob("*.tf"):
        found |= {call["source"].rpartition("/")[2] for call in blocks(path, "module").values()}
    return found


def workflow() -> str:
    """The workflow's states and transitions as a diagram; errors are dotted."""
    definition = json.loads((ROOT / "modules" / "orchestration" / "pipeline.asl.json").read_text("utf-8"))
    lines = ['    event(["an upload\'s event"])', f"    event --> {definition['StartAt']}"]
    for name, state in definition["States"].items():
        lines.append(f"    {name}{_SHAPES[state['Type']].format(name)}")
        lines += [f"    {name} {arrow} {target}" for arrow, target in _next(state)]
        if state.get("End"):
            lines += [f"    {name} --> done", '    done(["done"])']
    return _picture("TD", lines)


def _next(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "Next" in state:
        yield "-->", state["Next"]
    for choice in state.get("Choices", ()):
        yield f'-->|"{choice["Variable"].removeprefix("$.")}"|', choice["Next"]
    if "Default" in state:
        yield '-->|"otherwise"|', state["Default"]
    for catcher in state.get("Catch", ()):
        yield "-. error .->", catcher["Next"]


def _picture(direction: str, lines: list[str]) -> str:
    return "\n".join(["```mermaid", f"flowchart {direction}", *lines, "```"])
