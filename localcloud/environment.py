"""What the local cloud's processes and its clients find in their environment, and what they do not."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from .processes import RUN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOST = "127.0.0.1"
REGION = "us-east-1"

# All that comes from the user's own environment: what it takes to start Python. Profiles, proxies, locales
# and other Pythons' settings stay out of the server and of the Lambda workers.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def of_clients(endpoint_url: str, ca_bundle: Path) -> dict[str, str]:
    """The variables every AWS SDK, the CLI and Terraform read."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_CA_BUNDLE": str(ca_bundle),
        # The user's own profiles may name other endpoints, accounts and transfer settings.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": REGION,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # A proxy of the user's leads away from this computer. Programs read either spelling.
        "NO_PROXY": HOST,
        "no_proxy": HOST,
    }


def of_server(port: int, temporary: Path, checkout: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The server's own variables, which the Lambda workers inherit; `extra` replaces the first few."""
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        "LOG_LEVEL": "INFO",
        # As many executions at a time as such a computer can run; more are throttled, as in an account.
        "LAMBDA_ACCOUNT_CONCURRENCY": str(max(16, 8 * (os.cpu_count() or 1))),
        "LANG": "C.UTF-8",
        # glibc gives back the memory of a large picture; otherwise each thread keeps some 700 MB.
        "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
        "PYTHONUTF8": "1",
        "TZ": "UTC",
        **extra,
        "AUTH": "true",
        # MiniStack removes containers it takes for its own from any Docker it can reach.
        "DOCKER_HOST": f"unix://{temporary / 'no-docker.sock'}",
        "GATEWAY_PORT": str(port),
        "HOME": str(temporary / "home"),
        # Either would listen on every address.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "MINISTACK_SSL_CERT": str(temporary / "server.pem"),
        "MINISTACK_SSL_KEY": str(temporary / "server.pem"),
        "PYTHONUNBUFFERED": "1",
        "S3_DATA_DIR": str(temporary / "s3"),
        "STATE_DIR": str(temporary / "state"),
        "TMPDIR": str(temporary),
        "USE_SSL": "1",
        RUN_VARIABLE: checkout,
    }


def shell_lines(environment: Mapping[str, str]) -> str:
    """Lines a POSIX shell can source."""
    unset = "unset AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_PROFILE AWS_DEFAULT_PROFILE\n"
    return unset + "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in sorted(environment.items())
    )
