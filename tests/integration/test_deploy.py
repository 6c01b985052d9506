"""Planning, applying and destroying an environment, as a user at a shell sees it.

Each test runs the tool in a copy of the repository, with a root module of two resources in place of the real
one where Terraform runs at all, and against a local cloud of its own where AWS is asked anything.
"""

from __future__ import annotations

import http.server
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from rich.console import Console

from localcloud import LocalCloud
from operations import deploy, drift, plan, state
from operations.environments import Environment, known
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "000000000000"
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".terraform", "*.tfstate*", "tests")
NOWHERE = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}

# Nothing of AWS but the state: the provider takes seconds to load, and is not what these tests are about.
SMALL_ROOT = """
terraform {
  backend "s3" {}
}

variable "word" {
  type    = string
  default = "first"
  validation {
    condition     = var.word != "forbidden"
    error_message = "word must be one that is not forbidden."
  }
}

resource "terraform_data" "word" {
  input = var.word
}

resource "terraform_data" "place" {
  triggers_replace = var.word
}

output "word" {
  value = terraform_data.word.output
}
"""


@dataclass(frozen=True)
class Shell:
    """A shell in a copy of the repository."""

    repository: Path
    variables: dict[str, str]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_VAR_"))}
        return subprocess.run(
            [sys.executable, "-m", "operations", *arguments, *_unchecked(arguments)],
            cwd=self.repository,
            env=kept | self.variables | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def refused(self, *arguments: str, **variables: str) -> str:
        """The one sentence the command refuses with."""
        result = self.run(*arguments, **variables)
        assert result.returncode == 1, result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        lines = result.stderr.splitlines()
        assert len(lines) == 1, lines
        return lines[0].removeprefix("Error: ")

    def done(self, *arguments: str, **variables: str) -> str:
        result = self.run(*arguments, **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def write(self, path: str, text: str) -> None:
        (self.repository / path).write_text(text, "utf-8")

    def change(self, path: str, old: str, new: str) -> None:
        text = (self.repository / path).read_text("utf-8")
        assert old in text
        self.write(path, text.replace(old, new))


def _unchecked(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """What leaves the account unchecked: the small root module here needs little of one."""
    return ("--no-preflight",) if arguments[0] in ("plan", "apply") else ()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    repository = tmp_path / "repository"
    for name in ("bootstrap", "environments", "functions", "localcloud", "operations", "tools"):
        shutil.copytree(
            ROOT / name,
            repository / name,
            ignore=shutil.ignore_patterns("__pycache__", ".terraform", "*.tfstate*", "tests"),
        )
    shell = Shell(repository, NOWHERE)
    shell.write(".terraform.lock.hcl", "")
    shell.write("main.tf", SMALL_ROOT)
    return shell


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with LocalCloud.start(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture
def s3(cloud: LocalCloud) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=cloud.endpoint_url,
        verify=cloud.environment.get("AWS_CA_BUNDLE"),
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )


@pytest.fixture
def account(shell: Shell, cloud: LocalCloud, request: pytest.FixtureRequest) -> Shell:
    """A shell signed in to an account where nothing has been set up for ENV=dev."""
    bucket = f"state-{abs(hash(request.node.nodeid)):x}"[:40]
    shell.write(
        "environments/dev.s3.tfbackend",
        f'bucket = "{bucket}"\nencrypt = true\nkey = "dev.tfstate"\n'
        'region = "us-east-1"\nuse_lockfile = true\n',
    )
    shell.write(
        "environments/dev.tfvars",
        f'allowed_account_ids = ["{ACCOUNT}"]\nprotect_data = false\n',
    )
    return replace(shell, variables=NOWHERE | cloud.environment)


@pytest.fixture
def ready(account: Shell, s3: S3Client) -> Shell:
    """The same with a state bucket, made in a moment."""
    s3.create_bucket(Bucket=bucket_of(account))
    return account


def bucket_of(shell: Shell) -> str:
    return (shell.repository / "environments/dev.s3.tfbackend").read_text().split('"')[1]


def test_every_environment_has_both_files_and_a_separate_state() -> None:
    assert known() == ["dev", "local", "prod", "staging"]
    texts = [(ROOT / "environments" / f"{name}.s3.tfbackend").read_text() for name in known()]
    assert len({text.split('"')[1] for text in texts}) == len(texts)
    assert all("use_lockfile = true" in text and "encrypt      = true" in text for text in texts)


@pytest.mark.parametrize("command", ["plan", "destroy"])
def test_an_unknown_environment_is_refused_with_the_known_ones(shell: Shell, command: str) -> None:
    sentence = shell.refused(command, "--env", "qa")
    assert "no environment 'qa'" in sentence
    assert "dev, local, prod, staging" in sentence


@pytest.mark.parametrize("name", ["", "../dev", "dev/", "Dev", "-x"])
def test_an_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"no environment '{name}'"):
        Environment.load(name)


@pytest.mark.parametrize("file", ["dev.tfvars", "dev.s3.tfbackend"])
def test_a_missing_file_of_an_environment_is_named(shell: Shell, file: str) -> None:
    (shell.repository / "environments" / file).unlink()
    assert f"environments/{file} is missing" in shell.refused("plan", "--env=dev")


@pytest.mark.parametrize("file", ["dev.tfvars", "dev.s3.tfbackend"])
def test_an_unreadable_file_is_named_with_its_line(shell: Shell, file: str) -> None:
    shell.write(f"environments/{file}", 'a = "b"\nc = [\n')
    assert f"environments/{file}" in shell.refused("plan", "--env=dev")
    shell.write(f"environments/{file}", 'a = "b"\nc = = 1\n')
    assert f"environments/{file}:2" in shell.refused("plan", "--env=dev")


def test_a_backend_without_a_bucket_is_refused(shell: Shell) -> None:
    shell.write("environments/dev.s3.tfbackend", 'key = "dev.tfstate"\nregion = "us-east-1"\n')
    assert "environments/dev.s3.tfbackend does not set bucket" in shell.refused("plan", "--env=dev")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "log_retention_dayz = 7",
            "there is no setting log_retention_dayz; did you mean log_retention_days?",
        ),
        (
            "process_image = { memory = 512 }",
            "there is no setting memory in process_image; did you mean memory_size?",
        ),
        (
            'subscriptions = { ops = { protocol = "email", endpoint = "o@example.com", outcome = [] } }',
            "there is no setting outcome in subscriptions.ops; did you mean outcomes?",
        ),
        ("alarms = { xyz = 1 }", "there is no setting xyz in alarms; there are backlog_age_minutes,"),
    ],
)
def test_a_misspelt_setting_is_refused(shell: Shell, text: str, sentence: str) -> None:
    shutil.copy(ROOT / "variables.tf", shell.repository)
    shell.write("environments/dev.tfvars", f"{text}\n")
    assert shell.refused("plan", "--env=dev").startswith(f"environments/dev.tfvars: {sentence}")


def test_every_setting_there_is_may_be_set() -> None:
    for name in known():
        assert Environment.load(name).settings


@pytest.mark.parametrize("accounts", ['["11112222333"]', '"111122223333"', '["prod"]'])
def test_an_invalid_account_id_is_refused_before_credentials(shell: Shell, accounts: str) -> None:
    shell.write("environments/dev.tfvars", f"allowed_account_ids = {accounts}\n")
    sentence = shell.refused("plan", "--env=dev")
    assert sentence.startswith("environments/dev.tfvars: allowed_account_ids must be a list of account ids")
    assert "twelve digits" in sentence


@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_the_local_environment_needs_the_local_cloud(shell: Shell, command: str) -> None:
    sentence = shell.refused(command, "--env", "local")
    assert sentence == "The local cloud is not running; start it with 'make local-up'."


@pytest.mark.parametrize("command", ["plan", "output", "bootstrap"])
def test_missing_credentials_are_reported(shell: Shell, command: str) -> None:
    sentence = shell.refused(command, "--env", "dev")
    assert "no AWS credentials for ENV=dev" in sentence
    assert "aws sso login" in sentence
    assert not (shell.repository / ".terraform").exists()


def test_an_unknown_profile_is_named(shell: Shell) -> None:
    sentence = shell.refused("plan", "--env=dev", AWS_PROFILE="nobody")
    assert "nobody" in sentence
    assert "AWS_PROFILE" in sentence


def test_an_unreachable_aws_is_reported(shell: Shell) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    sentence = shell.refused("plan", "--env=dev", AWS_ENDPOINT_URL="http://127.0.0.1:1", **keys)
    assert "AWS cannot be reached" in sentence


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ExpiredToken", "have expired; sign in again"),
        ("InvalidClientTokenId", "AWS refuses the credentials"),
    ],
)
def test_credentials_aws_refuses_are_explained(shell: Shell, code: str, expected: str) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            text = f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
            self.send_response(403)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            sentence = shell.refused(
                "plan",
                "--env=dev",
                AWS_ACCESS_KEY_ID="test",
                AWS_SECRET_ACCESS_KEY="test",
                AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_port}",
            )
        finally:
            server.shutdown()
            thread.join()
    assert expected in sentence


def test_an_environment_is_not_planned_in_another_account(account: Shell) -> None:
    account.change("environments/dev.tfvars", ACCOUNT, "111122223333")
    for command in ("plan", "bootstrap"):
        sentence = account.refused(command, "--env=dev")
        assert f"belongs to account 111122223333, but the AWS credentials are for {ACCOUNT}" in sentence
    assert not (account.repository / ".terraform").exists()


def test_protected_data_is_not_destroyed_even_when_confirmed(shell: Shell) -> None:
    sentence = shell.refused("destroy", "--env=prod", "--confirm")
    assert sentence.startswith(
        "ENV=prod protects its photos, records and parked events; set protect_data = false"
    )
    assert "environments/prod.tfvars" in sentence


def test_data_is_protected_unless_the_file_says_otherwise(shell: Shell) -> None:
    shell.write("environments/dev.tfvars", "")
    assert "protects its photos" in shell.refused("destroy", "--env=dev", "--confirm")


def test_destroying_a_protected_deployment_does_not_start(ready: Shell, cloud: LocalCloud) -> None:
    table = f"{bucket_of(ready)}-results"
    dynamodb = boto3.client(
        "dynamodb",
        endpoint_url=cloud.endpoint_url,
        verify=cloud.environment["AWS_CA_BUNDLE"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    dynamodb.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "ImageID", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "ImageID", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )
    ready.write("outputs.tf", f'output "results_table_name" {{\n  value = "{table}"\n}}\n')
    ready.done("apply", "--env=dev")
    sentence = ready.refused("destroy", "--env=dev", "--confirm")
    assert sentence.endswith("which is not applied; 'make apply ENV=dev' first.")
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    assert "destroyed terraform_data.word" in ready.done("destroy", "--env=dev", "--confirm")


def test_destroying_anything_else_needs_a_confirmation(account: Shell) -> None:
    sentence = account.refused("destroy", "--env=dev")
    assert "make destroy ENV=dev CONFIRM=1" in sentence


def test_the_state_may_be_in_another_region_than_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-1")
    backend = {"bucket": "state", "key": "dev.tfstate", "region": "eu-central-1"}
    environment = Environment("dev", {"aws_region": "eu-west-1"}, backend)
    assert environment.client("dynamodb").meta.region_name == "eu-west-1"
    assert state.s3(environment).meta.region_name == "eu-central-1"


def test_a_missing_state_bucket_says_how_to_make_it(account: Shell) -> None:
    sentence = account.refused("plan", "--env=dev")
    assert f"state bucket {bucket_of(account)} does not exist" in sentence
    assert "make bootstrap ENV=dev" in sentence


def test_a_name_no_bucket_can_have_is_refused(account: Shell) -> None:
    account.change("environments/dev.s3.tfbackend", bucket_of(account), "no bucket!")
    assert "'no bucket!' cannot be a bucket's name" in account.refused("plan", "--env=dev")


@pytest.mark.terraform
def test_bootstrap_makes_a_protected_bucket_once(account: Shell, s3: S3Client) -> None:
    bucket = bucket_of(account)
    assert "Making the state bucket" in account.done("bootstrap", "--env=dev")

    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    ownership = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert ownership[0]["ObjectOwnership"] == "BucketOwnerEnforced"
    [statement] = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Principal"] in ("*", {"AWS": "*"})
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert sorted(statement["Resource"]) == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]

    assert account.done("bootstrap", "--env=dev") == f"The state bucket {bucket} is there already.\n"
    # One that was interrupted is finished.
    s3.delete_bucket_policy(Bucket=bucket)
    assert "aws_s3_bucket_policy.state" in account.done("bootstrap", "--env=dev")
    assert "SecureTransport" in s3.get_bucket_policy(Bucket=bucket)["Policy"]

    # A colleague's clone has no state of it, and needs none.
    (account.repository / "bootstrap/dev.tfstate").unlink()
    assert "is there already" in account.done("bootstrap", "--env=dev")


def test_bootstrap_does_not_take_over_an_unprotected_bucket(ready: Shell) -> None:
    sentence = ready.refused("bootstrap", "--env=dev")
    assert "exists without versioning and a TLS-only policy, and was not made from here" in sentence


def plan_of(shell: Shell, *arguments: str, **variables: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(shell.done("plan", "--env=dev", "--json", *arguments, **variables))
    return summary


@pytest.mark.terraform
def test_apply_applies_what_was_planned_and_a_second_plan_is_empty(ready: Shell) -> None:
    assert "Nothing is deployed in ENV=dev" in ready.run("output", "--env=dev").stderr

    text = ready.done("plan", "--env=dev")
    assert "+ terraform_data.word" in text
    assert "2 to create. Apply with 'make apply ENV=dev'" in text
    assert text.endswith("TF_DATA_DIR=.terraform/dev terraform show build/dev.tfplan\n")
    assert (ready.repository / "build/dev.tfplan").is_file()

    assert "Applying the plan made " in ready.done("apply", "--env=dev")
    assert not (ready.repository / "build/dev.tfplan").exists()
    assert json.loads(ready.done("output", "--env=dev", "--json")) == {"word": "first"}
    assert ready.done("output", "--env=dev") == "word  first\n"

    ready.change("main.tf", '"first"', '"second"')
    assert 'input: "first" -> "second"' in ready.done("apply", "--env=dev")
    assert json.loads(ready.done("output", "--env=dev", "--json"))["word"] == "second"
    assert plan_of(ready) == {
        "create": 0,
        "update": 0,
        "replace": 0,
        "delete": 0,
        "changes": [],
        "loses_data": [],
    }
    assert "nothing to change" in ready.done("plan", "--env=dev")


@pytest.mark.terraform
def test_apply_says_where_to_upload_and_to_look(ready: Shell) -> None:
    assert "Upload" not in ready.done("apply", "--env=dev")
    ready.write(
        "outputs.tf",
        'output "uploads_bucket_name" {\n  value = "photos-dev"\n}\n'
        'output "dashboard_url" {\n  value = "https://console.example.com/dev"\n}\n',
    )
    assert ready.done("apply", "--env=dev").splitlines()[-2:] == [
        "Upload photos to s3://photos-dev/",
        "Dashboard: https://console.example.com/dev",
    ]


@pytest.mark.terraform
def test_a_plan_lists_what_it_changes(ready: Shell) -> None:
    ready.done("apply", "--env=dev")
    ready.change("environments/dev.tfvars", "protect_data", 'word = "second"\nprotect_data')
    summary = plan_of(ready)
    assert (summary["create"], summary["update"], summary["replace"], summary["delete"]) == (0, 1, 1, 0)
    place, word = summary["changes"]
    assert (place["address"], place["action"]) == ("terraform_data.place", "replace")
    assert (word["address"], word["action"]) == ("terraform_data.word", "update")
    assert word["attributes"]["input"] == {"old": '"first"', "new": '"second"'}
    text = ready.done("plan", "--env=dev")
    assert "-/+ terraform_data.place\n" in text
    assert "~ terraform_data.word\n" in text


def resource(
    kind: str, before: dict[str, Any] | None, after: dict[str, Any] | None, *actions: str
) -> dict[str, Any]:
    """One of the `resource_changes` of a plan as Terraform shows it."""
    change = {"actions": list(actions or ("update",)), "before": before, "after": after}
    return {"address": f"{kind}.it", "mode": "managed", "type": kind, "change": change}


@pytest.mark.parametrize(
    "kind",
    ["aws_cloudwatch_log_group", "aws_dynamodb_table", "aws_kms_key", "aws_s3_bucket", "aws_sqs_queue"],
)
@pytest.mark.parametrize("action", ["replace", "delete"])
def test_a_plan_that_loses_data_stands_out(kind: str, action: str) -> None:
    actions = ["delete", "create"] if action == "replace" else [action]
    same = {"point_in_time_recovery": [{"enabled": True}]}
    changes = plan.changes(
        [
            resource(kind, same, None, *actions),
            resource(kind, same, same | {"tags": {}}, "update"),
            resource("aws_iam_role", {}, None, *actions),
        ]
    )
    assert plan.as_json(changes)["loses_data"] == [f"{kind}.it"]

    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=200, highlight=False)
    deploy.show(Environment.load("dev"), changes, console)
    [marked] = [line for line in shown.getvalue().splitlines() if "\x1b[1;31m" in line]
    assert f"{kind}.it" in marked
    assert "  destroys " in marked


def lifecycle(*, photos: int | None = None, replaced: int = 30, status: str = "Enabled") -> dict[str, Any]:
    """A bucket's rules as the AWS provider plans them, the ones of modules/storage."""
    marker = {"date": None, "days": 0, "expired_object_delete_marker": True}
    noncurrent = {"newer_noncurrent_versions": None, "noncurrent_days": replaced}
    rules = [
        {"status": "Enabled", "expiration": [marker], "noncurrent_version_expiration": [noncurrent]},
        {"status": "Enabled", "abort_incomplete_multipart_upload": [{"days_after_initiation": 7}]},
    ]
    if photos:
        rules.append({"status": status, "expiration": [{"days": photos}]})
    return {"bucket": "photos", "rule": rules}


def versioning(status: str) -> dict[str, Any]:
    return {"bucket": "photos", "versioning_configuration": [{"status": status}]}


def table(*, recovery: bool) -> dict[str, Any]:
    return {"point_in_time_recovery": [{"enabled": recovery}]}


RULES, VERSIONING = "aws_s3_bucket_lifecycle_configuration", "aws_s3_bucket_versioning"
LOGS, TABLE, QUEUE = "aws_cloudwatch_log_group", "aws_dynamodb_table", "aws_sqs_queue"
FORTNIGHT = {"message_retention_seconds": 1_209_600}


def summary_of(
    kind: str, before: dict[str, Any] | None, after: dict[str, Any] | None, *actions: str
) -> dict[str, Any]:
    return plan.as_json(plan.changes([resource(kind, before, after, *actions)]))


@pytest.mark.parametrize(
    ("kind", "before", "after", "losses"),
    [
        (RULES, lifecycle(), lifecycle(photos=1), "deletes photos older than 1 day"),
        (RULES, lifecycle(photos=30), lifecycle(photos=7), "deletes photos older than 7 days"),
        (
            RULES,
            lifecycle(photos=7, status="Disabled"),
            lifecycle(photos=7),
            "deletes photos older than 7 days",
        ),
        (
            RULES,
            lifecycle(),
            lifecycle(replaced=1),
            "deletes photos replaced or deleted more than 1 day ago",
        ),
        (
            RULES,
            lifecycle(photos=30),
            lifecycle(photos=1, replaced=1),
            "deletes photos older than 1 day, deletes photos replaced or deleted more than 1 day ago",
        ),
        (VERSIONING, versioning("Enabled"), versioning("Suspended"), "keeps no replaced photos any more"),
        (LOGS, {"retention_in_days": 90}, {"retention_in_days": 7}, "deletes logs older than 7 days"),
        # 0 is for ever.
        (LOGS, {"retention_in_days": 0}, {"retention_in_days": 7}, "deletes logs older than 7 days"),
        (TABLE, table(recovery=True), table(recovery=False), "ends its point-in-time recovery"),
        (TABLE, table(recovery=True), {"point_in_time_recovery": []}, "ends its point-in-time recovery"),
        (QUEUE, FORTNIGHT, {"message_retention_seconds": 86_400}, "deletes events older than 1 day"),
    ],
)
def test_settings_that_lose_data_are_reported_and_setting_them_back_is_not(
    kind: str, before: dict[str, Any], after: dict[str, Any], losses: str
) -> None:
    summary = summary_of(kind, before, after)
    assert summary["loses_data"] == [f"{kind}.it"]
    [change] = summary["changes"]
    assert (change["address"], change["action"], change["losses"]) == (f"{kind}.it", "update", losses)
    assert summary_of(kind, after, before)["loses_data"] == []
    assert summary_of(kind, before, before)["loses_data"] == []


def test_versioning_that_is_taken_away_loses_replaced_photos() -> None:
    summary = summary_of(VERSIONING, versioning("Enabled"), None, "delete")
    assert summary["changes"][0]["losses"] == "keeps no replaced photos any more"


def test_rules_lose_photos_of_a_bucket_that_is_there_only() -> None:
    assert summary_of(RULES, None, lifecycle(photos=30), "create")["loses_data"] == [f"{RULES}.it"]
    # The name of a bucket to be created is known only after the apply.
    new = {"rule": lifecycle(photos=30)["rule"]}
    assert summary_of(RULES, None, new, "create")["loses_data"] == []
    assert summary_of(RULES, lifecycle(photos=30), None, "delete")["loses_data"] == []


def test_what_is_created_loses_nothing() -> None:
    for kind, after in (
        (LOGS, {"retention_in_days": 7}),
        (QUEUE, {"message_retention_seconds": 60}),
        (TABLE, table(recovery=False)),
        (VERSIONING, versioning("Enabled")),
    ):
        assert summary_of(kind, None, after, "create")["loses_data"] == []


@pytest.mark.terraform
def test_a_plan_overtaken_by_another_is_not_applied(ready: Shell) -> None:
    ready.done("plan", "--env=dev")
    saved = ready.repository / "build/dev.tfplan"
    old, beside = saved.read_bytes(), saved.with_suffix(".tfplan.json").read_bytes()
    ready.done("apply", "--env=dev")
    saved.write_bytes(old)
    saved.with_suffix(".tfplan.json").write_bytes(beside)
    sentence = ready.refused("apply", "--env=dev")
    assert "The saved plan is out of date" in sentence
    assert "make plan ENV=dev" in sentence
    assert not saved.exists()


@pytest.mark.terraform
def test_a_plan_made_from_other_files_is_not_applied(ready: Shell) -> None:
    ready.done("plan", "--env=dev")
    for path, old, new in (
        ("functions/process_image/handler.py", "import os", "import  os"),
        ("main.tf", '"first"', '"second"'),
        ("environments/dev.tfvars", "protect_data", "# changed\nprotect_data"),
    ):
        ready.change(path, old, new)
        sentence = ready.refused("apply", "--env=dev")
        assert sentence.startswith("The plan saved ")
        assert f"ago was made from other files: {path} changed since; read a new one" in sentence
        ready.change(path, new, old)
    ready.write("extra.tf", "")
    assert "extra.tf changed since" in ready.refused("apply", "--env=dev")
    # Neither does a change one disliked, and took back by another plan that nobody read.
    ready.done("plan", "--env=dev")
    assert "Applying the plan made" in ready.done("apply", "--env=dev")


def test_an_apply_that_loses_data_is_held_to_what_destroying_is() -> None:
    logs = plan.changes([resource(LOGS, {"retention_in_days": 90}, {"retention_in_days": 7})])
    photos = plan.changes([resource("aws_s3_bucket", {}, {}, "delete", "create")])
    dev = Environment.load("dev")
    protected, open_ = (replace(dev, settings={"protect_data": on}) for on in (True, False))
    for confirmed in (True, False):
        with pytest.raises(UserError, match=r"aws_s3_bucket\.it, but ENV=dev protects its photos"):
            deploy._refuse_losses(protected, photos, confirmed=confirmed)
    with pytest.raises(UserError, match=r"it deletes logs older than 7 days\. If that is meant, .*CONFIRM=1"):
        deploy._refuse_losses(open_, logs, confirmed=False)
    deploy._refuse_losses(open_, logs, confirmed=True)


@pytest.mark.parametrize("command", ["plan", "apply", "destroy", "drift", "output", "status"])
def test_a_file_that_names_another_environment_is_refused(shell: Shell, command: str) -> None:
    shell.write("environments/qa.tfvars", 'environment = "dev"\n')
    shutil.copy(ROOT / "environments/dev.s3.tfbackend", shell.repository / "environments/qa.s3.tfbackend")
    sentence = shell.refused(command, "--env=qa")
    assert sentence.startswith('environments/qa.tfvars says environment = "dev", whose resources')
    assert 'environment = "qa"' in sentence


def test_changed_attributes_are_shown_with_their_old_and_new_value() -> None:
    policy = '{"Statement": [{"Action": "s3:%s"}]}'
    changed = resource(
        "aws_iam_role_policy",
        {"policy": policy % "GetObject", "timeout": 30, "name": "same", "tags": ["a", "b"], "code": {"a": 1}},
        {"policy": policy % "*", "timeout": 60, "name": "same", "tags": ["a"], "code_size": 2},
    )
    changed["change"]["after_unknown"] = {"arn": True, "code": True, "tags": [False]}
    [change] = plan.changes([changed])
    assert change.attributes == {
        "policy.Statement[0].Action": ('"s3:GetObject"', '"s3:*"'),
        "timeout": ("30", "60"),
        "tags[1]": ('"b"', "(not set)"),
        "arn": ("(not set)", "(known after apply)"),
        "code": ('{"a": 1}', "(known after apply)"),
        "code_size": ("(not set)", "2"),
    }


def test_what_the_local_cloud_reads_back_falsely_is_left_out_and_a_real_difference_is_not() -> None:
    kind = "aws_cloudwatch_metric_alarm"
    forgotten = resource(
        kind, {"threshold": 5, "unit": None, "period": 0}, {"threshold": 5, "unit": "Count", "period": 60}
    )
    real = resource(kind, {"threshold": 5}, {"threshold": 6})
    assert plan.changes([forgotten], local=True) == []
    assert len(plan.changes([forgotten])) == 1
    assert len(plan.changes([real], local=True)) == 1


@pytest.mark.terraform
def test_a_value_terraform_refuses_is_named_in_a_sentence(ready: Shell) -> None:
    ready.change("environments/dev.tfvars", "protect_data", 'word = "forbidden"\nprotect_data')
    sentence = ready.refused("plan", "--env=dev")
    assert sentence.endswith("word must be one that is not forbidden.")
    assert sentence.startswith("environments/dev.tfvars:2: ")
    assert not (ready.repository / "build/dev.tfplan").exists()


@pytest.mark.terraform
def test_a_locked_state_names_who_holds_it(ready: Shell, s3: S3Client) -> None:
    holder = {"ID": "1-2-3", "Who": "ada@laptop", "Created": "2026-01-02T03:04:05Z", "Operation": "apply"}
    s3.put_object(Bucket=bucket_of(ready), Key="dev.tfstate.tflock", Body=json.dumps(holder).encode())
    sentence = ready.refused("plan", "--env=dev")
    assert "locked by ada@laptop since 2026-01-02" in sentence
    assert "force-unlock 1-2-3" in sentence


@pytest.mark.terraform
def test_destroy_removes_what_was_applied_but_the_state_bucket(ready: Shell, s3: S3Client) -> None:
    ready.done("apply", "--env=dev")
    assert "destroyed terraform_data.word" in ready.done("destroy", "--env=dev", "--confirm")
    assert "Nothing is deployed" in ready.refused("output", "--env=dev")
    s3.head_bucket(Bucket=bucket_of(ready))


@pytest.mark.terraform
def test_the_local_environment_is_destroyed_without_confirmation(
    shell: Shell, cloud: LocalCloud, s3: S3Client
) -> None:
    local = replace(shell, variables={**NOWHERE, "LOCALCLOUD_DIRECTORY": str(cloud.directory)})
    s3.create_bucket(Bucket="photo-analysis-local-tfstate-000000000000")
    [data, plan] = re.findall(
        r"TF_DATA_DIR=(\S+) terraform show (\S+)$", local.done("plan", "--env=local"), re.MULTILINE
    )[0]
    assert (local.repository / data / "terraform.tfstate").is_file()
    assert (local.repository / plan).is_file()
    local.done("apply", "--env=local")
    assert "destroyed terraform_data.word" in local.done("destroy", "--env=local")


def test_a_bucket_is_emptied_whatever_the_keys(s3: S3Client, cloud: LocalCloud) -> None:
    s3.create_bucket(Bucket="photos")
    s3.put_bucket_versioning(Bucket="photos", VersioningConfiguration={"Status": "Enabled"})
    for key in ("a b.jpg", "50%.jpg", "a+b.jpg", "ü/😀.jpg", "<&>.jpg", "a b.jpg"):
        s3.put_object(Bucket="photos", Key=key, Body=b"1")
    s3.delete_object(Bucket="photos", Key="50%.jpg")
    here = Environment.load("dev", cloud)
    deploy.empty_bucket(here, "photos")
    s3.delete_bucket(Bucket="photos")
    deploy.empty_bucket(here, "photos")


def test_looking_for_outputs_or_drift_makes_no_state_bucket(tmp_path: Path) -> None:
    with LocalCloud.start(tmp_path) as cloud:
        local = Environment.load("local", cloud)
        for look in (state.output, lambda environment: drift.check(environment, Console(quiet=True))):
            with pytest.raises(UserError, match=r"^Nothing is deployed in ENV=local; deploy it with"):
                look(local)
        assert local.client("s3").list_buckets()["Buckets"] == []
