"""A plan that failed is not there to be applied."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from operations import deploy, plan
from operations.environments import FOLDER
from operations.terraform import TerraformError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Terraform:
    """Writes its plan as Terraform does when a postcondition fails, or when it is interrupted at its end."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    def stream(self, *arguments: str) -> Iterator[dict[str, Any]]:
        [place] = [one.removeprefix("-out=") for one in arguments if one.startswith("-out=")]
        with open(place, "wb") as file:  # noqa: PTH123
            file.write(b"a plan")
        yield {"type": "planned_change"}
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    ("error", "kept"),
    [(None, True), (TerraformError("it is not to be renamed"), False), (KeyboardInterrupt(), False)],
)
def test_only_a_plan_that_succeeded_is_saved(error: BaseException | None, kept: bool, tmp_path: Path) -> None:
    environment: Any = SimpleNamespace(
        name="local",
        plan_file=tmp_path / "build" / "local.tfplan",
        variables_file=FOLDER / "local.tfvars",
        backend_file=FOLDER / "local.s3.tfbackend",
    )
    terraform: Any = Terraform(error)
    if error is None:
        deploy.make_plan(environment, Console(quiet=True), terraform)
    else:
        with pytest.raises(type(error)):
            deploy.make_plan(environment, Console(quiet=True), terraform)
    assert (plan.saved(environment) is not None) is kept
    assert any((tmp_path / "build").iterdir()) is kept
