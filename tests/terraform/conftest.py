"""Fixtures Terraform's tests share."""

from __future__ import annotations

import pytest

from tests.terraform.workspace import Workspace


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.copy(tmp_path_factory.mktemp("workspace"), tmp_path_factory.mktemp("data"))
