"""A deployed environment: Terraform's outputs and clients for its account."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from operations import state
from operations.environments import Environment

if TYPE_CHECKING:
    from localcloud import LocalCloud


@dataclass
class Deployment:
    """One environment that is deployed. `outputs` are Terraform's, see outputs.tf."""

    environment: Environment
    outputs: dict[str, Any]
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def load(cls, name: str, cloud: LocalCloud | None = None) -> Self:
        """Find environment `name`.

        Raises UserError or TerraformError, one sentence each: there is no such environment, it is not
        deployed, or its credentials are missing, expired or another account's.
        """
        environment = Environment.load(name, cloud)
        environment.account()
        return cls(environment, state.output(environment))

    def client(self, service: str) -> Any:
        """An SDK client for the environment's account and region; made once."""
        if service not in self._clients:
            self._clients[service] = self.environment.client(service)
        return self._clients[service]

    @property
    def bucket(self) -> str:
        return str(self.outputs["uploads_bucket_name"])

    @property
    def dead_letter_queue_url(self) -> str:
        return str(self.outputs["dead_letter_queue_url"])

    @property
    def state_machine_arn(self) -> str:
        return str(self.outputs["state_machine_arn"])

    @property
    def table(self) -> str:
        return str(self.outputs["results_table_name"])
