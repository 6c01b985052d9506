"""Reads an environment's files and the declarations in variables.tf."""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from operations.errors import UserError
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

ACCOUNT = re.compile(r"[0-9]{12}")

# An attribute of an object type, as hcl2 writes it, and its default if it is optional.
_ATTRIBUTE = re.compile(r"(\w+) = (?:optional\(\w+(?:\([^()]*\))?(?:, ([^()]*))?\))?")


class Variable(NamedTuple):
    """A declared variable; `attributes` has the defaults of an object's attributes, or of a map's objects."""

    default: Any
    attributes: dict[str, Any]
    is_map: bool


def read(path: Path) -> dict[str, Any]:
    """Parse the HCL file at `path`, strings without quotes; raises UserError with the line of an error."""
    import hcl2

    reading = hcl2.SerializationOptions(with_comments=False, strip_string_quotes=True)
    place = path.relative_to(ROOT)
    try:
        content: dict[str, Any] = hcl2.loads(path.read_text("utf-8"), serialization_options=reading)
    # The parser exports no common base class for its errors.
    except Exception as error:
        line = getattr(error, "line", None)
        at = f":{line}" if isinstance(line, int) and line > 0 else ""
        raise UserError(f"{place}{at} is not valid; write one 'name = value' a line.") from error
    return content


def declared() -> dict[str, Variable]:
    """Return the variables in variables.tf by name; empty without that file."""
    file = ROOT / "variables.tf"
    found = {}
    for block in read(file)["variable"] if file.is_file() else ():
        [(name, variable)] = ((name, one) for name, one in block.items() if isinstance(one, dict))
        kind = str(variable["type"])
        # Numbers, true, false, null, lists and quoted text are valid JSON too.
        attributes = {key: json.loads(text or "null") for key, text in _ATTRIBUTE.findall(kind)}
        found[name.strip('"')] = Variable(variable.get("default"), attributes, "map(" in kind)
    return found


def check(settings: Mapping[str, Any], file: Path) -> None:
    """Raise UserError for a setting that variables.tf does not declare, or an invalid account id.

    Terraform only warns about an unknown setting, and silently drops an unknown attribute.
    """
    place = file.relative_to(ROOT)
    variables = declared()
    for name, value in settings.items() if variables else ():
        _refuse_unknown(f"{place}: there is no setting {name}", name, variables)
        one = variables[name]
        objects = {name: value}
        if one.is_map and isinstance(value, dict):
            objects = {f"{name}.{key}": entry for key, entry in value.items()}
        for where, entry in objects.items() if one.attributes else ():
            for key in entry if isinstance(entry, dict) else ():
                _refuse_unknown(f"{place}: there is no setting {key} in {where}", key, one.attributes)
    # variables.tf validates them too, but only after the credentials were compared with them.
    accounts = settings.get("allowed_account_ids") or []
    if not all(ACCOUNT.fullmatch(str(account)) for account in accounts):
        raise UserError(
            f"{place}: allowed_account_ids must be a list of account ids of twelve digits, in quotes, like"
            f' ["111122223333"], not {accounts}.'
        )


def _refuse_unknown(sentence: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        alike = difflib.get_close_matches(name, list(known), n=1)
        hint = f"did you mean {alike[0]}?" if alike else f"there are {', '.join(sorted(known))}."
        raise UserError(f"{sentence}; {hint}")
