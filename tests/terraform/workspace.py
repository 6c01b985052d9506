"""A copy of what Terraform reads, and Terraform's own tests in it, so that nothing is left in the tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from operations.program import ROOT
from operations.terraform import Terraform, executable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ACCOUNT = "111122223333"
REGION = "us-east-1"

_COPIED = ("bootstrap", "environments", "functions", "modules", "tests/terraform", "tools")
_LOCK = ".terraform.lock.hcl"
_RESOURCE = re.compile(r'^resource "(\w+)" "(\w+)" \{', re.MULTILINE)
_MODULE = re.compile(r'^module "(\w+)" \{\n(\s*count\s*=.*\n)?\s*source\s*= "([^"]+)"', re.MULTILINE)

# Where the provider insists on an ARN; what comes before the resource's own name.
_ARNS = {
    "aws_cloudwatch_event_rule": f"events:{REGION}:{ACCOUNT}:rule/",
    "aws_cloudwatch_log_group": f"logs:{REGION}:{ACCOUNT}:log-group:",
    "aws_cloudwatch_metric_alarm": f"cloudwatch:{REGION}:{ACCOUNT}:alarm:",
    "aws_dynamodb_table": f"dynamodb:{REGION}:{ACCOUNT}:table/",
    "aws_iam_role": f"iam::{ACCOUNT}:role/",
    "aws_kms_key": f"kms:{REGION}:{ACCOUNT}:key/",
    "aws_lambda_alias": f"lambda:{REGION}:{ACCOUNT}:function:",
    "aws_lambda_function": f"lambda:{REGION}:{ACCOUNT}:function:",
    "aws_s3_bucket": "s3:::",
    "aws_sfn_state_machine": f"states:{REGION}:{ACCOUNT}:stateMachine:",
    "aws_sns_topic": f"sns:{REGION}:{ACCOUNT}:",
    "aws_sqs_queue": f"sqs:{REGION}:{ACCOUNT}:",
}

# Nothing may leave this computer: whatever is not overridden is refused at once by a port nobody listens on.
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_PROFILE": None,
    "AWS_SESSION_TOKEN": None,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    # The provider's schema fills the memory of many short processes; collecting it is a third of their time.
    "GOGC": "400",
}

_DEPLOYMENT = f"""\
provider "aws" {{
  region                      = "{REGION}"
  max_retries                 = 1
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}}

override_data {{
  target = data.aws_caller_identity.current
  values = {{ account_id = "{ACCOUNT}" }}
}}

variables {{
  aws_region            = "{REGION}"
  environment           = "test"
  face_attributes       = ["DEFAULT", "SMILE"]
  face_min_confidence   = 80
  convert               = {{ bundle_wheels = false, formats = ["webp", "heic"], max_pixels = 2000 }}
  log_object_keys       = true
  record_retention_days = 30
}}

run "STANDARD" {{
  variables {{
    workflow_type = "STANDARD"
  }}
}}

run "EXPRESS" {{
  variables {{
    workflow_type = "EXPRESS"
  }}
}}
"""


@dataclass(frozen=True)
class Resource:
    """One resource of the deployment.

    Attributes:
        address: such as ``module.storage.aws_kms_key.data[0]``.
        type: such as ``aws_kms_key``.
        values: its attributes; policies are JSON text.
    """

    address: str
    type: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Workspace:
    """A copy of everything Terraform reads, without a build folder.

    Attributes:
        data_dirs: where Terraform keeps its working directories.
    """

    folder: Path
    data_dirs: Path

    @classmethod
    def copy(cls, folder: Path, data_dirs: Path) -> Workspace:
        for path in [*ROOT.glob("*.tf"), ROOT / _LOCK]:
            shutil.copyfile(path, folder / path.name)
        left_out = shutil.ignore_patterns("__pycache__", ".terraform*", "*.tfstate*")
        for name in _COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=left_out)
        return cls(folder, data_dirs)

    def terraform(self, folder: str = ".") -> Terraform:
        """Return Terraform for `folder`, relative to the copy, initialised."""
        name = "root" if folder == "." else folder.replace("/", "-")
        if folder != ".":
            # Terraform finds its providers by the lock file, and only the root has one.
            shutil.copyfile(self.folder / _LOCK, self.folder / folder / _LOCK)
        terraform = Terraform(
            "test", folder=self.folder / folder, data_dir=self.data_dirs / name, variables=_ENVIRONMENT
        )
        if not terraform.data_dir.exists():
            terraform.init("-backend=false")
        return terraform

    def test(self, folder: str, *arguments: str) -> str:
        """Run ``terraform test`` in `folder`; return its report, or "" when every run passed."""
        return _run(self.terraform(folder), "test", "-no-color", *arguments)

    def validate(self, folder: str) -> str:
        """Run ``terraform validate`` in `folder`; return its report, or "" when all is well."""
        return _run(self.terraform(folder), "validate", "-no-color")

    def deployments(self) -> dict[str, list[Resource]]:
        """Return what an apply makes by workflow type, with policies as the real provider renders them.

        Every resource is overridden, so nothing is called; only the zips are really built.
        """
        terraform = self.terraform()
        test = self.folder / "tests/.generated/deployment.tftest.hcl"
        test.parent.mkdir(exist_ok=True)
        test.write_text(_DEPLOYMENT + "".join(_overrides(self.folder)), encoding="utf-8")
        return {
            message["@testrun"]: list(_resources(message["test_state"]["root_module"]))
            for message in terraform.stream("test", "-verbose", "-test-directory=tests/.generated")
            if message["type"] == "test_state"
        }


def _run(terraform: Terraform, *arguments: str) -> str:
    result = subprocess.run(
        [executable(), *arguments],
        cwd=terraform.folder,
        env=terraform.variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{result.stdout}{result.stderr}" if result.returncode else ""


def _overrides(folder: Path, prefix: str = "") -> Iterator[str]:
    """Yield an override for each resource of the module in `folder` and of those it calls."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.tf")))
    for kind, name in _RESOURCE.findall(text):
        if kind.startswith("aws_"):
            own_name = f"{prefix}{name}".replace("module.", "").replace("[0]", "").replace(".", "-")
            values = {"id": own_name}
            if kind in _ARNS:
                values["arn"] = f"arn:aws:{_ARNS[kind]}{own_name}"
            target = f"{prefix}{kind}.{name}"
            yield f"override_resource {{\n  target = {target}\n  values = {json.dumps(values)}\n}}\n"
    for name, count, source in _MODULE.findall(text):
        yield from _overrides(folder / source, f"{prefix}module.{name}{'[0]' if count else ''}.")


def _resources(module: dict[str, Any]) -> Iterator[Resource]:
    for resource in module.get("resources", []):
        if resource["mode"] == "managed":
            yield Resource(resource["address"], resource["type"], resource["values"])
    for child in module.get("child_modules", []):
        yield from _resources(child)


@contextmanager
def ahead(function: Callable[[str], str], names: list[str]) -> Iterator[Callable[[str], str]]:
    """Run `function` for each of `names`, on every core, and yield what waits for one's result."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each worker runs some of the tests, and the workers are the cores' load already.
        yield function
        return
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        futures = {name: pool.submit(function, name) for name in names}
        try:
            yield lambda name: futures[name].result()
        finally:
            pool.shutdown(cancel_futures=True)


def selected(request: pytest.FixtureRequest, argument: str) -> list[str]:
    """Return the values of the parameter `argument` among the tests of this session, each once."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    parameters = [item.callspec.params for item in items if hasattr(item, "callspec")]
    return list(dict.fromkeys(str(values[argument]) for values in parameters if argument in values))
