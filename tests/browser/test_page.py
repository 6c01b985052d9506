"""The page of photos in a browser: boxes, hostile keys, small and large, light and dark, keyboard alone."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Literal

import pytest
from PIL import Image

from localcloud.cloud import SAMPLES
from operations import page, report
from operations.page import Photo, Step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("browser")

HOSTILE = [
    "<script>window.ran = 1</script>.jpg",
    "\"><img src=x onerror='window.ran = 1'>.jpg",
    "</style><svg onload=window.ran=1>&amp;{{ 7 * 7 }}.jpg",
    "\u202egpj.exe \u05e9\u05dc\u05d5\u05dd.jpg",
    "\x00\x07\x1b[2J\r\n\ud800.jpg".encode("utf-8", "replace").decode(),
    "a" * 1024,
]
SCREENS: list[tuple[int, Literal["light", "dark"]]] = [
    *((390, "light"), (390, "dark"), (1440, "light"), (1440, "dark")),
]
# Left, Top, Width, Height: inside, over the edges, and the whole picture.
BOXES = [(0.34, 0.125, 0.2, 0.3), (-0.1, 0.8, 0.3, 0.4), (0, 0, 1, 1)]
STEPS = [
    Step("Uploaded", 0),
    Step("Event", 3),
    Step("Started", 4),
    Step("Analysing", 157),
    Step("ThrottlingException", 200, failed=True),
    Step("Analysing", 1200),
    Step("Recorded", 1315),
    Step("Notified", 1371),
]


def record(outcome: str, *boxes: tuple[float, float, float, float], **others: Any) -> dict[str, Any]:
    names = ("Left", "Top", "Width", "Height")
    faces = [{"BoundingBox": dict(zip(names, box, strict=True)), "Confidence": 99.1} for box in boxes]
    return {
        "Outcome": outcome,
        "FaceCount": len(faces),
        "FaceDetails": json.dumps(faces),
        "Size": 5,
        **others,
    }


def picture(width: int = 64, height: int = 48) -> page.Picture | None:
    made = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(made, "PNG")
    return page.thumbnail(made.getvalue())


SHOWN = [
    Photo("wide.jpg", "face_detected", record("face_detected", *BOXES), picture(800, 100), steps=STEPS),
    Photo("high.jpg", "face_detected", record("face_detected", *BOXES), picture(90, 900), steps=STEPS),
    Photo(
        "turned-by-exif.jpg",
        "face_detected",
        record("face_detected", (0.3, 0.2, 0.4, 0.3)),
        page.thumbnail((SAMPLES / "turned-by-exif.jpg").read_bytes()),
        steps=STEPS,
        messages={"Email": "Face detected in image: turned-by-exif.jpg\nFaces: 1", "SMS": "Face detected"},
    ),
    Photo("no.jpg", "no_face", record("no_face"), picture(), steps=STEPS),
    Photo("bad.jpg", "rejected", record("rejected", Reason="unsupported_format"), absence="Not a picture"),
    Photo("parked.jpg", "parked", steps=[*STEPS[:5], Step("Parked", 4000)]),
    *[
        Photo(key, "no_face", record("no_face", Key=key), picture(), messages={"Email": f"No face: {key}"})
        for key in HOSTILE
    ],
]


@pytest.fixture(scope="session")
def html() -> str:
    return page.photos(f"Photos {HOSTILE[0]}", f"Lead {HOSTILE[1]}", SHOWN)


@pytest.fixture(scope="session")
def file(html: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as a file, as people open it."""
    made = tmp_path_factory.mktemp("page") / "index.html"
    made.write_text(html, encoding="utf-8")
    return made


class OpenedPage:
    """A page in the browser, with its requests and errors."""

    def __init__(self, shown: Page) -> None:
        self.page = shown
        self.requests: list[str] = []
        self.errors: list[str] = []
        shown.on("request", lambda request: self.requests.append(request.url))
        shown.on("console", lambda message: self.errors.append(message.text))
        shown.on("pageerror", lambda error: self.errors.append(str(error)))
        shown.on("dialog", lambda dialog: self.errors.append(dialog.message))


@pytest.fixture(params=SCREENS, ids=str)
def opened(request: pytest.FixtureRequest, browser: Browser, file: Path) -> Iterator[OpenedPage]:
    width, scheme = request.param
    yield from _open(browser, file, width, scheme)


@pytest.fixture
def wide(browser: Browser, file: Path) -> Iterator[OpenedPage]:
    yield from _open(browser, file, 1440, "light")


def _open(browser: Browser, file: Path, width: int, scheme: Literal["light", "dark"]) -> Iterator[OpenedPage]:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    made = OpenedPage(context.new_page())
    made.page.goto(file.as_uri())
    yield made
    context.close()


def test_every_box_lies_where_the_record_says(opened: OpenedPage) -> None:
    measured = opened.page.evaluate("""() => [...document.querySelectorAll('.picture')].map(picture => {
        const whole = picture.querySelector('image').getBoundingClientRect();
        return [...picture.querySelectorAll('rect')].map(rect => {
            // The box itself, without the width of its line.
            const box = rect.getBBox(), to = rect.getScreenCTM();
            const at = new DOMPoint(box.x, box.y).matrixTransform(to);
            return [(at.x - whole.x) / whole.width, (at.y - whole.y) / whole.height,
                    box.width * to.a / whole.width, box.height * to.d / whole.height];
        });
    })""")
    expected = [
        [[face.left, face.top, face.width, face.height] for face in photo.faces]
        for photo in SHOWN
        if photo.picture
    ]
    assert [len(boxes) for boxes in measured] == [len(boxes) for boxes in expected]
    for boxes, wanted in zip(measured, expected, strict=True):
        for box, right in zip(boxes, wanted, strict=True):
            assert box == pytest.approx(right, abs=0.002)


def test_a_picture_is_upright_and_whole_inside_its_frame(opened: OpenedPage) -> None:
    frames = opened.page.evaluate("""() => [...document.querySelectorAll('.picture')].map(picture => {
        return [picture.closest('.frame'), picture.querySelector('image')].map(element => {
            const box = element.getBoundingClientRect();
            return [box.left, box.top, box.right, box.bottom];
        });
    })""")
    for (left, top, right, bottom), (x, y, end, below) in frames:
        assert left - 1 <= x < end <= right + 1
        assert top - 1 <= y < below <= bottom + 1
    sizes = {photo.key: photo.picture for photo in SHOWN}
    turned = sizes["turned-by-exif.jpg"]
    assert turned
    assert turned.height > turned.width, "stored on its side"


def test_hostile_keys_are_shown_and_never_run(opened: OpenedPage) -> None:
    assert opened.page.evaluate("window.ran") is None
    assert opened.page.locator("script, img, iframe, [onload], [onerror]").count() == 0
    titles = opened.page.locator("h3").all_inner_texts()
    assert titles[-6:] == [
        HOSTILE[0],
        HOSTILE[1],
        HOSTILE[2],
        "\\u202egpj.exe \u05e9\u05dc\u05d5\u05dd.jpg",
        "\\x00\\x07\\x1b[2J\\r\\n?.jpg",
        HOSTILE[5],
    ]
    assert opened.page.title() == f"Photos {HOSTILE[0]}"
    assert opened.errors == []


def test_the_page_itself_runs_nothing_even_what_escaped_us(
    browser: Browser, html: str, tmp_path: Path
) -> None:
    file = tmp_path / "index.html"
    file.write_text(
        html.replace("<main>", "<main><script>window.ran = 1</script><img src=x onerror='window.ran = 1'>")
    )
    for opened in _open(browser, file, 1440, "light"):
        assert opened.page.evaluate("window.ran") is None
        assert any("Content Security Policy" in error for error in opened.errors)


def test_no_request_leaves_the_file(wide: OpenedPage, file: Path) -> None:
    wide.page.wait_for_load_state("networkidle")
    assert [url for url in wide.requests if not url.startswith("data:image/jpeg;base64,")] == [file.as_uri()]


def test_nothing_is_wider_than_the_window_and_nothing_jumps(opened: OpenedPage) -> None:
    width, window = opened.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= window
    jumps = opened.page.evaluate("""() => new Promise(done => {
        const observer = new PerformanceObserver(list => done(list.getEntries().length));
        observer.observe({type: 'layout-shift', buffered: true});
        setTimeout(() => done(0), 100);
    })""")
    assert jumps == 0


def test_it_has_no_barrier_axe_knows(opened: OpenedPage, axe: str) -> None:
    opened.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    opened.page.evaluate(axe)
    found = opened.page.evaluate("axe.run(document, {resultTypes: ['violations', 'incomplete']})")
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]] == []


def test_a_report_fits_has_no_barrier_and_names_its_columns(
    browser: Browser, axe: str, tmp_path: Path
) -> None:
    hours = [None, *[{"p50": 0.5 + hour / 50, "p95": 2.0, "p99": 3.0} for hour in range(23)]]
    found = {
        "environment": HOSTILE[0],
        "day": "2026-11-24",
        "until": "2026-11-24T13:00:00+00:00",
        "total": 300,
        "photos": {name: list(range(24)) for name in ("face_detected", "no_face", "rejected")},
        "complete": True,
        "rejected_reasons": {"empty": 3, HOSTILE[1]: 1},
        "seconds": {"day": {"p50": 0.5, "p95": 2.0, "p99": 3.0}, "hours": hours},
        "tries": {"errors": 1, "throttles": 1_234_567},
        "dead_letters": {"parked": 1, "redriven": 1, "waiting": 0},
        "dollars": 1234.5,
        "alarms": [{"at": "13:05", "name": "a" * 255}],
    }
    file = tmp_path / "report.html"
    file.write_text(report.html(found), encoding="utf-8")
    for width, scheme in SCREENS:
        for opened in _open(browser, file, width, scheme):
            opened.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
            opened.page.evaluate(axe)
            assert [one["id"] for one in opened.page.evaluate("axe.run()")["violations"]] == []
            assert opened.page.locator(".plot").first.locator("rect").count() == 3 * 23
            assert opened.errors == []


def test_outcomes_are_filtered_and_details_opened_by_keyboard_alone(wide: OpenedPage) -> None:
    keys = wide.page.keyboard
    keys.press("Tab")
    assert wide.page.evaluate("document.activeElement.value") == "all"
    for _ in range(3):
        keys.press("ArrowRight")
    assert wide.page.locator(".card:visible h3").all_inner_texts() == ["bad.jpg"]
    for _ in range(3):
        keys.press("ArrowLeft")
    assert wide.page.locator(".card:visible").count() == len(SHOWN)
    message = wide.page.locator(".card", has_text="turned-by-exif.jpg").locator("pre", has_text="Faces: 1")
    assert not message.is_visible()
    for _ in range(10):
        keys.press("Tab")
        inside = "document.activeElement.closest('.card').querySelector('h3').innerText"
        if wide.page.evaluate(inside) == "turned-by-exif.jpg":
            break
    assert wide.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    keys.press("Enter")
    assert message.inner_text() == "Face detected in image: turned-by-exif.jpg\nFaces: 1"


def test_a_retry_and_what_was_parked_can_be_seen(wide: OpenedPage) -> None:
    parked = wide.page.locator(".card[data-outcome=parked]")
    assert "its event waits in the dead-letter queue" in parked.inner_text()
    assert parked.locator(".steps li").all_inner_texts()[-2:] == [
        "ThrottlingException\n200 ms",
        "Parked\n4,000 ms",
    ]
