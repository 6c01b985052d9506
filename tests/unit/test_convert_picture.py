"""Photos of every format, as convert_image hands them to Rekognition."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import zlib

import pytest
from PIL import Image, ImageChops, ImageCms, ImageStat

from convert_image import decoders, sandbox
from convert_image.formats import FORMATS, recognise
from convert_image.sandbox import Picture, UnusableError
from tests.photos import CORPUS, FIXTURES, KINDS, PORTRAIT, ROOT, STORED, corpus, phone_heic, portrait, saved

FUNCTIONS = ROOT / "functions"
QUARTERS = ["red", "lime", "blue", "white"]


def convert(data: bytes, max_pixels: int = 4096) -> Picture:
    return decoders.convert(data, formats=FORMATS, max_pixels=max_pixels)


def opened(converted: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(converted.jpeg))
    image.load()
    return image


def refused(data: bytes) -> UnusableError:
    with pytest.raises(UnusableError) as caught:
        convert(data)
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_a_portrait_of_any_format_becomes_the_same_rgb_jpeg(kind: str) -> None:
    converted = convert(portrait(kind))
    image = opened(converted)
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (512, 512))
    assert converted.format == {"mpo": "jpeg"}.get(kind, kind.split("-")[0])
    assert (converted.width, converted.height) == (512, 512)
    with Image.open(PORTRAIT) as original:
        difference = ImageChops.difference(image.convert("L"), original.convert("L"))
    # Of 255, on average; a dithered picture is grey from afar only.
    blurred = difference.reduce(16) if kind.endswith("g4") else difference
    limit = {"tiff-g4": 110, "gif": 12, "gif-animated": 12, "png-palette": 40}.get(kind, 8)
    assert ImageStat.Stat(blurred).mean[0] < limit


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["avif", "heic", "jpeg", "png", "tiff", "tiff-deflate", "webp"])
def test_a_turned_photo_is_analysed_upright(kind: str, orientation: int) -> None:
    converted = convert(turned(kind, orientation))
    assert (converted.width, converted.height) == (96, 128)
    image = opened(converted)
    assert image.size == (96, 128)
    found = [nearest(image.getpixel(at)) for at in ((24, 32), (72, 32), (24, 96), (72, 96))]
    assert found == QUARTERS


def turned(kind: str, orientation: int) -> bytes:
    if kind == "heic":
        return (FIXTURES / f"orientation-{orientation}.heic").read_bytes()
    image = Image.new("RGB", (96, 128))
    for number, colour in enumerate(QUARTERS):
        image.paste(colour, (number % 2 * 48, number // 2 * 64, number % 2 * 48 + 48, number // 2 * 64 + 64))
    stored = image.transpose(STORED[orientation]) if orientation in STORED else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"compression": "tiff_adobe_deflate"} if kind == "tiff-deflate" else {}
    name = "TIFF" if kind.startswith("tiff") else kind.upper()
    return saved(stored, name, exif=exif, **options)


def nearest(colour: object) -> str:
    assert isinstance(colour, tuple)
    known = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
    return min(known, key=lambda name: sum(abs(a - b) for a, b in zip(known[name], colour, strict=True)))


def test_sixteen_bits_of_grey_keep_their_shades() -> None:
    ramp = Image.new("I", (256, 100))
    ramp.putdata([column * 257 for _ in range(100) for column in range(256)])
    for kind in ("TIFF", "PNG"):
        image = opened(convert(saved(ramp.convert("I;16"), kind)))
        shades = [image.getpixel((column, 50)) for column in (10, 128, 245)]
        for shade, expected in zip(shades, (10, 128, 245), strict=True):
            assert isinstance(shade, tuple)
            assert abs(shade[0] - expected) <= 3


def test_colours_are_those_of_the_pictures_own_profile() -> None:
    # What a linear profile calls 128 is 188 in sRGB.
    linear = linear_profile()
    image = opened(convert(saved(Image.new("RGB", (100, 100), (128, 128, 128)), "TIFF", icc_profile=linear)))
    shade = image.getpixel((50, 50))
    assert isinstance(shade, tuple)
    assert 180 <= shade[0] <= 196


def linear_profile() -> bytes:
    """sRGB's profile with its curves made straight: a `curv` of no entries is the identity."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(struct.unpack(">I", profile[128:132])[0]):
        at = 132 + 12 * number
        if bytes(profile[at : at + 4]) in {b"rTRC", b"gTRC", b"bTRC"}:
            offset = struct.unpack(">I", profile[at + 4 : at + 8])[0]
            profile[offset : offset + 12] = b"curv" + bytes(8)
    return bytes(profile)


@pytest.mark.parametrize(
    "profile", [b"", b"noise" * 1000, linear_profile()[:200]], ids=["empty", "noise", "cut"]
)
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    image = opened(convert(saved(Image.new("RGB", (100, 100), "red"), "TIFF", icc_profile=profile)))
    assert nearest(image.getpixel((50, 50))) == "red"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_what_is_transparent_is_white(kind: str) -> None:
    image = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 50, 100))
    flat = opened(convert(saved(image, kind)))
    assert [nearest(flat.getpixel((x, 50))) for x in (20, 80)] == ["red", "white"]


def test_a_large_photo_is_shrunk_to_the_side_and_the_bytes_rekognition_takes() -> None:
    noise = Image.effect_noise((3000, 2400), 100).convert("RGB")
    converted = convert(saved(noise, "TIFF"))
    assert opened(converted).size == (3000, 2400)
    assert len(converted.jpeg) <= decoders.MAX_JPEG_BYTES
    small = convert(saved(noise, "TIFF"), max_pixels=1000)
    assert opened(small).size == (1000, 800)
    assert (small.width, small.height) == (3000, 2400)


def test_the_short_side_of_a_long_picture_stays_large_enough() -> None:
    long = saved(Image.new("RGB", (8000, 100)), "PNG")
    assert opened(convert(long, max_pixels=1000)).size == (6400, 80)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\xff\x0a" + bytes(100), "a JPEG XL picture"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "Canon CR3"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(50), "Canon CR2"),
        (b"II*\0\x08\0\0\0\1\0\x12\xc6\1\0\4\0\0\0\1\4\0\0" + bytes(50), "DNG"),
        (b"\0\0\0\x18ftypisom\0\0\0\1isommp42", "a video"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        ("Grüße, kein Foto".encode(), "text"),
        (b"BMW is a maker of cars", "text"),
        (b"PK\3\4" + bytes(30), "a ZIP archive"),
        (b"\xff\xd8", "of no kind that is known here"),
        (b"", "of no kind that is known here"),
        (bytes(1000), "of no kind that is known here"),
    ],
)
def test_what_is_not_a_photo_is_named(data: bytes, words: str) -> None:
    error = refused(data)
    assert (error.reason, error.format) == ("unsupported_format", None)
    assert error.detail.startswith("the file is ")
    assert words in error.detail
    assert "send a photo as JPEG" in error.detail


def test_a_format_that_is_not_listed_is_not_decoded() -> None:
    with pytest.raises(UnusableError, match="not read here") as caught:
        decoders.convert(portrait("gif"), formats={"heic"}, max_pixels=4096)
    assert (caught.value.reason, caught.value.format) == ("unsupported_format", "gif")


@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "bmp", "gif", "jp2", "avif", "jpeg"])
def test_a_photo_under_80_pixels_is_too_small(kind: str) -> None:
    name = {"jp2": "JPEG2000"}.get(kind, kind.upper())
    error = refused(saved(Image.new("RGB", (100, 60)), name))
    assert (error.reason, error.format) == ("too_small", kind)
    assert error.detail == "100 x 60 pixels; at least 80 x 80 are needed"


def claiming(width: int, height: int) -> dict[str, bytes]:
    """Small files whose headers claim a size."""
    jpeg = bytearray(portrait("jpeg"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", height, width)
    bmp = bytearray(portrait("bmp"))
    bmp[18:26] = struct.pack("<ii", width, height)
    gif = bytearray(portrait("gif"))
    gif[6:10] = struct.pack("<HH", width, height)
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(100))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, data, b"IEND")
    )
    tiff = saved(Image.new("RGB", (200, 200)), "TIFF")
    for tag, side in ((256, width), (257, height)):
        tiff = tiff.replace(struct.pack("<HHII", tag, 4, 1, 200), struct.pack("<HHII", tag, 4, 1, side))
    return {"jpeg": bytes(jpeg), "bmp": bytes(bmp), "gif": bytes(gif), "png": png, "tiff": tiff}


@pytest.mark.parametrize("kind", ["jpeg", "bmp", "gif", "png", "tiff"])
def test_a_header_that_claims_gigapixels_is_refused_before_decoding(kind: str) -> None:
    error = refused(claiming(60_000, 60_000)[kind])
    assert (error.reason, error.format) == ("too_large", kind)
    assert error.detail.startswith("60000 x 60000 pixels; at most ")


SCRIPT = b"/*<script>alert(1)</script><?php system($_GET[0]); ?>*/"


@pytest.mark.parametrize("more", [b"PK\3\4" + bytes(60), b"%PDF-1.7\n", b"<svg/>", SCRIPT], ids=repr)
@pytest.mark.parametrize("kind", ["gif", "jpeg", "png", "webp"])
def test_what_follows_a_photo_is_neither_read_nor_kept(kind: str, more: bytes) -> None:
    converted = convert(portrait(kind) + more)
    assert (converted.format, opened(converted).size) == (kind, (512, 512))
    assert more not in converted.jpeg


@pytest.mark.parametrize("head", [b"%PDF-1.7\n", b"PK\3\4", b"<svg>", b"GIF89a" + SCRIPT])
def test_a_file_that_starts_as_another_type_is_not_a_photo(head: bytes) -> None:
    assert refused(head + portrait("jpeg")).reason in {"unsupported_format", "too_large"}


def test_an_animation_without_end_costs_one_picture() -> None:
    frames = [Image.new("RGB", (512, 512), (number % 256, 0, 0)) for number in range(300)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], loop=0, duration=1)
    started = time.process_time()
    assert opened(convert(data)).size == (512, 512)
    assert time.process_time() - started < 1


def test_a_photo_that_breaks_off_says_where() -> None:
    data = portrait("jpeg")
    error = refused(data[: len(data) // 2])
    assert error.reason == "unsupported_format"
    assert error.detail.startswith("the file is a JPEG picture that breaks off after ")
    assert 25 <= int(error.detail.split(" %")[0].split()[-1]) <= 75


def test_a_jpeg_that_only_lacks_its_end_is_whole() -> None:
    assert opened(convert(portrait("jpeg")[:-2])).size == (512, 512)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "jpeg"])
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_a_part_of_a_photo_is_refused(kind: str, share: float) -> None:
    data = portrait(kind)
    if kind in {"tiff-pages", "mpo"} or "animated" in kind:
        data = data[: len(data) // 4]  # the first of the pictures
    assert refused(data[: int(len(data) * share)]).reason in {"unsupported_format", "too_small"}


def test_the_decoder_runs_in_a_separate_process() -> None:
    converted = sandbox.decode(portrait("heic"), formats=FORMATS, max_pixels=256, memory_mb=1769)
    assert opened(converted).size == (256, 256)
    assert (converted.format, converted.width, converted.height) == ("heic", 512, 512)
    with pytest.raises(UnusableError) as caught:
        sandbox.decode(b"text only", formats=FORMATS, max_pixels=256, memory_mb=1769)
    assert caught.value.reason == "unsupported_format"


def test_the_decoders_process_sees_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}

    def run(*_: object, env: dict[str, str], **__: object) -> subprocess.CompletedProcess[bytes]:
        seen.update(env)
        return subprocess.CompletedProcess([], 0, b'{"format": "gif", "width": 1, "height": 1}\n', b"")

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(subprocess, "run", run)
    sandbox.decode(b"", formats=FORMATS, max_pixels=256, memory_mb=None)
    assert seen
    assert not [name for name in seen if name.startswith("AWS")]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "unsupported_format"),
        ("while True: pass", "unsupported_format"),
    ],
    ids=["crashes", "does not end"],
)
def test_a_decoder_that_dies_rejects_the_photo(
    code: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_its_place(code, monkeypatch)
    with pytest.raises(UnusableError) as caught:
        sandbox.decode(b"", formats=FORMATS, max_pixels=256, memory_mb=None, seconds=1)
    assert caught.value.reason == reason


def test_a_decoder_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    in_its_place("import no_such_decoder", monkeypatch)
    with pytest.raises(sandbox.DecoderError, match="no_such_decoder"):
        sandbox.decode(b"", formats=FORMATS, max_pixels=256, memory_mb=None)


def in_its_place(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.run

    def run(_command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        done: subprocess.CompletedProcess[bytes] = real([sys.executable, "-c", code], **options)  # type: ignore[call-overload]
        return done

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not hold a process to its memory")
def test_a_photo_that_takes_too_much_memory_is_too_large() -> None:
    data = saved(Image.new("RGB", (10_000, 10_000)), "PNG")
    with pytest.raises(UnusableError) as caught:
        sandbox.decode(data, formats=FORMATS, max_pixels=4096, memory_mb=512)
    assert caught.value.reason == "too_large"


# What the function has at most: itself, with the SDK and the file, and its decoder. Of itself getrusage would
# count what the process had before it ran this program.
PEAK = """
import pathlib, re, resource, sys
import boto3
from convert_image import sandbox
boto3.client("s3"), boto3.client("rekognition"), boto3.client("dynamodb")
picture = sandbox.decode(
    sys.stdin.buffer.read(), formats=sys.argv[1].split(","), max_pixels=4096, memory_mb=1769
)
own = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
decoders = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(picture.width, picture.height, (int(own) + decoders) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much memory a process had at most")
@pytest.mark.parametrize("kind", ["heic", "avif", "webp", "tiff"])
def test_a_photo_of_12_megapixels_takes_less_than_400_mb(kind: str) -> None:
    data = phone_heic()
    if kind != "heic":
        with Image.open(io.BytesIO(convert(data).jpeg)) as image:
            data = saved(image, kind.upper(), **({"speed": 9} if kind == "avif" else {}))
    environment = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(FUNCTIONS),
    }
    done = subprocess.run(
        [sys.executable, "-c", PEAK, ",".join(FORMATS)],
        input=data,
        capture_output=True,
        env=environment,
        check=True,
    )
    width, height, megabytes = map(int, done.stdout.split())
    assert (width, height) == (4032, 3024)
    assert 100 < megabytes < 400


def expectations() -> list[object]:
    return [pytest.param(name, text, id=name) for name, text in corpus().items()]


@pytest.mark.parametrize(("name", "expected"), expectations())
def test_every_difficult_file_is_read_or_refused_as_it_should(name: str, expected: str) -> None:
    data = (CORPUS / name).read_bytes()
    try:
        outcome = f"read: {convert(data).format}"
    except UnusableError as error:
        outcome = f"rejected: {error.reason}"
    # What was no format when the manifest was written is one now; an empty file is not read at all.
    if outcome.startswith("read"):
        assert "rejected: " not in expected or outcome[6:] in {"avif", "gif", "heic", "jp2", "webp"}
        assert expected != "rejected"
    else:
        assert "rejected" in expected
        assert (
            outcome in expected or expected in {"rejected", "rejected: empty"} or " or rejected" in expected
        )


def test_every_format_has_a_decoder() -> None:
    assert decoders._DECODERS.keys() == FORMATS.keys()
    assert {recognise(portrait(kind)) for kind in KINDS} == FORMATS.keys()
