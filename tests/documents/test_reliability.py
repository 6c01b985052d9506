"""docs/reliability.md says which fault is proven where, and it is true."""

from __future__ import annotations

import pytest

from tests.documents import reliability


@pytest.mark.parametrize("case", reliability.FAULTS)
def test_every_fault_is_proven_where_documented(case: str) -> None:
    found = [proof for proof in reliability.proofs() if proof.case == case]
    assert found
    if reliability.FAULTS[case].end_to_end:
        assert any(proof.end_to_end for proof in found)
