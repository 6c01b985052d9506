"""The error type for users, and messages for AWS's errors."""

from __future__ import annotations

import sys
from typing import IO, Any

import click

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})


class UserError(click.ClickException):
    """An error the user can fix: one sentence saying what is wrong and what to do about it."""

    def show(self, file: IO[Any] | None = None) -> None:
        from operations.terminal import visible

        # Messages can contain keys, which uploaders choose: none may send control codes to the terminal.
        click.echo(f"Error: {visible(self.message, keep=chr(10))}", err=file is None, file=file)


def is_sdk_error(error: BaseException) -> bool:
    """Whether the SDK raised it; does not import the SDK."""
    exceptions = sys.modules.get("botocore.exceptions")
    return exceptions is not None and isinstance(error, (exceptions.BotoCoreError, exceptions.ClientError))


def code_of(error: Exception) -> str:
    """AWS's code for an SDK error; empty when AWS did not respond."""
    # The error for a truncated response has the attribute too, but it is None.
    return str((getattr(error, "response", None) or {}).get("Error", {}).get("Code", ""))


def from_sdk(error: Any) -> UserError:
    """The message for an SDK error."""
    if not getattr(error, "response", None):
        return UserError(f"AWS cannot be reached ({error}); check the network and run it again.")
    code = code_of(error)
    if code in _EXPIRED:
        return UserError(
            "The AWS credentials have expired; sign in again ('aws sso login') and run it again."
        )
    return UserError(f"AWS refused {error.operation_name}: {error.response['Error'].get('Message', code)}")


def from_credentials(name: str, error: Exception) -> UserError:
    """The message for credentials of environment `name` that AWS does not accept."""
    from botocore import exceptions

    again = "sign in again ('aws sso login')"
    code = code_of(error)
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return UserError(f"There are no AWS credentials for ENV={name}; {again} or set AWS_PROFILE.")
    if code in _EXPIRED or isinstance(error, (exceptions.SSOError, exceptions.TokenRetrievalError)):
        return UserError(f"The AWS credentials for ENV={name} have expired; {again}.")
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
        return UserError(f"AWS cannot be reached for ENV={name}; check the network and AWS_ENDPOINT_URL.")
    return UserError(
        f"AWS refuses the credentials for ENV={name} ({code or error}); {again} or set AWS_PROFILE."
    )
