"""`make documents`: write every section that is generated without a deployed environment."""

from __future__ import annotations

from functools import partial

from operations.program import ROOT
from tests.documents import architecture, configuration, grants, reliability, skipped_checks
from tests.documents.section import Section

# A new one is a line here, the two marks in the document, and the function.
SECTIONS = (
    Section("docs/architecture.md", "modules", architecture.modules),
    Section("docs/architecture.md", "workflow", architecture.workflow),
    Section("docs/configuration.md", "inputs", partial(configuration.inputs, ROOT)),
    Section("docs/configuration.md", "outputs", partial(configuration.outputs, ROOT)),
    Section("docs/reliability.md", "faults", reliability.table),
    Section("docs/security.md", "preflight", grants.preflight),
    Section("docs/security.md", "skips", skipped_checks.table),
    Section("docs/security.md", "verify", grants.verify),
    *(
        Section(f"modules/{name}/README.md", part, partial(text, ROOT / "modules" / name))
        for name in configuration.MODULES
        for part, text in (("inputs", configuration.inputs), ("outputs", configuration.outputs))
    ),
)

if __name__ == "__main__":
    for section in SECTIONS:
        print(section.write())
