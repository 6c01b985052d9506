"""Runs tools/package.py with any Python, and gets the name of its zip from Terraform."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from operations.program import ROOT
from operations.terraform import executable, process_environment

TOOL = ROOT / "tools" / "package.py"


def run(
    *arguments: str | Path, python: str = sys.executable, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, str(TOOL), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | variables,
    )


def terraform_name(function: Path, folder: Path, *, bundle_wheels: bool = False) -> str:
    """The name of the zip by the very expressions of modules/function, evaluated in `folder`."""
    text = (ROOT / "modules" / "function" / "main.tf").read_text("utf-8")
    block = re.search(r"^locals \{\n.*?^\}\n", text, re.DOTALL | re.MULTILINE)
    assert block, "modules/function has no locals that name its zip"
    folder.mkdir()
    (folder / "main.tf").write_text(
        f'variable "source_dir" {{ default = "{function}" }}\n'
        f'variable "build_dir" {{ default = "build" }}\n'
        f'variable "bundle_wheels" {{ default = {str(bundle_wheels).lower()} }}\n'
        'variable "runtime" { default = "python3.13" }\nvariable "architecture" { default = "arm64" }\n'
        f"{block[0]}",
        "utf-8",
    )
    result = subprocess.run(
        [executable(), "console"],
        input="local.zip\n",
        capture_output=True,
        text=True,
        cwd=folder,
        env=process_environment(),
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().strip('"')


def find_python(version: str) -> str | None:
    """The path of that Python; pyenv's launchers refuse versions that are not chosen, so look behind them."""
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for path in [*map(str, kept), shutil.which(f"python{version}")]:
        if path and not subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode:
            return path
    return None
