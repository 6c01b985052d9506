"""Recognise a file's format by its first bytes: its name and Content-Type are not trusted."""

from __future__ import annotations

# The formats that are decoded, by their names in tfvars' `convert.formats` and the record's `Format`.
FORMATS = {
    "avif": "an AVIF picture",
    "bmp": "a BMP picture",
    "gif": "a GIF picture",
    "heic": "a HEIC picture",
    "jp2": "a JPEG 2000 picture",
    "jpeg": "a JPEG picture",
    "png": "a PNG picture",
    "tiff": "a TIFF picture",
    "webp": "a WebP picture",
}

# (offset, bytes, format); the first match counts, so longer ones come first.
_MAGIC = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (8, b"WEBPVP8", "webp"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (0, b"\xff\x4f\xff\x51", "jp2"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw picture (Fujifilm RAF)"),
    (0, b"FOVb", "a camera's raw picture (Sigma X3F)"),
    (0, b"IIRO", "a camera's raw picture (Olympus ORF)"),
    (0, b"IIU\0", "a camera's raw picture (Panasonic RW2)"),
    (0, b"\0MRM", "a camera's raw picture (Minolta MRW)"),
    (8, b"CR\x02\0", "a camera's raw picture (Canon CR2)"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"PK\3\4", "a ZIP archive or an office document"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x1aE\xdf\xa3", "a video (Matroska or WebM)"),
)
_BRANDS = {
    "avif": {b"avif", b"avis"},
    "heic": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"},
    "a camera's raw picture (Canon CR3)": {b"crx "},
}


def recognise(data: bytes) -> str:
    """One of FORMATS, or a description of what else the file is."""
    for offset, magic, kind in _MAGIC:
        if data.startswith(magic, offset):
            return _tiff(data) if kind == "tiff" else kind
    if data[4:8] == b"ftyp":
        return _box(data)
    # Any text can begin with these two letters, so check the header's size too, which is one of six.
    if data.startswith(b"BM") and data[14:18] in {
        bytes([size, 0, 0, 0]) for size in (12, 40, 52, 56, 108, 124)
    }:
        return "bmp"
    return _text(data[:1024])


def _box(data: bytes) -> str:
    """ISO base media: the brand the file was written for, then those it is compatible with."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]
    # mif1 only means a still picture; the other brands name its codec.
    for brand in sorted(brands, key=lambda one: one in {b"mif1", b"msf1"}):
        for kind, known in _BRANDS.items():
            if brand in known:
                return kind
    return "a video (MP4 or QuickTime)"


def _tiff(data: bytes) -> str:
    """Distinguish a TIFF from a camera's raw file, whose first directory only has a thumbnail."""
    order = "little" if data.startswith(b"II") else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]

    start = number(4, 4)
    tags = {
        number(at, 2): number(at + 8, 2)
        for at in range(start + 2, start + 2 + 12 * min(number(start, 2), 512), 12)
    }
    # DNGVersion, or sub-directories behind a reduced picture of a named camera (NEF, ARW, PEF).
    # https://helpx.adobe.com/camera-raw/digital-negative.html
    if 0xC612 in tags:
        return "a camera's raw picture (DNG)"
    if {0x010F, 0x014A, 0x00FE} <= tags.keys() and tags[0x00FE] == 1:
        return "a camera's raw picture (NEF, ARW or PEF)"
    return "tiff"


def _text(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in text:
        return "an SVG drawing"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    # The last character may be incomplete.
    if len(head) >= 4 and b"\0" not in head and len(head.decode(errors="ignore").encode()) >= len(head) - 3:
        return "text"
    return "of no kind that is known here"
