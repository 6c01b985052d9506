"""The modules fit both majors of the AWS provider: no argument is unknown to 6.x, or deprecated there."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import hcl2
import pytest

from operations.program import ROOT
from operations.terraform import locked_providers
from tests.terraform.provider_schema import OUTPUT, used

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = sorted(
    path for pattern in ("*.tf", "bootstrap/*.tf", "modules/*/*.tf") for path in ROOT.glob(pattern)
)
# Version 5 has no key_schema, which is what version 6 wants in their place.
UNAVOIDABLE = {
    ("aws_dynamodb_table", "global_secondary_index.hash_key"),
    ("aws_dynamodb_table", "global_secondary_index.range_key"),
}
# Of every block, whatever the provider.
OF_TERRAFORM = {"count", "depends_on", "for_each", "lifecycle", "provider"}
OF_THE_PARSER = {"__comments__", "__inline_comments__", "__is_block__"}
_REFERENCE = re.compile(r"\b((?:data\.)?aws_\w+)\.\w+(?:\[[^\]]*\])?\.(\w+)")


SCHEMA = json.loads(OUTPUT.read_text("utf-8"))
DEPRECATED = {kind: set(names) for kind, names in SCHEMA["deprecated"].items()}
ARGUMENTS = {kind: set(names) for kind, names in SCHEMA["arguments"].items()}


def set_in(text: str) -> Iterator[tuple[str, str]]:
    """Type and path of every argument of AWS's that `text` sets; a path is empty for the block itself."""
    content = hcl2.loads(text)
    for block, prefix in (("resource", ""), ("data", "data.")):
        for resource in content.get(block, []):
            for kind, named in resource.items():
                for body in named.values():
                    if _plain(kind).startswith("aws_"):
                        yield from ((prefix + _plain(kind), path) for path in ("", *_paths(body)))
    for provider in content.get("provider", []):
        for kind, body in provider.items():
            yield from ((f"provider.{_plain(kind)}", path) for path in ("", *_paths(body)))


def _plain(name: str) -> str:
    return name.strip('"')


def _paths(body: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in body.items():
        if name in OF_THE_PARSER:
            continue
        blocks = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
        if name == "dynamic":
            for one in blocks:
                for inner, content in one.items():
                    yield from _paths({_plain(inner): content["content"]}, above)
            continue
        yield above + name
        for one in blocks:
            yield from _paths(one, f"{above}{name}.")


def _marked(path: str, names: set[str]) -> bool:
    """Whether `path` is among `names`, where blocks that repeat have a plural."""
    return any(
        len(one.split(".")) == len(path.split("."))
        and all(_same(mine, theirs) for mine, theirs in zip(path.split("."), one.split("."), strict=True))
        for one in names
    )


def _same(singular: str, name: str) -> bool:
    return name in (singular, f"{singular}s", f"{singular}es")


def deprecated(*texts: str) -> set[tuple[str, str]]:
    """What is set, or referred to as ``aws_type.name.attribute``, and deprecated."""
    named = [*(one for text in texts for one in (*set_in(text), *_REFERENCE.findall(text)))]
    return {(kind, path) for kind, path in named if _marked(path, DEPRECATED.get(kind, set()))}


def unknown(*texts: str) -> set[tuple[str, str]]:
    return {
        (kind, path)
        for text in texts
        for kind, path in set_in(text)
        if path and path.partition(".")[0] not in OF_TERRAFORM and path not in ARGUMENTS.get(kind, set())
    }


def ours() -> list[str]:
    return [path.read_text("utf-8") for path in FILES]


def test_every_argument_is_known_to_version_6() -> None:
    assert len(FILES) > 20
    assert unknown(*ours()) == set()


def test_nothing_deprecated_is_used_that_both_versions_can_do_without() -> None:
    assert deprecated(*ours()) == UNAVOIDABLE
    [version] = [one for name, one in locked_providers().items() if name.endswith("/aws")]
    assert version.startswith("5."), "write key_schema, and leave nothing unavoidable"


def block(kind: str, body: str) -> str:
    return f'resource "{kind}" "one" {{\n{body}\n}}\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (block("aws_s3_bucket", 'acl = "private"'), ("aws_s3_bucket", "acl")),
        (
            block("aws_s3_bucket_lifecycle_configuration", 'rule {\nprefix = "a"\n}'),
            ("aws_s3_bucket_lifecycle_configuration", "rule.prefix"),
        ),
        (
            block(
                "aws_s3_bucket_lifecycle_configuration",
                'dynamic "rule" {\nfor_each = [1]\ncontent {\nprefix = rule.value\n}\n}',
            ),
            ("aws_s3_bucket_lifecycle_configuration", "rule.prefix"),
        ),
        (block("aws_iam_role", 'inline_policy {\nname = "a"\n}'), ("aws_iam_role", "inline_policy")),
        ("locals {\nregion = data.aws_region.current.name\n}", ("data.aws_region", "name")),
        ("locals {\nsite = aws_s3_bucket.all[0].website_domain\n}", ("aws_s3_bucket", "website_domain")),
    ],
)
def test_what_is_deprecated_is_found(text: str, expected: tuple[str, str]) -> None:
    assert deprecated(text) == {expected}


def test_what_is_unknown_is_found() -> None:
    assert unknown(block("aws_kms_key", "rotates = true")) == {("aws_kms_key", "rotates")}
    text = block("aws_sfn_state_machine", "logging_configuration {\nlevels = 1\n}")
    assert unknown(text) == {("aws_sfn_state_machine", "logging_configuration.levels")}


def test_every_type_that_is_used_was_read() -> None:
    kinds = {kind for text in ours() for kind, _ in set_in(text)}
    assert kinds <= used() == DEPRECATED.keys() == ARGUMENTS.keys(), "run tests/terraform/provider_schema.py"
