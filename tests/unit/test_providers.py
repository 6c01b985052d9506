"""Where Terraform takes its providers from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from operations import terraform
from operations.program import ROOT
from operations.terraform import Terraform, locked_providers

if TYPE_CHECKING:
    from pathlib import Path


def mirror(folder: Path, *, version: str | None = None, packed: bool = False) -> Path:
    """A mirror laid out as ``terraform providers mirror`` does, with empty files."""
    for source, locked in locked_providers().items():
        place = folder / source
        if packed:
            place.mkdir(parents=True)
            (place / f"terraform-provider-{place.name}_{version or locked}_linux_amd64.zip").touch()
        else:
            (place / (version or locked) / "linux_amd64").mkdir(parents=True)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, a repository and a folder of add-on packages of the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR", "TF_PLUGIN_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(terraform, "ADD_ONS", tmp_path / "opt")
    monkeypatch.setattr(terraform, "ROOT", tmp_path / "repository")
    return tmp_path


def init(monkeypatch: pytest.MonkeyPatch, **variables: str | None) -> tuple[list[str], str | None]:
    """Further settings of an init, and its plugin cache."""
    runner = Terraform("dev", folder=ROOT, variables=variables)
    run: list[str] = []

    def stream(*arguments: str) -> tuple[()]:
        run.extend(arguments)
        return ()

    monkeypatch.setattr(runner, "stream", stream)
    runner.init()
    assert run[0] == "init"
    return run[4:], runner.variables.get("TF_PLUGIN_CACHE_DIR")


def test_the_lock_file_names_the_provider_for_every_platform() -> None:
    assert locked_providers() == {"registry.terraform.io/hashicorp/aws": "5.100.0"}
    root, bootstrap = (ROOT / folder / ".terraform.lock.hcl" for folder in (".", "bootstrap"))
    assert root.read_text() == bootstrap.read_text()
    # One archive for each of the registry's fifteen platforms.
    assert root.read_text().count('"zh:') == 15


@pytest.mark.parametrize("packed", [True, False])
def test_providers_are_taken_from_a_mirror_of_an_add_on_package(
    home: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    folder = mirror(home / "opt" / "terraform-providers", packed=packed)
    assert init(monkeypatch) == ([f"-plugin-dir={folder}"], None)


def test_a_mirror_that_is_named_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror(home / "opt" / "terraform-providers")
    named = mirror(home / "named")
    monkeypatch.setenv("TF_PLUGIN_MIRROR", str(named))
    assert init(monkeypatch) == ([f"-plugin-dir={named}"], None)


@pytest.mark.parametrize("version", ["5.99.0", "6.0.0"])
def test_a_mirror_without_the_locked_version_is_left_alone(home: Path, version: str) -> None:
    mirror(home / "opt" / "terraform-providers", version=version)
    assert terraform.find_mirror(ROOT) is None


def test_providers_are_downloaded_once_for_all_working_directories(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = home / "repository" / "build" / "plugins"
    assert init(monkeypatch) == ([], str(kept))
    # Terraform refuses a cache that does not exist.
    assert kept.is_dir()


@pytest.mark.parametrize("own", [".terraformrc", "own.tfrc"])
def test_a_user_who_configured_terraform_is_left_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch, own: str
) -> None:
    mirror(home / "opt" / "terraform-providers")
    (home / own).touch()
    if own != ".terraformrc":
        monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(home / own))
    assert init(monkeypatch) == ([], None)
    assert terraform.process_environment().get("TF_CLI_CONFIG_FILE") in (None, str(home / own))


def test_a_cache_of_the_users_own_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    assert init(monkeypatch, TF_PLUGIN_CACHE_DIR="/mine") == ([], "/mine")


def test_a_configuration_that_does_not_exist_is_forgotten(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(home / "none.tfrc"))
    assert "TF_CLI_CONFIG_FILE" not in terraform.process_environment()


@pytest.mark.terraform
def test_terraform_takes_the_provider_from_the_mirror_and_nowhere_else(home: Path) -> None:
    """A mirror of empty files shows it: Terraform looks there, finds the wrong checksums, and gives up."""
    folder = home / "repository"
    folder.mkdir()
    (folder / ".terraform.lock.hcl").write_bytes((ROOT / ".terraform.lock.hcl").read_bytes())
    (folder / "main.tf").write_text(
        'terraform {\n  required_providers {\n    aws = {\n      source = "hashicorp/aws"\n    }\n  }\n}\n'
    )
    mirror(home / "opt" / "terraform-providers")
    with pytest.raises(terraform.TerraformError, match="checksum"):
        Terraform("dev", folder=folder).init()
