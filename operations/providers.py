"""Where Terraform takes its providers from: a mirror, or a cache that all working directories share."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

from operations.errors import UserError
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ADD_ONS = Path("/opt")
_LOCKED = re.compile(r'^provider "(?P<source>[^"]+)" \{\s*version\s*=\s*"(?P<version>[^"]+)"', re.MULTILINE)
_PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64"}


def process_environment(folder: Path = ROOT) -> dict[str, str]:
    """Return the process environment a Terraform command runs with in `folder`.

    Where a filesystem mirror holds the providers of its lock file, a CLI configuration in ``build/`` says so;
    otherwise Terraform's own configuration stands, and it keeps what it unpacks in the user's cache: AWS's
    provider takes 675 MB, and every environment has a working directory of its own.

    Raises:
        UserError: TF_PLUGIN_MIRROR names a folder that does not hold the providers.
    """
    variables = dict(os.environ)
    variables |= {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    named = variables.get("TF_CLI_CONFIG_FILE")
    if named and not Path(named).is_file():
        # Terraform would warn about it on every command.
        del variables["TF_CLI_CONFIG_FILE"]
    own = Path(variables.get("TF_CLI_CONFIG_FILE") or _home() / ".terraformrc")
    providers = locked_providers(folder)
    mirror = find_mirror(providers, variables, configured=own.is_file())
    if mirror:
        variables["TF_CLI_CONFIG_FILE"] = str(_write_configuration(mirror, providers))
    elif providers and not own.is_file() and "TF_PLUGIN_CACHE_DIR" not in variables:
        home = os.environ.get("XDG_CACHE_HOME")
        cached = (Path(home) if home else _home() / ".cache") / "photo-analysis" / "plugins"
        # Where there is no writing into a home, every working directory has its own copy.
        with contextlib.suppress(OSError):
            # Terraform takes none that does not exist.
            cached.mkdir(parents=True, exist_ok=True)
            variables["TF_PLUGIN_CACHE_DIR"] = str(cached)
    return variables


def _home() -> Path:
    """The user's home; nowhere for a user without one, as in a container."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull)


def find_mirror(
    providers: Mapping[str, str], variables: Mapping[str, str], *, configured: bool = False
) -> Path | None:
    """Return the folder of a filesystem mirror that holds all of `providers`, if there is one.

    TF_PLUGIN_MIRROR names it; otherwise, where Terraform is not `configured` by its user, one that an add-on
    package has below /opt (Filesystem Hierarchy Standard 3.13) is taken.

    Raises:
        UserError: TF_PLUGIN_MIRROR names a folder that does not hold them.
    """
    if not providers:
        return None
    named = variables.get("TF_PLUGIN_MIRROR")
    if named:
        mirror = Path(named).expanduser()
        if not _holds(mirror, providers):
            wanted = ", ".join(f"{source} {version}" for source, version in providers.items())
            raise UserError(f"TF_PLUGIN_MIRROR={named} does not hold {wanted}; correct or unset it.")
        return mirror
    if configured:
        return None
    found = (path.parent for path in sorted(ADD_ONS.glob("*/registry.terraform.io")))
    return next((folder for folder in found if _holds(folder, providers)), None)


def locked_providers(folder: Path = ROOT) -> dict[str, str]:
    """Return the version of each provider in the lock file of `folder` by its source address."""
    lock = folder / ".terraform.lock.hcl"
    text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
    return {match["source"]: match["version"] for match in _LOCKED.finditer(text)}


@contextlib.contextmanager
def alone(cache: str | None) -> Iterator[None]:
    """Let one ``terraform init`` at a time use a plugin cache.

    Two that unpack into it at once spoil it: https://github.com/hashicorp/terraform/issues/31964
    """
    if not cache or not Path(cache).is_dir():
        yield
        return
    # The lock is the folder, so no lock file is left.
    descriptor = os.open(cache, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _holds(mirror: Path, providers: Mapping[str, str]) -> bool:
    """Whether a mirror has `providers` for this platform, unpacked or packed."""
    system, processor = platform.system().lower(), platform.machine().lower()
    target = f"{system}_{_PROCESSORS.get(processor, processor)}"
    return all(
        (mirror / source / version / target).is_dir()
        or (
            mirror / source / f"terraform-provider-{source.rpartition('/')[2]}_{version}_{target}.zip"
        ).is_file()
        for source, version in providers.items()
    )


def _write_configuration(mirror: Path, providers: Mapping[str, str]) -> Path:
    sources = json.dumps(sorted(providers))
    text = f"""\
provider_installation {{
  filesystem_mirror {{
    path    = {json.dumps(str(mirror.resolve()))}
    include = {sources}
  }}
  direct {{
    exclude = {sources}
  }}
}}
"""
    target = ROOT / "build" / "terraform.rc"
    if not (target.is_file() and target.read_text(encoding="utf-8") == text):
        target.parent.mkdir(exist_ok=True)
        draft = target.with_suffix(f".{os.getpid()}")
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
    return target
