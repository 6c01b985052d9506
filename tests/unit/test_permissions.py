"""What docs/security.md says of the checks that are skipped and of a key of one's own."""

from __future__ import annotations

import re

from tools import permissions
from tools.terraform import ROOT


def test_the_document_lists_the_skipped_checks() -> None:
    document = permissions.DOCUMENT.read_text("utf-8")
    expected = permissions.written(document, permissions.skips(), marks=permissions.SKIP_MARKS)
    assert document == expected, "docs/security.md is out of date; run 'make permissions'"


def test_every_skipped_check_has_a_reason_of_some_length() -> None:
    rows = permissions.skips().splitlines()[2:]
    assert rows
    assert not [row for row in rows if len(row.rsplit("|", 2)[1].split()) < 4]


def test_no_check_is_skipped_elsewhere_than_beside_its_resource() -> None:
    listed = {row.split("|")[1].strip() for row in permissions.skips().splitlines()[2:]}
    config = [*ROOT.glob(".checkov*"), *ROOT.glob("**/.checkov.y*ml")]
    assert config == []
    lint = (ROOT / "tools" / "lint.py").read_text("utf-8")
    assert not re.search(r"--skip-check|--soft-fail", lint)
    assert all(re.fullmatch(r"CKV2?_AWS_\d+", check) for check in listed)


def test_every_proof_names_a_page_of_aws() -> None:
    proofs = [proof for role in permissions.PROOFS.values() for proof in role.values()]
    assert not [proof for proof in proofs if not proof.page.startswith("https://docs.aws.amazon.com/")]
