"""What is generated into docs/ is what the code and its tests say now."""

from __future__ import annotations

import pytest

from tests.documents.__main__ import SECTIONS
from tests.documents.section import Section


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: f"{section.document}:{section.name}")
def test_the_section_is_up_to_date(section: Section) -> None:
    assert section.path.read_text("utf-8") == section.expected(), "run 'make documents'"


def test_a_document_without_its_marks_is_named() -> None:
    with pytest.raises(ValueError, match=r"docs/security\.md lacks the marks the section weather"):
        Section("docs/security.md", "weather", lambda: "").expected()
