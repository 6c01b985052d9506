"""What an environment's files say, checked against what variables.tf knows."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from operations.errors import UserError
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

ACCOUNT = re.compile(r"[0-9]{12}")

_VARIABLE = re.compile(
    r'^variable "(?P<name>\w+)" \{\n  type\s*= (?P<type>.*?)\n  \w', re.MULTILINE | re.DOTALL
)
_ATTRIBUTE = re.compile(r"^ +(\w+)\s*=", re.MULTILINE)


def parsed(text: str) -> dict[str, Any]:
    """Return what a file in HCL says, texts without their quotes."""
    import hcl2

    reading = hcl2.SerializationOptions(with_comments=False, strip_string_quotes=True)
    content: dict[str, Any] = hcl2.loads(text, serialization_options=reading)
    return content


def read(path: Path) -> dict[str, Any]:
    """Return what the file in HCL at `path` says.

    Raises:
        UserError: it is not HCL, naming the line.
    """
    try:
        return parsed(path.read_text("utf-8"))
    # The parser's own errors have no common base in what it exports.
    except Exception as error:
        line = getattr(error, "line", None)
        place = (
            f"{path.relative_to(ROOT)}:{line}"
            if isinstance(line, int) and line > 0
            else path.relative_to(ROOT)
        )
        raise UserError(f"{place} is not valid; write one 'name = value' a line.") from error


def check(settings: Mapping[str, Any], file: Path) -> None:
    """Refuse settings that variables.tf does not have.

    Terraform only warns of a setting it does not know, and drops an unknown attribute without a word.

    Raises:
        UserError: naming the setting, or an account id that cannot be one.
    """
    declared = ROOT / "variables.tf"
    types = {
        match["name"]: match["type"]
        for match in _VARIABLE.finditer(declared.read_text("utf-8") if declared.is_file() else "")
    }
    for name, value in settings.items() if types else ():
        if name not in types:
            raise UserError(_unknown(file, name, types))
        attributes = set(_ATTRIBUTE.findall(types[name]))
        # An object, or a map of objects by names of the team's choice.
        objects = (
            {f"{name}.{key}": one for key, one in value.items()}
            if "map(object" in types[name]
            else {name: value}
        )
        for place, one in objects.items() if attributes else ():
            for key in one if isinstance(one, dict) else ():
                if key not in attributes:
                    raise UserError(_unknown(file, key, attributes, f" in {place}"))
    _check_accounts(settings, file)


def _unknown(file: Path, name: str, known: Iterable[str], place: str = "") -> str:
    alike = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean {alike[0]}?" if alike else f"there are {', '.join(sorted(known))}."
    return f"{file.relative_to(ROOT)}: there is no setting {name}{place}; {hint}"


def _check_accounts(settings: Mapping[str, Any], file: Path) -> None:
    """As variables.tf does, but before credentials are held against them."""
    accounts = settings.get("allowed_account_ids") or []
    if isinstance(accounts, list) and all(
        isinstance(account, str) and ACCOUNT.fullmatch(account) for account in accounts
    ):
        return
    raise UserError(
        f"{file.relative_to(ROOT)}: allowed_account_ids must be a list of account ids"
        f' of twelve digits, in quotes, like ["111122223333"], not {accounts}.'
    )
