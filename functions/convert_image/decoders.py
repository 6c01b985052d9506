"""Decode a photo in any common format in memory and convert it to a JPEG for DetectFaces.

This is the only code here that parses files from strangers. It is limited by the file's size, by the pixels
its header claims, and by the process it runs in (sandbox.py); only listed formats are decoded, and the file's
first bytes select its one decoder.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import resource
import sys
import warnings
import zlib
from typing import TYPE_CHECKING

from PIL import Image, ImageCms, PngImagePlugin
from PIL.ExifTags import Base

from .formats import FORMATS, recognise
from .sandbox import Picture, UnusableError

if TYPE_CHECKING:
    from collections.abc import Collection

    from PIL import ImageFile

# "The maximum image size as raw bytes passed in as parameter to an API is 5 MB"; "The minimum image dimension
# is 80 pixels for both height and width". https://docs.aws.amazon.com/rekognition/latest/dg/limits.html
MAX_JPEG_BYTES = 5 * 1024 * 1024
MIN_SIDE = 80
# JPEG's limit: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.2.2; libjpeg's is a little lower.
MAX_SIDE = 65_500
# Two copies of a medium format camera's 102 megapixels, at four bytes each, fit the function's 1,769 MB. A
# JPEG is decoded at a reduced size, so a phone's 200 megapixels fit too.
MAX_MEGAPIXELS = 128
MAX_JPEG_MEGAPIXELS = 256

# Profiles are unpacked up to this size; other texts of a PNG are not read at all.
PngImagePlugin.MAX_TEXT_CHUNK = 8 * 1024 * 1024

# Viewers show a JPEG in full if it only lacks its end marker, or the last blocks before it.
ALMOST_WHOLE = 95
_END_OF_JPEG = b"\xff\xd9"
_QUALITIES = (92, 85, 75, 60, 40)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DECODERS = {
    "avif": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "gif": ("PIL.GifImagePlugin", "GifImageFile"),
    "heic": ("pi_heif.as_plugin", "HeifImageFile"),
    "jp2": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    # Not with Image.open, which also reads what follows the first picture: gain maps, previews and videos,
    # which are often damaged.
    "jpeg": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "png": ("PIL.PngImagePlugin", "PngImageFile"),
    "tiff": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
}
_ADVICE = "send a photo as JPEG, PNG, HEIC, WebP, AVIF, TIFF or GIF"


def convert(data: bytes, *, formats: Collection[str], max_pixels: int) -> Picture:
    """Decode the first picture in `data`, at most `max_pixels` a side.

    Raises UnusableError: `unsupported_format`, `too_small` or `too_large`.
    """
    kind = recognise(data)
    if kind not in FORMATS:
        raise UnusableError("unsupported_format", f"the file is {kind}; {_ADVICE}")
    if kind not in formats:
        detail = f"the file is {FORMATS[kind]}, a format that is not read here; send a JPEG or PNG"
        raise UnusableError("unsupported_format", detail, kind)
    try:
        # Keep warnings about files out of the logs.
        with warnings.catch_warnings(action="ignore"):
            return _convert(data, kind, max_pixels)
    except UnusableError:
        raise
    except MemoryError:
        raise UnusableError("too_large", f"{FORMATS[kind]} that takes too much memory", kind) from None
    # Decoders raise almost anything: OSError, SyntaxError, struct.error, ValueError, KeyError, ...
    except Exception as error:
        detail = f"the file is {FORMATS[kind]} that cannot be read; save it again, or {_ADVICE}"
        raise UnusableError("unsupported_format", detail, kind) from error


def _convert(data: bytes, kind: str, max_pixels: int) -> Picture:
    file = _open(data, kind)
    orientation = 1 if kind == "tiff" else _orientation(file)  # Pillow rotates a TIFF itself
    width, height = file.size
    _check_size(width, height, kind, progressive=bool(file.info.get("progressive")))
    _reduce(file, kind, max_pixels)
    try:
        file.load()
    except OSError:
        share = _share_decoded(file)
        if kind == "jpeg" and share >= ALMOST_WHOLE and not data.endswith(_END_OF_JPEG):
            return _convert(data + _END_OF_JPEG, kind, max_pixels)
        where = f"breaks off after {share} %" if 0 < share < 100 else "is damaged"
        detail = f"the file is {FORMATS[kind]} that {where}; upload it again"
        raise UnusableError("unsupported_format", detail, kind) from None
    if kind == "tiff":
        width, height = file.size
    if orientation >= 5:
        width, height = height, width

    profile = file.info.get("icc_profile")
    image = _shrink(_eight_bits(file), max_pixels)
    image = _upright_rgb(image, profile, orientation)
    return Picture(_jpeg(image), kind, width, height)


def _open(data: bytes, kind: str) -> ImageFile.ImageFile:
    """The picture, not decoded yet, opened by the decoder for its kind."""
    module, name = _DECODERS[kind]
    image: ImageFile.ImageFile = getattr(importlib.import_module(module), name)(
        io.BytesIO(_still_png(data) if kind == "png" else data)
    )
    return image


def _still_png(data: bytes) -> bytes:
    """A PNG with only the chunks its still picture needs: Pillow fails on irrelevant texts and checksums."""
    chunks = [data[:8]]
    at = 8
    while at + 12 <= len(data):
        length, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        chunk = data[at : at + 12 + length]
        at += len(chunk)
        # A capital: a critical chunk. https://www.w3.org/TR/png-3/#5Chunk-naming-conventions
        whole = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
        if name[:1].isupper() or (name in {b"eXIf", b"iCCP", b"tRNS"} and whole):
            chunks.append(chunk)
        if name == b"IEND":
            break
    return b"".join(chunks)


def _check_size(width: int, height: int, kind: str, *, progressive: bool) -> None:
    if min(width, height) < MIN_SIDE:
        detail = f"{width} x {height} pixels; at least {MIN_SIDE} x {MIN_SIDE} are needed"
        raise UnusableError("too_small", detail, kind)
    # Decoding a progressive JPEG keeps all coefficients until the last scan.
    most = MAX_JPEG_MEGAPIXELS if kind == "jpeg" and not progressive else MAX_MEGAPIXELS
    if width * height > most * 1_000_000:
        detail = f"{width} x {height} pixels; at most {most} megapixels are read, send a smaller copy"
        raise UnusableError("too_large", detail, kind)


def _reduce(image: ImageFile.ImageFile, kind: str, max_pixels: int) -> None:
    """Shrink the picture in the decoder itself, if it can."""
    if kind == "jpeg":
        image.draft(None, (max_pixels, max_pixels))
    elif kind == "jp2":
        times = max(image.size) // max_pixels
        image.reduce = max(0, times.bit_length() - 1)  # type: ignore[method-assign, assignment]


def _share_decoded(image: Image.Image) -> int:
    """The percentage of rows that were decoded: decoding ended at the last one that is not empty."""
    box = image._im.getbbox() if image._im else None
    return 100 * box[3] // image.height if box else 0


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation; 1 (upright) if it is missing or invalid."""
    try:
        value = image.getexif().get(Base.Orientation, 1)
    # EXIF from cameras and editors is broken in every possible way.
    except Exception:
        return 1
    return value if isinstance(value, int) and value in _UPRIGHT else 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """The picture scaled to 8 bits a channel; Pillow itself would clip higher values."""
    if image.mode.startswith("I;16"):
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(258, (16,))[0]
        inverted = tags.get(262) == 0  # WhiteIsZero, which Pillow leaves as it is at this depth
        scale = 255 / (2 ** min(bits, 16) - 1)
        grey = image.convert("I").point(lambda value: value * scale + 0)
        grey = grey.convert("L")
        return grey.point(lambda value: 255 - value) if inverted else grey
    if image.mode in {"I", "F"}:
        low, high = image.getextrema()
        scale = 255 / ((high - low) or 1)  # type: ignore[operator]
        return image.point(lambda value: value * scale - low * scale).convert("L")  # type: ignore[operator]
    if image.mode in {"1", "P", "PA", "La", "RGBa", "RGBX", "HSV", "YCbCr"}:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def _shrink(image: Image.Image, max_pixels: int) -> Image.Image:
    """At most `max_pixels` a side, but no side below the 80 pixels that Rekognition needs."""
    scale = min(1.0, max(max_pixels / max(image.size), MIN_SIDE / min(image.size)))
    width, height = (max(MIN_SIDE, round(side * scale)) for side in image.size)
    if max(width, height) > MAX_SIDE:
        detail = f"{image.width} x {image.height} pixels; so long and thin a picture cannot be analysed"
        raise UnusableError("too_large", detail)
    if (width, height) == image.size:
        return image
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)


def _upright_rgb(image: Image.Image, profile: bytes | None, orientation: int) -> Image.Image:
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    image = _in_srgb(image, profile)
    if alpha is not None:
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=alpha)
        image = white
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert colours to sRGB with the picture's own profile, or, if it is unusable, by its mode."""
    if profile:
        # Like viewers, ignore a profile for another kind of picture, or a damaged one.
        with contextlib.suppress(ImageCms.PyCMSError, OSError, TypeError, ValueError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image.convert("RGB")
    return image.convert("RGB")


def _jpeg(image: Image.Image) -> bytes:
    """The picture as a JPEG of at most MAX_JPEG_BYTES."""
    image.info.clear()  # do not copy comments
    while True:
        for quality in _QUALITIES:
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=quality)
            if stream.tell() <= MAX_JPEG_BYTES:
                return stream.getvalue()
        image = image.reduce(2)


def main() -> None:
    """Convert the photo on standard input for sandbox.py: print a line of JSON, then the JPEG."""
    formats, max_pixels, memory_mb = sys.argv[1:]
    if int(memory_mb):
        most = int(memory_mb) * 1024 * 1024
        # Some systems do not let a process limit itself; Lambda does.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    jpeg = b""
    try:
        picture = convert(
            sys.stdin.buffer.read(), formats=frozenset(formats.split(",")), max_pixels=int(max_pixels)
        )
    except UnusableError as error:
        answer: dict[str, object] = {"reason": error.reason, "detail": error.detail, "format": error.format}
    else:
        answer = {"format": picture.format, "width": picture.width, "height": picture.height}
        jpeg = picture.jpeg
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + jpeg)


if __name__ == "__main__":
    main()
