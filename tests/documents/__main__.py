"""`make documents`: write every section that is generated without a deployed environment."""

from __future__ import annotations

from tests.documents import reliability, skipped_checks
from tests.documents.section import Section

# A new one is a line here, the two marks in the document, and the function.
SECTIONS = (
    Section("reliability.md", "faults", reliability.table),
    Section("security.md", "skips", skipped_checks.table),
)

if __name__ == "__main__":
    for section in SECTIONS:
        print(section.write())
