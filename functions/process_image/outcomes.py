"""The outcomes an upload can have and the reasons to reject one: the one table of both.

analysis.py and convert_image's decoders.py choose among them. The rest reads the table or is tested against
it: messages, dashboard, operations.
"""

from __future__ import annotations

from typing import Literal

Outcome = Literal["face_detected", "no_face", "rejected"]

# What people read where nothing more is known about the file.
REASONS = {
    "empty": "the file is empty; upload it again",
    "gone": "the file was deleted before it was read",
    "too_large": "the file is larger than 15 MB; send a smaller copy",
    "too_small": "the picture is too small; at least 80 x 80 pixels are needed",
    "unsupported_format": "the file cannot be read as a JPEG or PNG picture; save it as one of them",
}
