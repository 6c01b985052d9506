"""Which object a typed key means: macOS writes file names decomposed (NFD), terminals type composed (NFC)."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import click

from operations import records, uploads
from operations.terminal import shown_key

if TYPE_CHECKING:
    from operations.deployment import Deployment


def forms(key: str) -> list[str]:
    """The key as typed, and its other Unicode forms; most keys have one."""
    return list(dict.fromkeys([key, *(unicodedata.normalize(form, key) for form in ("NFC", "NFD"))]))


def choose(deployment: Deployment, key: str) -> str:
    """The form of `key` that has an object or a record; says on stderr when that is not the typed one.

    The typed form where it exists, or where none does. Looks nowhere for a key of one form.
    """
    candidates = forms(key)
    if len(candidates) == 1:
        return key
    found = [form for form in candidates if _exists(deployment, form)]
    if found and found[0] != key:
        click.echo(
            f"Using the key {shown_key(found[0])} in another Unicode form: {_typed(found[0])}", err=True
        )
    for other in found[1:]:
        click.echo(f"There is another photo of this name in another Unicode form: {_typed(other)}", err=True)
    return found[0] if found else key


def _exists(deployment: Deployment, key: str) -> bool:
    listed = uploads.listing(deployment, key, markers=True)
    return any(one.key == key for one in listed) or any(records.by_key(deployment, key))


def _typed(key: str) -> str:
    """`key` as every shell that knows $'...' takes it, letter by letter."""
    quoted = re.sub(r"[\\']", r"\\\g<0>", key)
    return "KEY=$'" + re.sub(r"[^ -~]", lambda char: f"\\U{ord(char[0]):08x}", quoted) + "'"
