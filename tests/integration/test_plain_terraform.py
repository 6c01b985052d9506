"""Plain Terraform in a fresh checkout builds what it needs, and refuses what loses a stack or its key."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest

from operations.terraform import Terraform, TerraformError
from tests.terraform.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from localcloud.stack import Stack

_FUNCTION = "module.orchestration.module.process_image"


class Checkout:
    """A copy of the repository that built nothing yet, on the stack's state."""

    def __init__(self, stack: Stack, folder: Path, data_dir: Path) -> None:
        self.folder = Workspace.copy(folder, data_dir).folder
        environment = stack.environment
        shutil.copyfile(environment.variables_file, folder / "environments" / "local.tfvars")
        self.terraform = Terraform(
            "local", folder=folder, variables=environment.variables, data_dir=data_dir / "root"
        )
        self.terraform.init(f"-backend-config={environment.backend_file}")

    def run(self, verb: str, *arguments: str) -> str:
        approval = ["-auto-approve"] if verb == "apply" else []
        settings = ["-input=false", "-no-color", "-var-file=environments/local.tfvars"]
        return self.terraform.run(verb, *approval, *settings, *arguments)

    def refusal(self, *arguments: str) -> str:
        """The sentence a plan ends with."""
        with pytest.raises(TerraformError) as refused:
            self.run("plan", *arguments)
        return re.sub(r"[\s│]+", " ", str(refused.value))

    def build(self) -> None:
        subprocess.run([sys.executable, "tools/package.py", "--all"], cwd=self.folder, check=True)

    def zips(self) -> set[str]:
        return {path.name.rpartition("-")[0] for path in self.folder.glob("build/*.zip")}


@pytest.fixture
def checkout(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(stack, tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("data"))


def test_another_architecture_builds_its_zip(stack: Stack, checkout: Checkout) -> None:
    client, name = stack.client("lambda"), stack.outputs["function_names"]["process_image"]
    for architecture in ("x86_64", "arm64"):
        settings = json.dumps({"architecture": architecture, "reserved_concurrency": 4})
        checkout.run("apply", f"-target={_FUNCTION}", f"-var=process_image={settings}")
        assert client.get_function_configuration(FunctionName=name)["Architectures"] == [architecture]
    assert checkout.zips() == {"process_image"}


@pytest.mark.parametrize("how", ["deleted by hand", "tainted"])
def test_a_deleted_or_broken_function_is_recreated_with_its_alias(
    stack: Stack, checkout: Checkout, how: str
) -> None:
    client, name = stack.client("lambda"), stack.outputs["function_names"]["process_image"]
    before = client.get_alias(FunctionName=name, Name="live")["RevisionId"]
    if how == "tainted":
        checkout.terraform.run("taint", f"{_FUNCTION}.aws_lambda_function.function")
    else:
        client.delete_function(FunctionName=name)
    checkout.build()
    checkout.run("apply", f"-target={_FUNCTION}")
    assert client.get_alias(FunctionName=name, Name="live")["RevisionId"] != before


def test_a_renamed_stack_is_refused_before_anything_is_changed(checkout: Checkout) -> None:
    sentence = checkout.refusal("-var=environment=qa")
    assert "This state belongs to photo-analysis-local in us-east-1, account 000000000000" in sentence
    assert "the settings are for photo-analysis-qa in us-east-1" in sentence


def test_a_workspace_is_refused(checkout: Checkout) -> None:
    checkout.terraform.variables["TF_WORKSPACE"] = "qa"
    sentence = checkout.refusal()
    assert "The workspace qa is selected" in sentence
    assert "unset TF_WORKSPACE" in sentence


def test_a_separate_state_takes_over_nothing_of_another_stack(
    stack: Stack, checkout: Checkout, tmp_path: Path
) -> None:
    copied = tmp_path / "copied.s3.tfbackend"
    text = stack.environment.backend_file.read_text("utf-8")
    copied.write_text(text.replace("local.tfstate", "copied.tfstate"), "utf-8")
    checkout.terraform.init(f"-backend-config={copied}")
    with pytest.raises(TerraformError, match="already exists"):
        checkout.run("apply")
    held = checkout.terraform.run("state", "list").split()
    assert not [
        address for address in held if re.search(r"aws_(s3|dynamodb|sns|sqs|lambda|sfn|cloud)", address)
    ]
    checkout.run("apply", "-destroy")


def test_photos_from_before_a_key_of_your_own_stay_readable(stack: Stack, checkout: Checkout) -> None:
    s3, kms = stack.client("s3"), stack.client("kms")
    made, own = stack.outputs["key_arn"], kms.create_key()["KeyMetadata"]["Arn"]
    encryption = "-target=module.storage.aws_s3_bucket_server_side_encryption_configuration.uploads"
    keys = [f"keys/{uuid.uuid4().hex}/" for _ in range(2)]
    s3.put_object(Bucket=stack.bucket, Key=keys[0], Body=b"")
    try:
        checkout.run("apply", encryption, f"-var=kms_key_arn={own}")
        assert "will be destroyed" not in checkout.run(
            "plan", "-target=module.storage", f"-var=kms_key_arn={own}"
        )
        s3.put_object(Bucket=stack.bucket, Key=keys[1], Body=b"")
        used = [s3.get_object(Bucket=stack.bucket, Key=key)["SSEKMSKeyId"] for key in keys]
        assert used == [made, own]
        assert kms.describe_key(KeyId=made)["KeyMetadata"]["KeyState"] == "Enabled"
    finally:
        checkout.run("apply", encryption)
