"""Self-contained HTML pages about photos: no scripts, no requests, and safe with any key.

Every template escapes what uploaders choose and spells out invisible characters. The page's own content
security policy allows only its pictures and its one inline style sheet.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import itertools
import json
import math
import statistics
import warnings
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operations import options
from operations.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from jinja2 import Environment

FOLDER = Path(__file__).parent / "pages"
# Pixels of a thumbnail's longer side: sharp on a card 310 pixels wide at double density.
SIDE = 640
TITLES = {
    "face_detected": "Face",
    "no_face": "No face",
    "rejected": "Rejected",
    "parked": "Parked",
    "running": "On its way",
}
_SIDES = ("Left", "Top", "Width", "Height")


@dataclass(frozen=True)
class Picture:
    """An upright thumbnail: its data URI and its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Face:
    """A box in ratios of the upright picture's sides, and Rekognition's confidence in percent."""

    left: float
    top: float
    width: float
    height: float
    confidence: float


@dataclass(frozen=True)
class Step:
    """A step in a photo's processing, `ms` milliseconds after its upload began."""

    name: str
    ms: int
    failed: bool = False

    @property
    def style(self) -> str:
        """The CSS class that colours the time before it."""
        return "failed" if self.failed else f"to-{self.name.lower()}"


@dataclass(frozen=True)
class Photo:
    """One card. `outcome` is one of TITLES; `messages` are texts by kind of subscriber.

    `absence` is the reason why there is no `picture`.
    """

    key: str
    outcome: str
    record: Mapping[str, Any] | None = None
    picture: Picture | None = None
    absence: str = "Not a picture that can be shown"
    steps: Sequence[Step] = ()
    messages: Mapping[str, str] = field(default_factory=dict)

    @property
    def faces(self) -> list[Face]:
        """The faces whose boxes the record holds, largest first as Rekognition orders them."""
        found = []
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            for face in json.loads((self.record or {}).get("FaceDetails") or "[]"):
                box = face.get("BoundingBox") or {}
                left, top, width, height = (float(box.get(side, 0)) for side in _SIDES)
                found.append(Face(left, top, width, height, float(face.get("Confidence", 0))))
        return found

    @property
    def face_count(self) -> int:
        return int((self.record or {}).get("FaceCount") or 0)

    @property
    def found(self) -> str:
        """The finding in words."""
        record = self.record or {}
        if self.outcome == "rejected":
            # Older records have the reason's name only.
            reason = str(record.get("Reason") or "no reason recorded").replace("_", " ")
            return str(record.get("Detail") or reason)
        if self.outcome == "parked":
            return "its event waits in the dead-letter queue"
        if self.outcome == "running":
            return self.steps[-1].name if self.steps else ""
        parts = [count(self.face_count, "face") if self.face_count else "no faces"]
        if confidences := [face.confidence for face in self.faces]:
            low, high = min(confidences), max(confidences)
            parts.append(f"{low:.1f} to {high:.1f} %" if high - low >= 0.1 else f"{high:.1f} % sure")
        if isinstance(size := record.get("Size"), int):
            kind = f" {str(record.get('Format')).upper()}" if record.get("Converted") else ""
            parts.append(f"{options.size(size)}{kind}")
        return ", ".join(parts)

    @property
    def face_details(self) -> str:
        text = str((self.record or {}).get("FaceDetails") or "")
        try:
            return json.dumps(json.loads(text), indent=2) if text else ""
        except ValueError:
            return text

    @property
    def segments(self) -> list[tuple[float, float, str]]:
        """Start and length of the time before each step, in percent of the whole, and its style."""
        whole = max((step.ms for step in self.steps), default=0) or 1
        return [
            (100 * one.ms / whole, 100 * (two.ms - one.ms) / whole, two.style)
            for one, two in itertools.pairwise(self.steps)
        ]


def thumbnail(body: bytes, *, converted: bool = False) -> Picture | None:
    """A JPEG of at most SIDE pixels, rotated to match the face boxes; None if `body` is not a picture.

    Rekognition reads the EXIF orientation of JPEG only; ConvertImage, for `converted` photos, that of every
    format.
    """
    from PIL import Image, ImageOps

    try:
        # Pillow warns about large pictures; above its hard limit it still raises an error.
        with warnings.catch_warnings(action="ignore"), _lenient():
            image: Image.Image = Image.open(io.BytesIO(body))
            turned = converted or image.format in ("JPEG", "MPO")
            image.draft("RGB", (2 * SIDE, 2 * SIDE))
            if image.mode.startswith("I;16"):
                image = image.point(lambda value: value / 256).convert("L")
            image.thumbnail((SIDE, SIDE))
            with contextlib.suppress(Exception):  # Ignore a damaged orientation.
                image = ImageOps.exif_transpose(image) if turned else image
            white = Image.new("RGBA", image.size, "white")
            out = io.BytesIO()
            flat = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
            flat.save(out, "JPEG", quality=82, optimize=True)
    except Exception:  # Pillow's readers raise whatever a damaged file makes them raise.
        return None
    return Picture(f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}", *flat.size)


@contextlib.contextmanager
def _lenient() -> Iterator[None]:
    """Make Pillow as lenient as viewers: it reads truncated files, and HEIF if pi_heif is installed.

    Only temporarily: the stand-in for Rekognition, which refuses truncated files, may run in this process.
    """
    from PIL import ImageFile

    with contextlib.suppress(ImportError):
        import pi_heif

        pi_heif.register_heif_opener()
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def count(number: int, noun: str) -> str:
    """`1 photo`, `2,000 photos`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def photos(title: str, lead: str, shown: Sequence[Photo]) -> str:
    """The page of a demo, or of an environment's records."""
    counted = Counter(photo.outcome for photo in shown)
    return render(
        "photos.html.j2",
        title=title,
        lead=lead,
        photos=shown,
        counts=[(outcome, counted[outcome]) for outcome in TITLES if counted[outcome]],
        latencies=[photo.steps[-1].ms for photo in shown if photo.steps and photo.outcome != "parked"],
    )


def render(template: str, **values: Any) -> str:
    """A page rendered from a template in FOLDER."""
    return templates().get_template(template).render(values)


@cache
def templates(*more: Path) -> Environment:
    """The templates of FOLDER, and of `more` folders."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        autoescape=True,
        loader=FileSystemLoader([FOLDER, *more]),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters |= {"median": statistics.median, "scale": scale}
    made.filters["visible"] = lambda text, keep="": visible(str(text), keep=keep)
    made.globals["titles"] = TITLES
    style = made.get_template("style.css").render()
    made.globals |= {"style": Markup(style), "style_hash": digest(style)}
    return made


def digest(text: str) -> str:
    """The hash that identifies an inline style or script in a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def scale(values: Iterable[float]) -> tuple[float, list[float]]:
    """The end of an axis from 0 that fits `values`, and its ticks in steps of 1, 2 or 5 times 10 to the n."""
    highest = max(values, default=0) or 1
    power = 10 ** math.floor(math.log10(highest / 4))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= highest / 4)
    step = round(step) if step >= 1 else step
    marks = [step * index for index in range(math.ceil(highest / step) + 1)]
    return marks[-1], marks
