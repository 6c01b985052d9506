"""All outcomes of an upload, and all reasons to reject one.

analysis.py and convert_image's decoders.py choose among them. Everything else (messages, dashboard,
operations) reads this table or is tested against it.
"""

from __future__ import annotations

from typing import Literal

Outcome = Literal["face_detected", "no_face", "rejected"]

# The texts for people when nothing more is known about the file.
REASONS = {
    "empty": "the file is empty; upload it again",
    "gone": "the file was deleted before it was read",
    "too_large": "the file is larger than 15 MB; send a smaller copy",
    "too_small": "the picture is too small; at least 80 x 80 pixels are needed",
    "unsupported_format": "the file cannot be read as a JPEG or PNG picture; save it as one of them",
}
