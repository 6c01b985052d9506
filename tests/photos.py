"""One portrait in every format that is converted, made here from the samples."""

from __future__ import annotations

import io
import json
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
