"""New environments come in consistent pairs, and two environments can be compared."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import hcl2
import pytest

from operations import diff, new_env
from operations.environments import Environment
from operations.errors import UserError
from operations.program import ROOT
from operations.terraform import executable, process_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

ACCOUNT = "111122223333"
_READING = hcl2.SerializationOptions(with_comments=False, strip_string_quotes=True)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = hcl2.loads(path.read_text("utf-8"), serialization_options=_READING)
    return content


def _differing(first: Environment, second: Environment) -> dict[str, tuple[str, str]]:
    """The two sides of each setting that differs, as people read them."""
    found = diff.differences(first, second)
    return {row["setting"]: (diff._text(row["from"]), diff._text(row["to"])) for row in found}


def _environment(name: str, given: Mapping[str, Any]) -> Environment:
    return Environment(name, {"environment": name, **given}, {"bucket": "b", "key": "k", "region": "r"})


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "operations", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_new_environment_is_a_consistent_pair(tmp_path: Path) -> None:
    variables, backend = new_env.new("qa", ACCOUNT, "eu-central-1", tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["qa.s3.tfbackend", "qa.tfvars"]
    given, state = _read(variables), _read(backend)
    assert (given["environment"], given["aws_region"]) == ("qa", "eu-central-1")
    assert given["allowed_account_ids"] == [ACCOUNT]
    assert given["protect_data"] is True
    assert state == {
        "bucket": f"photo-analysis-qa-tfstate-{ACCOUNT}",
        "encrypt": True,
        "key": "photo-analysis/qa.tfstate",
        "region": "eu-central-1",
        "use_lockfile": True,
    }


@pytest.mark.parametrize(
    ("region", "quota"), [("us-east-1", 50), ("us-west-2", 50), ("eu-west-1", 50), ("eu-central-1", 5)]
)
def test_a_new_environment_reserves_nothing_and_shows_the_regions_quota(
    region: str, quota: int, tmp_path: Path
) -> None:
    variables, _ = new_env.new("qa", ACCOUNT, region, tmp_path)
    assert "process_image" not in _read(variables)
    assert f"# process_image     = {{ reserved_concurrency = {quota} }}" in variables.read_text("utf-8")


def test_new_environment_is_formatted(tmp_path: Path) -> None:
    new_env.new("qa", ACCOUNT, "us-east-1", tmp_path)
    result = subprocess.run(
        [executable(), "fmt", "-check", "-diff", tmp_path],
        env=process_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_longest_name_makes_a_bucket_name_s3_accepts(tmp_path: Path) -> None:
    _, backend = new_env.new("a" * 16, ACCOUNT, "us-east-1", tmp_path)
    assert len(_read(backend)["bucket"]) <= 63


def test_new_environment_sets_declared_variables_only(tmp_path: Path) -> None:
    variables, _ = new_env.new("qa", ACCOUNT, "us-east-1", tmp_path)
    declared = {
        name.strip('"')
        for block in _read(ROOT / "variables.tf")["variable"]
        for name, value in block.items()
        if isinstance(value, dict)
    }
    assert set(_read(variables)) <= declared


def test_what_a_new_environment_shows_in_comments_can_be_uncommented(tmp_path: Path) -> None:
    variables, _ = new_env.new("qa", ACCOUNT, "us-east-1", tmp_path)
    text = re.sub(r"^# (?=\w+ += |  |\})", "", variables.read_text("utf-8"), flags=re.MULTILINE)
    variables.write_text(text, "utf-8")
    given = _differing(_environment("qa", {}), _environment("qa", _read(variables)))
    assert {"runbook_url", "alarms.no_images_hours", "subscriptions.support"} <= set(given)
    assert all(
        default != "not there" or name.split(".")[0].endswith("subscriptions")
        for name, (default, _) in given.items()
    )


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_alarms_of_shared_environments_are_tuned_and_lead_to_a_page(name: str) -> None:
    given = Environment.load(name).settings
    assert given["runbook_url"].startswith("https://")
    assert given["alarms"]


@pytest.mark.parametrize("name", ["", "a", "A", "QA", "1qa", "qa-", "q_a", "../qa", "a" * 17, "qa\n"])
def test_reject_names_no_environment_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be an environment's name"):
        new_env.new(name, ACCOUNT, "us-east-1", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("account", ["", "11112222333", "1111222233334", "my-company"])
def test_reject_what_is_no_account(account: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no AWS account"):
        new_env.new("qa", account, "us-east-1", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("region", ["", "Ireland", "us-east-1a"])
def test_reject_what_is_no_region(region: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no AWS region"):
        new_env.new("qa", ACCOUNT, region, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("taken", ["qa.tfvars", "qa.s3.tfbackend"])
def test_files_that_are_there_stay_as_they_are(taken: str, tmp_path: Path) -> None:
    (tmp_path / taken).write_text("mine", "utf-8")
    with pytest.raises(UserError, match="is there already"):
        new_env.new("qa", ACCOUNT, "us-east-1", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_text("utf-8") == "mine"


def test_a_folder_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written to"):
        new_env.new("qa", ACCOUNT, "us-east-1", tmp_path / "missing")


def test_difference_shows_defaults() -> None:
    found = _differing(_environment("one", {}), _environment("two", {"log_level": "DEBUG"}))
    assert found == {"log_level": ('"INFO" (default)', '"DEBUG"')}


def test_difference_reaches_into_objects() -> None:
    found = _differing(
        _environment("one", {"process_image": {"memory_size": 1024}, "alarms": {"executions_failed": 0}}),
        _environment("two", {"process_image": {"reserved_concurrency": 5}}),
    )
    assert found == {
        "alarms.executions_failed": ("0", "1 (default)"),
        "process_image.memory_size": ("1024", "512 (default)"),
        "process_image.reserved_concurrency": ("null (default)", "5"),
    }


def test_a_default_that_is_written_down_is_no_difference() -> None:
    one = _environment("one", {"log_level": "INFO", "process_image": {"memory_size": 512}, "tags": {}})
    assert diff.differences(one, _environment("two", {})) == []


def test_difference_names_entries_only_one_has() -> None:
    entry = {"endpoint": "you@example.com", "protocol": "email"}
    found = diff.differences(_environment("one", {"subscriptions": {"me": entry}}), _environment("two", {}))
    assert found == [{"setting": "subscriptions.me", "from": {"value": entry, "default": False}, "to": None}]


def test_diff_prints_a_table_and_json() -> None:
    table = _run("diff", "--from", "staging", "--to", "prod")
    assert table.returncode == 0, table.stderr
    assert table.stdout.split()[:3] == ["setting", "staging", "prod"]
    assert "\x1b" not in table.stdout

    report = json.loads(_run("diff", "--from", "staging", "--to", "prod", "--json").stdout)
    rows = {row["setting"]: row for row in report["differences"]}
    assert (report["from"], report["to"]) == ("staging", "prod")
    assert rows["protect_data"]["to"] == {"value": True, "default": False}
    assert set(rows) == {line.split()[0] for line in table.stdout.splitlines()[1:] if line[0] != " "}


def test_an_environment_is_like_itself() -> None:
    assert _run("diff", "--from", "dev", "--to", "dev").stdout == "dev and dev are set alike.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("diff", "--from", "nowhere", "--to", "prod"), "There is no environment 'nowhere'"),
        (("new-env", "--name", "dev", "--account", ACCOUNT, "--region", "us-east-1"), "is there already"),
        (("new-env", "--name", "qa", "--account", "", "--region", ""), "is no AWS account"),
    ],
)
def test_bad_input_is_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    result = _run(*arguments)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not result.stdout
