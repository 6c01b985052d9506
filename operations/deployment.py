"""A deployed environment: Terraform's outputs and clients for its account."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from operations import state
from operations.environments import Environment
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from operations.environments import LocalCloud


@dataclass
class Deployment:
    """One environment that is deployed. `outputs` are Terraform's, see outputs.tf."""

    environment: Environment
    outputs: dict[str, Any]
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def load(cls, name: str, cloud: LocalCloud | None = None) -> Self:
        """Load environment `name`; raises UserError when it is not deployed."""
        environment = Environment.load(name, cloud)
        return cls(environment, state.output(environment))

    def client(self, service: str) -> Any:
        """An SDK client for the environment's account and region, shared by all threads."""
        # Creating one is not thread-safe.
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self.environment.client(service)
            return self._clients[service]

    def value(self, output: str) -> Any:
        """One of Terraform's outputs; raises UserError when the deployed version lacks it."""
        if output not in self.outputs:
            name = self.environment.name
            raise UserError(
                f"ENV={name} was deployed by an earlier version without the output {output};"
                f" run 'make apply ENV={name}'."
            )
        return self.outputs[output]

    @property
    def name(self) -> str:
        """The prefix of every resource's name."""
        return str(self.outputs.get("name") or self.table.removesuffix("-results"))

    @property
    def bucket(self) -> str:
        return str(self.value("uploads_bucket_name"))

    @property
    def dead_letter_queue_url(self) -> str:
        return str(self.value("dead_letter_queue_url"))

    @property
    def state_machine_arn(self) -> str:
        return str(self.value("state_machine_arn"))

    @property
    def table(self) -> str:
        return str(self.value("results_table_name"))

    @property
    def upload_prefix(self) -> str:
        """Keys that do not begin with this start no workflow."""
        return str(self.environment.settings.get("upload_prefix") or "")


def together(*calls: Callable[[], Any]) -> list[Any]:
    """The results of independent calls, run concurrently."""
    with ThreadPoolExecutor(max(1, len(calls))) as pool:
        return list(pool.map(lambda call: call(), calls))
