"""The environments: their two files, and the AWS accounts they belong to."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from operations import tfvars
from operations.errors import UserError, from_credentials
from operations.program import ROOT
from operations.terraform import Terraform

# The SDK and the parser are imported where they are used: `--help` would wait half a second for them.
if TYPE_CHECKING:
    from collections.abc import Mapping

    import boto3

FOLDER = ROOT / "environments"


class LocalCloud(Protocol):
    """A cloud on this computer: its directory, and the environment variables AWS clients need to use it."""

    @property
    def directory(self) -> Path: ...
    @property
    def environment(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class RunningCloud:
    """A local cloud that another process started, as its state file describes it."""

    directory: Path
    environment: Mapping[str, str]

    @classmethod
    def find(cls, directory: Path) -> RunningCloud | None:
        """The local cloud of `directory`; None when it does not answer."""
        try:
            environment = dict(json.loads((directory / "state.json").read_text("utf-8"))["environment"])
            address = urlsplit(environment["AWS_ENDPOINT_URL"])
            socket.create_connection((address.hostname or "", address.port or 0), timeout=1).close()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return cls(directory, environment)


@dataclass(frozen=True)
class Environment:
    """One environment as its two files describe it.

    Attributes:
        settings: the contents of ``environments/<name>.tfvars``.
        backend: the contents of ``environments/<name>.s3.tfbackend``: ``bucket``, ``key`` and ``region``.
        cloud: the caller's own local cloud (or the one in LOCALCLOUD_DIRECTORY), whose directory then holds
            Terraform's local files; without it, the environment ``local`` uses the cloud started by
            ``make local-up``.
    """

    name: str
    settings: Mapping[str, Any]
    backend: Mapping[str, Any]
    cloud: LocalCloud | None = None

    @classmethod
    def load(cls, name: str, cloud: LocalCloud | None = None) -> Environment:
        """Read the files of environment `name`.

        Raises UserError when one is missing, unreadable or invalid.
        """
        # When set, every environment uses this local cloud.
        directory = os.environ.get("LOCALCLOUD_DIRECTORY")
        if directory and not cloud and not (cloud := RunningCloud.find(Path(directory).resolve())):
            raise UserError(f"No local cloud is running in LOCALCLOUD_DIRECTORY={directory}; unset it.")
        variables, backend = FOLDER / f"{name}.tfvars", FOLDER / f"{name}.s3.tfbackend"
        if name not in known():
            missing = backend if variables.is_file() else variables
            raise UserError(
                f"There is no environment '{name}', as {missing.relative_to(ROOT)} is missing; choose one of"
                f" {', '.join(known())} with ENV=, or write it with 'make new-env'."
            )
        loaded = cls(name, tfvars.read(variables), tfvars.read(backend), cloud)
        if (named := loaded.settings.get("environment", name)) != name:
            raise UserError(
                f'{variables.relative_to(ROOT)} says environment = "{named}", whose resources it would take'
                f' over; say environment = "{name}" there, or rename the file.'
            )
        tfvars.check(loaded.settings, variables)
        for key in ("bucket", "key", "region"):
            if not loaded.backend.get(key):
                raise UserError(f"{backend.relative_to(ROOT)} does not set {key}; add it.")
        return loaded

    @property
    def local(self) -> bool:
        """Whether it is on this computer."""
        return self.name == "local" or self.cloud is not None

    @property
    def variables_file(self) -> Path:
        return FOLDER / f"{self.name}.tfvars"

    @property
    def backend_file(self) -> Path:
        return FOLDER / f"{self.name}.s3.tfbackend"

    @property
    def plan_file(self) -> Path:
        return (self.cloud.directory if self.cloud else ROOT / "build") / f"{self.name}.tfplan"

    @property
    def bootstrap_state(self) -> Path:
        """Terraform's state of the state bucket itself."""
        folder = ROOT / ("build" if self.local else "bootstrap")
        return (self.cloud.directory if self.cloud else folder) / f"{self.name}.tfstate"

    @property
    def state_bucket(self) -> str:
        return str(self.backend["bucket"])

    @property
    def state_region(self) -> str:
        return str(self.backend["region"])

    @property
    def region(self) -> str:
        """The region of everything except the state."""
        return str(self.settings.get("aws_region") or self.state_region)

    @property
    def account_ids(self) -> list[str]:
        """Accounts the environment may be applied to; empty allows any."""
        return [str(account) for account in self.settings.get("allowed_account_ids") or []]

    @cached_property
    def variables(self) -> dict[str, str | None]:
        """Environment variables for programs that use its account; None removes a variable.

        Raises UserError for a local environment when the local cloud is not running.
        """
        if not self.local:
            return {}
        cloud = self.cloud or RunningCloud.find(ROOT / "build" / "localcloud")
        if cloud is None:
            raise UserError("The local cloud is not running; start it with 'make local-up'.")
        # The shell's variables and the user's files are for another account.
        foreign = dict.fromkeys(name for name in os.environ if name.startswith("AWS_"))
        files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
        return {**foreign, **files, **cloud.environment}

    @cached_property
    def session(self) -> boto3.Session:
        """Credentials for the SDK; raises UserError as `variables` and for an unknown AWS_PROFILE."""
        import boto3
        import botocore.session
        from botocore import exceptions

        if self.local:
            # Ignore the user's variables and files.
            nothing = dict.fromkeys(("profile", "config_file", "credentials_file"), (None,) * 4)
            return boto3.Session(
                botocore_session=botocore.session.Session(session_vars=nothing),
                aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
            )
        try:
            return boto3.Session()
        except exceptions.ProfileNotFound as error:
            raise UserError(f"{error}; correct AWS_PROFILE.") from error

    def client(self, service: str, region: str | None = None, *, endpoint: str | None = None) -> Any:
        """Return an SDK client for the account and the region, or another region or endpoint."""
        from botocore.config import Config

        config = Config(
            connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 2}
        )
        verify = None
        if self.local:
            # The user's proxy cannot reach this computer.
            config = config.merge(Config(proxies={}))
            endpoint = endpoint or self.variables["AWS_ENDPOINT_URL"]
            verify = self.variables.get("AWS_CA_BUNDLE")
        make: Any = self.session.client
        return make(service, region or self.region, config=config, endpoint_url=endpoint, verify=verify)

    def account(self) -> str:
        """Return the account of the credentials.

        Raises UserError when no credentials work, or the environment belongs to another account.
        """
        from botocore import exceptions

        try:
            account = str(self.client("sts").get_caller_identity()["Account"])
        except (exceptions.BotoCoreError, exceptions.ClientError) as error:
            raise from_credentials(self.name, error) from error
        if self.account_ids and account not in self.account_ids:
            raise UserError(
                f"ENV={self.name} belongs to account {' or '.join(self.account_ids)}, but the AWS credentials"
                f" are for {account}; use the right profile, or correct allowed_account_ids in"
                f" {self.variables_file.relative_to(ROOT)}."
            )
        return account

    def terraform(self, folder: Path = ROOT) -> Terraform:
        """Return Terraform for the root module in `folder`, not yet initialised."""
        data = self.cloud.directory / "terraform" / self.name / folder.name if self.cloud else None
        return Terraform(self.name, folder=folder, variables=self.variables, data_dir=data)


def known() -> list[str]:
    """Return the names of the environments that have both files."""
    return sorted(one.stem for one in FOLDER.glob("*.tfvars") if one.with_suffix(".s3.tfbackend").is_file())
