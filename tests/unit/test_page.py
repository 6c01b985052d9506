"""What a page shows, without a browser: thumbnails as Rekognition sees them, what was found, and axes."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from localcloud.cloud import SAMPLES
from operations import page
from operations.page import Photo

if TYPE_CHECKING:
    from collections.abc import Sequence

RED, BLUE = (200, 0, 0), (0, 0, 200)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    made = io.BytesIO()
    image.save(made, form, **options)
    return made.getvalue()


def halves(orientation: int, form: str = "JPEG") -> bytes:
    """Red above blue, 200 pixels wide and 100 high, with an EXIF orientation."""
    image = Image.new("RGB", (200, 100), RED)
    image.paste(BLUE, (0, 50, 200, 100))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, form, exif=exif)


def decoded(picture: page.Picture | None) -> Image.Image:
    assert picture
    image = Image.open(io.BytesIO(base64.b64decode(picture.uri.removeprefix("data:image/jpeg;base64,"))))
    assert image.size == (picture.width, picture.height)
    return image.convert("RGB")


def side(image: Image.Image) -> str:
    """Where the red half is."""
    width = image.width
    corners = [(9, 9), (width - 9, 9)]
    left, right = (image.getpixel(at)[0] > 150 for at in corners)  # type: ignore[index]
    if left == right:
        return "top" if left else "bottom"
    return "left" if left else "right"


# What EXIF does not know (0, 255) is shown as it is stored.
UPRIGHT = {1: "top", 2: "top", 3: "bottom", 4: "bottom", 5: "left", 6: "right", 7: "right", 8: "left"}
UPRIGHT |= {0: "top", 255: "top"}


@pytest.mark.parametrize(("orientation", "expected"), UPRIGHT.items())
def test_a_jpeg_is_turned_upright_by_its_exif_orientation(orientation: int, expected: str) -> None:
    image = decoded(page.thumbnail(halves(orientation)))
    assert side(image) == expected
    assert image.size == ((100, 200) if expected in ("left", "right") else (200, 100))


def test_a_png_is_left_as_rekognition_sees_it() -> None:
    assert side(decoded(page.thumbnail(halves(6, "PNG")))) == "top"


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_what_was_converted_is_turned_upright_whatever_its_format(form: str) -> None:
    assert side(decoded(page.thumbnail(halves(6, form), converted=True))) == "right"


def test_a_thumbnail_is_small_keeps_its_shape_and_shows_white_behind_what_is_transparent() -> None:
    wide = decoded(page.thumbnail(encoded(Image.new("RGBA", (3000, 300), (255, 0, 0, 0)), "PNG")))
    assert wide.size == (page.SIDE, page.SIDE // 10)
    assert wide.getpixel((5, 5)) == (255, 255, 255)


def test_sixteen_bits_of_grey_are_not_all_white() -> None:
    image = Image.new("I;16", (100, 100), 0x4000)
    assert decoded(page.thumbnail(encoded(image, "PNG"))).getpixel((50, 50)) == pytest.approx(
        (64,) * 3, abs=2
    )


@pytest.mark.parametrize("body", [b"", b"no picture", halves(1)[:100], b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_picture_has_no_thumbnail(body: bytes) -> None:
    assert page.thumbnail(body) is None


@pytest.mark.parametrize(
    ("outcome", "record", "expected"),
    [
        (
            "face_detected",
            {"FaceCount": 1, "FaceDetails": '[{"Confidence": 99.94}]', "Size": 1500},
            "1 face, 99.9 % sure, 1.5 kB",
        ),
        (
            "face_detected",
            {"FaceCount": 2, "FaceDetails": '[{"Confidence": 99.9}, {"Confidence": 91}]'},
            "2 faces, 91.0 to 99.9 %",
        ),
        # As other versions may have written it, or as an index holds it.
        ("face_detected", {"FaceCount": 3, "FaceDetails": "no JSON"}, "3 faces"),
        ("face_detected", {"FaceCount": 3, "FaceDetails": '{"a": 1}'}, "3 faces"),
        ("face_detected", {}, "no faces"),
        ("rejected", {"Reason": "empty", "Detail": "the file is empty; upload it again"}, "upload it again"),
        ("rejected", {"Reason": "too_small"}, "too small"),
        ("no_face", {"Converted": True, "Format": "heic", "Size": 5}, "no faces, 5 bytes HEIC"),
        ("rejected", {}, "no reason recorded"),
        ("parked", None, "its event waits in the dead-letter queue"),
    ],
)
def test_a_card_says_what_was_found(outcome: str, record: dict[str, Any] | None, expected: str) -> None:
    photo = Photo("a.jpg", outcome, record)
    assert photo.found.endswith(expected)
    assert expected in page.photos("Photos", "", [photo])


@pytest.mark.parametrize("record", [{}, {"FaceDetails": "no JSON", "Other": None}, {"FaceDetails": "[1]"}])
def test_a_record_of_another_shape_is_shown_all_the_same(record: dict[str, Any]) -> None:
    shown = page.photos("Photos", "", [Photo("a.jpg", "face_detected", {"Key": "a.jpg", **record})])
    assert "a.jpg" in shown


@pytest.mark.parametrize(
    ("values", "marks"),
    [
        ([], [0, 0.5, 1.0]),
        ([0], [0, 0.5, 1.0]),
        ([3], [0, 1, 2, 3]),
        ([371, 1817], [0, 500, 1000, 1500, 2000]),
        ([100_000], [0, 50_000, 100_000]),
    ],
)
def test_an_axis_holds_every_value_in_round_steps(values: Sequence[float], marks: list[float]) -> None:
    assert page.scale(values) == (marks[-1], marks)


def test_every_sample_that_is_a_picture_has_a_thumbnail() -> None:
    without = [path.name for path in sorted(SAMPLES.iterdir()) if not page.thumbnail(path.read_bytes())]
    assert without == ["README.md", "not-a-photo.jpg"]
