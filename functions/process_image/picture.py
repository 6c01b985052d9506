"""Read format and size from the first bytes of a JPEG or PNG, only for the text of a rejection."""

from __future__ import annotations

from dataclasses import dataclass

# An EXIF thumbnail of at most 64 KB, and a colour profile, come before a JPEG's size.
HEAD_BYTES = 256 * 1024

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# SOF0 to SOF15 without DHT, JPG and DAC. https://www.w3.org/Graphics/JPEG/itu-t81.pdf, table B.1
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class Picture:
    """`format`: "JPEG", "PNG" or None for anything else; `width` and `height` in pixels, 0 if unknown."""

    format: str | None = None
    width: int = 0
    height: int = 0

    @classmethod
    def read(cls, head: bytes) -> Picture:
        """Read the beginning of a file; raises nothing, whatever the bytes."""
        if head.startswith(_PNG):
            return cls("PNG", _number(head, 16, 4), _number(head, 20, 4))
        if head.startswith(_JPEG):
            return cls("JPEG", *_jpeg_size(head))
        return cls()


def _jpeg_size(head: bytes) -> tuple[int, int]:
    at = 2
    while head[at : at + 1] == b"\xff":
        marker = _number(head, at + 1, 1)
        if marker in _FRAMES:
            return _number(head, at + 7, 2), _number(head, at + 5, 2)
        # 0xFF may fill the space before a marker.
        at += 1 if marker == 0xFF else 2 + _number(head, at + 2, 2)
    return 0, 0


def _number(data: bytes, at: int, length: int) -> int:
    part = data[at : at + length]
    return int.from_bytes(part, "big") if len(part) == length else 0
