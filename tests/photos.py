"""One portrait in every format that is converted, made here from the samples."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PORTRAIT = ROOT / "samples" / "eileen-collins.jpg"
FIXTURES = ROOT / "tests" / "unit" / "fixtures"
# Difficult files with what is right for each, where this checkout has them beside it.
CORPUS = next((at for parent in ROOT.parents if (at := parent / "shared" / "photos").is_dir()), ROOT / "none")

# Pillow's name of the format and how to save it; `mode` is the mode it is saved in.
WAYS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "avif": ("AVIF", "RGB", {"quality": 80}),
    "bmp": ("BMP", "RGB", {}),
    "gif": ("GIF", "RGB", {}),
    "gif-animated": ("GIF", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (512, 512))] * 20}),
    "jp2": ("JPEG2000", "RGB", {"quality_mode": "rates", "quality_layers": [10]}),
    "jpeg": ("JPEG", "RGB", {"quality": 90}),
    "jpeg-cmyk": ("JPEG", "CMYK", {"quality": 90}),
    "jpeg-progressive": ("JPEG", "RGB", {"quality": 90, "progressive": True}),
    "mpo": ("MPO", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (512, 512))]}),
    "png": ("PNG", "RGB", {}),
    "png-animated": ("PNG", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (512, 512))]}),
    "png-palette": ("PNG", "P", {}),
    "tiff": ("TIFF", "RGB", {}),
    "tiff-cmyk": ("TIFF", "CMYK", {"compression": "tiff_lzw"}),
    "tiff-deflate": ("TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
    "tiff-g4": ("TIFF", "1", {"compression": "group4"}),
    "tiff-jpeg": ("TIFF", "RGB", {"compression": "jpeg"}),
    "tiff-pages": ("TIFF", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (512, 512))]}),
    "webp": ("WEBP", "RGB", {"quality": 90}),
    "webp-animated": ("WEBP", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (512, 512))]}),
    "webp-lossless": ("WEBP", "RGB", {"lossless": True, "method": 0}),
}
# How an upright picture is stored for the EXIF orientations that turn it.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
KINDS = [*WAYS, "heic", "tiff-16-bit", "png-16-bit"]


def portrait(kind: str) -> bytes:
    """The portrait, 512 x 512 pixels, as `kind` of KINDS."""
    if kind == "heic":
        return PORTRAIT.with_suffix(".heic").read_bytes()
    with Image.open(PORTRAIT) as image:
        if kind.endswith("16-bit"):
            # Times 257: all of 16 bits.
            deep = image.convert("L").convert("I").point(lambda value: value * 257 + 0).convert("I;16")
            return saved(deep, "TIFF" if kind.startswith("tiff") else "PNG")
        format_name, mode, options = WAYS[kind]
        return saved(image.convert(mode), format_name, **options)


def saved(image: Image.Image, format_name: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def corpus() -> dict[str, str]:
    """What is expected of each file in CORPUS, by its name."""
    manifest = CORPUS / "manifest.json"
    files: dict[str, dict[str, str]] = json.loads(manifest.read_text("utf-8")) if manifest.exists() else {}
    return {name: facts["expected"] for name, facts in sorted(files.items())}


def phone_heic(columns: int = 8, rows: int = 6, width: int = 4032, height: int = 3024) -> bytes:
    """The portrait again and again as a phone writes a HEIC: a grid of tiles, 12 megapixels by default.

    The tiles are the sample's, 512 x 512 pixels, so that no encoder is needed.
    ISO/IEC 14496-12, 8.11 (items); 23008-12, 6.6.2.3 (grid).
    """
    sample = portrait("heic")
    tile = sample[sample.index(b"mdat") + 4 :]
    at = sample.index(b"ipco") - 4
    # hvcC, colr, ispe and pixi, numbered from 1; the grid's own size becomes the fifth.
    properties = sample[at + 8 : at + int.from_bytes(sample[at : at + 4], "big")]
    tiles = range(1, columns * rows + 1)
    grid = len(tiles) + 1
    layout = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)

    def meta(data_at: int) -> bytes:
        extents = [(one, data_at + (one - 1) * len(tile), len(tile)) for one in tiles]
        extents.append((grid, data_at + len(tiles) * len(tile), len(layout)))
        kinds = dict.fromkeys(tiles, b"hvc1\0") | {grid: b"grid\0"}
        places = [struct.pack(">HHHII", one, 0, 1, start, length) for one, start, length in extents]
        items = [_box(b"infe", struct.pack(">HH", one, 0), kinds[one], version=2) for one in kinds]
        parts = struct.pack(f">HH{len(tiles)}H", grid, len(tiles), *tiles)
        associations = [struct.pack(">HB4B", one, 4, 0x81, 2, 3, 4) for one in tiles]
        associations.append(struct.pack(">HB3B", grid, 3, 2, 5, 4))
        size = _box(b"ispe", struct.pack(">II", width, height), version=0)
        return _box(
            b"meta",
            _box(b"hdlr", bytes(4), b"pict", bytes(13), version=0),
            _box(b"pitm", struct.pack(">H", grid), version=0),
            _box(b"iloc", struct.pack(">HH", 0x4400, grid), *places, version=0),
            _box(b"iinf", struct.pack(">H", grid), *items, version=0),
            _box(b"iref", _box(b"dimg", parts), version=0),
            _box(
                b"iprp",
                _box(b"ipco", properties, size),
                _box(b"ipma", struct.pack(">I", grid), *associations, version=0),
            ),
            version=0,
        )

    head = _box(b"ftyp", b"heic", bytes(4), b"mif1", b"heic")
    data_at = len(head) + len(meta(0)) + 8
    return head + meta(data_at) + _box(b"mdat", tile * len(tiles), layout)


def _box(name: bytes, *parts: bytes, version: int | None = None) -> bytes:
    content = b"".join(parts)
    if version is not None:
        content = bytes([version, 0, 0, 0]) + content
    return struct.pack(">I4s", 8 + len(content), name) + content
