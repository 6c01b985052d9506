"""What docs/security.md says of the checks that are skipped, and docs/privacy.md of the settings."""

from __future__ import annotations

import json
import re

import hcl2

from operations.environments import Environment
from operations.program import ROOT
from tests.documents import skipped_checks
from tests.documents.proofs import PROOFS

_READING = hcl2.SerializationOptions(with_comments=False, strip_string_quotes=True)


def test_every_skipped_check_has_a_reason_of_some_length() -> None:
    rows = skipped_checks.table().splitlines()[2:]
    assert rows
    assert not [row for row in rows if len(row.rsplit("|", 2)[1].split()) < 4]


def test_checks_are_skipped_only_next_to_their_resource() -> None:
    listed = {row.split("|")[1].strip() for row in skipped_checks.table().splitlines()[2:]}
    config = [*ROOT.glob(".checkov*"), *ROOT.glob("**/.checkov.y*ml")]
    assert config == []
    checks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert "checkov" in checks
    assert not re.search(r"--skip-check|--soft-fail", checks)
    assert all(re.fullmatch(r"CKV2?_AWS_\d+", check) for check in listed)


def test_every_proof_names_a_page_of_aws() -> None:
    proofs = [proof for role in PROOFS.values() for proof in role.values()]
    assert not [proof for proof in proofs if not proof.page.startswith("https://docs.aws.amazon.com/")]


def test_the_settings_in_the_privacy_document_are_right() -> None:
    document = (ROOT / "docs" / "privacy.md").read_text("utf-8")
    section = document.partition("## Settings")[2].partition("\n## ")[0]
    said = {
        name: (json.loads(default), json.loads(prod))
        for name, default, prod in re.findall(
            r"^\| `(\w+)` \| `([^`]+)` \| `([^`]+)` \|", section, re.MULTILINE
        )
    }
    loaded = hcl2.loads((ROOT / "variables.tf").read_text("utf-8"), serialization_options=_READING)
    variables = {name: block for one in loaded["variable"] for name, block in one.items()}
    prod = Environment.load("prod").settings
    assert {name for name in variables if name.endswith("_retention_days")} <= set(said)
    assert said == {
        name: (variables[name]["default"], prod.get(name, variables[name]["default"])) for name in said
    }


def test_the_other_retentions_in_the_privacy_document_are_deployed() -> None:
    document = (ROOT / "docs" / "privacy.md").read_text("utf-8")
    eventing = (ROOT / "modules" / "eventing" / "main.tf").read_text("utf-8")
    storage = (ROOT / "modules" / "storage" / "main.tf").read_text("utf-8")
    for row, days in (
        (r"^\| Parked events \|.*\| (\d+) days", int(_number("message_retention_seconds", eventing)) / 86400),
        (r"^\| Unfinished uploads \|.*\| (\d+) days", int(_number("days_after_initiation", storage))),
    ):
        [said] = re.findall(row, document, re.MULTILINE)
        assert int(said) == days
    [hours] = re.findall(r"^\| Events on their way \|.*?(\d+) hours", document, re.MULTILINE)
    assert int(hours) == int(_number("maximum_event_age_in_seconds", eventing)) / 3600
    # DynamoDB's own; a period of the table's would shorten it.
    assert "recovery_period_in_days" not in storage


def _number(name: str, source: str) -> str:
    [value] = re.findall(rf"\b{name}\s*=\s*(\d+)", source)
    return str(value)
