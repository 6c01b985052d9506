"""The table of faults in docs/reliability.md, with the tests that prove each, from the tests' marks.

A test is marked `@pytest.mark.proves("case")`, a `run` block of Terraform's tests `# proves: case`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

_RUN = re.compile(r'^# proves: ([\w-]+)\nrun "(\w+)"', re.MULTILINE)


@dataclass(frozen=True)
class Fault:
    """What happens, and the right outcome; `end_to_end` when a test proves it on the whole pipeline."""

    case: str
    outcome: str
    end_to_end: bool = False


FAULTS = {
    "same-event": Fault(
        "The same event twice, one after the other and at once", "one record, one notification", True
    ),
    "older-event": Fault(
        "An older event for the same key arrives late", "both uploads keep their own record"
    ),
    "overwritten": Fault(
        "Overwritten before it is processed",
        "the event's version is analysed where the event names one",
        True,
    ),
    "gone": Fault("Gone before it is processed", "rejected: gone; no retry"),
    "folder-marker": Fault("Folder marker `photos/`", "not processed, recorded or notified"),
    "empty": Fault("Empty object", "rejected: empty; Rekognition is not called", True),
    "not-a-photo": Fault(
        "Truncated JPEG, text renamed `.jpg`, damaged HEIC and WebP, SVG, PDF",
        "rejected: unsupported format; no retry",
        True,
    ),
    "fifteen-mb": Fault(
        "15 MB exactly, and one byte more",
        "analysed; converted without calling Rekognition first (rejected as too large where nothing is"
        " converted)",
    ),
    "too-small": Fault("79 pixels", "rejected: too small"),
    "kinds-of-photo": Fault(
        "PNG with alpha, greyscale and CMYK JPEG, EXIF rotation; HEIC, AVIF, WebP, TIFF, GIF, BMP, JPEG 2000",
        "analysed",
        True,
    ),
    "odd-key": Fault(
        "Keys with space, `+`, `%2B`, `%`, quotes, backslash, newline, emoji, 1,024 bytes, `a//b`",
        "the exact key in the record and in the notification",
        True,
    ),
    "odd-subject": Fault(
        "The same keys in a subject line", "ASCII, under 100 characters, no control characters"
    ),
    "no-face": Fault("No faces", "success, recorded, notified", True),
    "many-faces": Fault(
        "100 faces with every attribute", "a record under 400 KB, a workflow payload under 256 KiB"
    ),
    "throttled": Fault("Rekognition throttles, then recovers", "success, one record, one notification", True),
    "always-throttled": Fault(
        "Rekognition always throttles",
        "the original event in the dead-letter queue, the execution failed, the alarm's condition met",
        True,
    ),
    "table-refuses": Fault(
        "DynamoDB refuses the write after DetectFaces succeeded",
        "retried; one record, one notification",
        True,
    ),
    "topic-refuses": Fault(
        "SNS refuses the publish",
        "the record stays, only the notification is retried; then parked; notified once after a redrive",
        True,
    ),
    "killed": Fault(
        "The function dies between write and response", "the retry in the same execution notifies", True
    ),
    "out-of-time": Fault("The function times out or runs out of memory", "few retries, then parked"),
    "invoke-refused": Fault("The workflow may not invoke the function", "fails at once, parked, alarm"),
    "start-refused": Fault(
        "The rule may not start the workflow", "the event in the dead-letter queue, alarm"
    ),
    "redrive-twice": Fault("Parked events are redriven twice", "every image is processed once", True),
    "odd-event": Fault("Unknown extra fields, no `version-id`, a multipart ETag `...-12`", "accepted"),
    "not-an-event": Fault(
        "Bucket, key or ETag missing; not an S3 event at all", "an error naming the field, parked at once"
    ),
    "no-setting": Fault("A missing environment variable", "the function fails at start naming the variable"),
    "updated": Fault("An image uploaded while the stack is being updated", "processed", True),
    "many-at-once": Fault(
        "Many images at once, duplicates and faults mixed in (`make soak`: 1,000)",
        "each recorded and notified once; only those that Rekognition always refuses are parked",
        True,
    ),
}


@dataclass(frozen=True)
class Proof:
    """A test and the case it proves. `file` is relative to the repository, `name` a function's or a run's."""

    case: str
    file: str
    name: str

    @property
    def end_to_end(self) -> bool:
        return self.file.startswith("tests/integration/")


def proofs() -> Iterator[Proof]:
    """Every mark, in the order of the files."""
    for path in sorted(ROOT.glob("tests/*/test_*.py")):
        file = path.relative_to(ROOT).as_posix()
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for case in _marks(node):
                    yield Proof(case, file, node.name)
    for path in sorted(ROOT.glob("modules/*/tests/*.tftest.hcl")):
        for case, name in _RUN.findall(path.read_text("utf-8")):
            yield Proof(case, path.relative_to(ROOT).as_posix(), name)


def _marks(function: ast.FunctionDef) -> Iterator[str]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.proves":
            yield from (ast.literal_eval(argument) for argument in decorator.args)


def table() -> str:
    """The faults, their right outcomes and their tests, as a Markdown table.

    Raises:
        KeyError: a test proves a case that is not in FAULTS.
    """
    found: dict[str, list[Proof]] = {case: [] for case in FAULTS}
    for proof in proofs():
        found[proof.case].append(proof)
    lines = ["| What happens | Right outcome | Proven by |", "|---|---|---|"]
    for case, fault in FAULTS.items():
        tests = "<br>".join(
            f"[{proof.name}](../{proof.file}){' (end to end)' if proof.end_to_end else ''}"
            for proof in found[case]
        )
        lines.append(f"| {fault.case} | {fault.outcome} | {tests} |")
    return "\n".join(lines)
