"""Fixtures and settings the unit tests share."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from tests.unit.pipeline import Pipeline

hypothesis.settings.register_profile("local", deadline=None, max_examples=100)
hypothesis.settings.register_profile(
    "ci", deadline=None, max_examples=100, derandomize=True, database=None, print_blob=True
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty AWS account in memory, whatever the shell that runs the tests points to."""
    from moto import mock_aws

    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    with mock_aws():
        yield


@pytest.fixture
def pipeline(aws: None) -> Pipeline:  # noqa: ARG001
    from tests.unit.pipeline import make_pipeline

    return make_pipeline()


@pytest.fixture
def load_handler(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Import a function's handler as a cold start does, with environment variables set or (None) unset."""

    def load(function: str, **environment: str | None) -> ModuleType:
        for name, value in environment.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        monkeypatch.delitem(sys.modules, f"{function}.handler", raising=False)
        return importlib.import_module(f"{function}.handler")

    return load
