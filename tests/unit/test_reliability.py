"""docs/reliability.md says which fault is proven where, and it is true."""

from __future__ import annotations

import pytest

from tools import reliability
from tools.permissions import written


def test_the_document_lists_the_tests_that_prove_each_fault() -> None:
    document = reliability.DOCUMENT.read_text("utf-8")
    expected = written(document, reliability.table(), marks=reliability.MARKS)
    assert document == expected, "docs/reliability.md is out of date; run 'make reliability'"


@pytest.mark.parametrize("case", reliability.FAULTS)
def test_every_fault_is_proven_where_it_is_said_to_be(case: str) -> None:
    found = [proof for proof in reliability.proofs() if proof.case == case]
    assert found
    if reliability.FAULTS[case].end_to_end:
        assert any(proof.end_to_end for proof in found)
