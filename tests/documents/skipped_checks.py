"""The checks checkov skips, from the comments beside the resources: the table in docs/security.md."""

from __future__ import annotations

import re

from operations.program import ROOT


def table() -> str:
    """The Markdown table of the checks checkov skips, from the comments beside the resources."""
    lines = ["| Check | Where | Why |", "|---|---|---|"]
    for path in sorted([*ROOT.glob("*.tf"), *ROOT.glob("modules/*/*.tf"), *ROOT.glob("bootstrap/*.tf")]):
        where = ""
        for line in path.read_text("utf-8").splitlines():
            if block := re.match(r'(?:resource|data) "(\w+)" "(\w+)"', line):
                where = ".".join(block.groups())
            if skip := re.search(r"#checkov:skip=(\w+):(.+)", line):
                file = path.relative_to(ROOT).as_posix()
                lines.append(f"| {skip[1]} | `{where}` in `{file}` | {skip[2].strip()} |")
    return "\n".join(lines)
