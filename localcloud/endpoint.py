"""The one address of a local cloud: its socket, its certificate, and whether anything answers there."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from typing import TYPE_CHECKING

import trustme

from operations.errors import UserError

from .environment import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class LocalCloudError(UserError):
    """The local cloud cannot start or be reached."""


@contextlib.contextmanager
def listening(port: int | None) -> Iterator[socket.socket]:
    """A socket on a port for the server to take over, so that nobody else can take the port meanwhile."""
    if port is not None and not 1024 <= port <= 65535:
        raise LocalCloudError(f"--port must be between 1024 and 65535, not {port}.")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # A port in TIME_WAIT counts as free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port or 0))
        except OSError:
            raise LocalCloudError(
                f"Port {port} is in use; stop what uses it or choose another with --port."
            ) from None
        yield listener


def make_certificate(ca_bundle: Path, directory: Path) -> None:
    """Make an authority for this run and a certificate for 127.0.0.1 with its key."""
    authority = trustme.CA()
    server = authority.issue_cert(HOST)
    authority.cert_pem.write_to_path(str(ca_bundle))
    server.cert_chain_pems[0].write_to_path(str(directory / "server.pem"))
    server.private_key_pem.write_to_path(str(directory / "server.key"))


def answers(port: int, ca_bundle: Path) -> bool:
    context = ssl.create_default_context(cafile=str(ca_bundle))
    connection = http.client.HTTPSConnection(HOST, port, timeout=2, context=context)
    try:
        connection.request("GET", "/_ministack/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
