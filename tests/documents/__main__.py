"""`make documents`: write every section that is generated without a deployed environment."""

from __future__ import annotations

from tests.documents import grants, reliability, skipped_checks
from tests.documents.section import Section

# A new one is a line here, the two marks in the document, and the function.
SECTIONS = (
    Section("docs/reliability.md", "faults", reliability.table),
    Section("docs/security.md", "preflight", grants.preflight),
    Section("docs/security.md", "skips", skipped_checks.table),
    Section("docs/security.md", "verify", grants.verify),
)

if __name__ == "__main__":
    for section in SECTIONS:
        print(section.write())
