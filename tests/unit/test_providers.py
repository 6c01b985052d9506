"""Where Terraform takes its providers from."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from operations import providers, terraform
from operations.errors import UserError
from operations.program import ROOT

PROCESSOR = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PLATFORM = f"{platform.system().lower()}_{PROCESSOR}"


def mirror(folder: Path, *, version: str | None = None, packed: bool = False) -> Path:
    """A mirror laid out as ``terraform providers mirror`` does, with empty files."""
    for source, locked in providers.locked_providers().items():
        place = folder / source
        if packed:
            name = f"terraform-provider-{place.name}_{version or locked}_{PLATFORM}.zip"
            place.mkdir(parents=True)
            (place / name).touch()
        else:
            (place / (version or locked) / PLATFORM).mkdir(parents=True)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory and a build folder of the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    names = "TF_CLI_CONFIG_FILE TF_PLUGIN_CACHE_DIR TF_PLUGIN_MIRROR XDG_CACHE_HOME XDG_DATA_HOME"
    for name in names.split():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(providers, "ADD_ONS", tmp_path / "opt")
    return tmp_path


def test_the_lock_file_names_the_provider_for_every_platform() -> None:
    assert providers.locked_providers() == {"registry.terraform.io/hashicorp/aws": "5.100.0"}
    root, bootstrap = (ROOT / folder / ".terraform.lock.hcl" for folder in (".", "bootstrap"))
    assert root.read_text() == bootstrap.read_text()
    # One archive for each of the registry's fifteen platforms.
    assert root.read_text().count('"zh:') == 15


@pytest.mark.parametrize("packed", [True, False])
def test_a_named_mirror_is_used_for_what_it_holds(home: Path, packed: bool) -> None:
    folder = mirror(home / "providers", packed=packed)
    assert providers.find_mirror(providers.locked_providers(), {"TF_PLUGIN_MIRROR": str(folder)}) == folder


@pytest.mark.parametrize("version", ["5.99.0", "6.0.0"])
def test_a_named_mirror_without_the_locked_version_is_refused(home: Path, version: str) -> None:
    folder = mirror(home / "providers", version=version)
    with pytest.raises(UserError, match=r"does not hold .*hashicorp/aws 5\.100\.0"):
        providers.find_mirror(providers.locked_providers(), {"TF_PLUGIN_MIRROR": str(folder)})


def test_a_mirror_of_an_add_on_package_is_found(home: Path) -> None:
    folder = mirror(home / "opt" / "terraform-providers")
    assert providers.find_mirror(providers.locked_providers(), {}) == folder


def test_a_configuration_of_the_users_own_is_left_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = home / "own.tfrc"
    configuration.touch()
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(configuration))
    assert providers.process_environment()["TF_CLI_CONFIG_FILE"] == str(configuration)


def test_a_configuration_that_does_not_exist_is_forgotten(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(home / "none.tfrc"))
    assert "TF_CLI_CONFIG_FILE" not in providers.process_environment()


@pytest.fixture
def bare(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory on a computer without a mirror."""
    monkeypatch.setattr(providers, "ROOT", home / "repository")
    return home


def cache() -> str | None:
    return providers.process_environment(ROOT).get("TF_PLUGIN_CACHE_DIR")


def test_providers_are_unpacked_once_for_all_working_directories(bare: Path) -> None:
    assert cache() == str(bare / ".cache" / "photo-analysis" / "plugins")
    # Terraform refuses a cache that does not exist.
    assert (bare / ".cache" / "photo-analysis" / "plugins").is_dir()


def test_a_user_who_configured_terraform_is_left_alone(bare: Path) -> None:
    (bare / ".terraformrc").write_text('plugin_cache_dir = "/mine"\n')
    assert cache() is None


@pytest.mark.usefixtures("bare")
def test_a_cache_of_the_users_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_PLUGIN_CACHE_DIR", "/mine")
    assert cache() == "/mine"


def test_a_home_that_cannot_be_written_to_does_without_the_cache(bare: Path) -> None:
    (bare / ".cache").touch()
    assert cache() is None


@pytest.mark.terraform
def test_terraform_takes_the_provider_from_the_mirror_and_nowhere_else(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror of empty files shows it: Terraform looks there, finds the wrong checksums, and gives up."""
    monkeypatch.setattr(providers, "ROOT", _repository(home / "repository"))
    monkeypatch.setenv("TF_PLUGIN_MIRROR", str(mirror(home / "providers")))
    runner = terraform.Terraform("dev", folder=home / "repository")
    configuration = Path(runner.variables["TF_CLI_CONFIG_FILE"]).read_text()
    assert str(home / "providers") in configuration
    with pytest.raises(terraform.TerraformError, match="checksum"):
        runner.init()


def _repository(folder: Path) -> Path:
    folder.mkdir()
    (folder / ".terraform.lock.hcl").write_bytes((ROOT / ".terraform.lock.hcl").read_bytes())
    (folder / "main.tf").write_text(
        'terraform {\n  required_providers {\n    aws = {\n      source = "hashicorp/aws"\n    }\n  }\n}\n'
    )
    return folder


def test_a_user_without_a_home_does_without_the_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.setattr(providers, "ROOT", home / "repository")
    assert cache() is None
