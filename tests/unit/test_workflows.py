"""The workflows for GitHub: what they call exists, and none of them may do more than it must."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # type: ignore[import-untyped]

from operations import environments
from operations.program import ROOT
from tests.documents.permissions import listed
from tests.policies import findings
from tools import setup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

FOLDER = ROOT / ".github" / "workflows"
NAMES = sorted(path.name for path in FOLDER.iterdir())
SETUP = (ROOT / "docs" / "ci.md").read_text("utf-8")

# What each job may do with the repository, and whether it gets a token AWS takes.
PERMISSIONS = {
    ("apply.yml", "apply"): {"contents": "read", "id-token": "write"},
    ("apply.yml", "plan"): {"contents": "read", "id-token": "write"},
    ("ci.yml", "checks"): {},
    ("ci.yml", "comment"): {"pull-requests": "write"},
    ("ci.yml", "dev"): {"contents": "read", "id-token": "write"},
    ("ci.yml", "lint"): {"contents": "read"},
    ("ci.yml", "plan"): {"contents": "read", "id-token": "write"},
    ("ci.yml", "prod"): {"contents": "read", "id-token": "write"},
    ("ci.yml", "staging"): {"contents": "read", "id-token": "write"},
    ("ci.yml", "test"): {"contents": "read"},
    ("drift.yml", "drift"): {"contents": "read", "id-token": "write"},
}


def workflow(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    return loaded


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name in NAMES:
        for job, content in workflow(name)["jobs"].items():
            yield name, job, content


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job, content in jobs():
        yield from ((f"{name}, {job}", step) for step in content.get("steps", ()))


def made() -> list[tuple[str, list[str]]]:
    """Each `make` a workflow calls: where, and its words."""
    return [
        (where, shlex.split(match[1]))
        for where, step in steps()
        for match in re.finditer(r"(?:^|\s)make (.*?)(?=$| 2>| >| \|)", step.get("run", ""), re.MULTILINE)
    ]


def test_every_verb_is_the_makefiles() -> None:
    help_text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    verbs = set(re.findall(r"^  ([a-z-]+) ", help_text, re.MULTILINE))
    called = {(where, word) for where, words in made() for word in words if "=" not in word}
    assert {verb for _, verb in called} >= {"lint", "test", "plan", "apply", "drift"}
    assert [one for one in called if one[1] not in verbs] == []


def test_every_job_says_what_it_may_do_and_for_how_long() -> None:
    assert [name for name in NAMES if workflow(name)["permissions"] != {}] == []
    assert {(name, job): content["permissions"] for name, job, content in jobs()} == PERMISSIONS
    assert [
        (name, job)
        for name, job, content in jobs()
        if "uses" not in content and not content["timeout-minutes"]
    ] == []


def test_no_key_is_stored() -> None:
    for name in NAMES:
        text = (FOLDER / name).read_text("utf-8")
        assert "secrets" not in text
        assert not re.search(r"aws-(access|secret|session)|AWS_(ACCESS|SECRET|SESSION)", text)
    roles = [
        (where, step["with"])
        for where, step in steps()
        if "configure-aws-credentials" in step.get("uses", "")
    ]
    assert roles
    assert {settings["role-to-assume"] for _, settings in roles} == {
        "${{ vars.AWS_ROLE_ARN }}",
        "${{ vars.AWS_VERIFY_ROLE_ARN }}",
    }


def test_an_apply_is_verified_afterwards_by_the_verify_role_where_there_is_one() -> None:
    steps = workflow("apply.yml")["jobs"]["apply"]["steps"]
    *_, applying, role, verifying = steps
    assert applying["run"].startswith("make apply")
    assert role["with"]["role-to-assume"] == "${{ vars.AWS_VERIFY_ROLE_ARN }}"
    assert verifying["run"].startswith("make verify")
    assert role["if"] == verifying["if"] == "vars.AWS_VERIFY_ROLE_ARN != ''"
    assert [step for step in steps if "AWS_VERIFY_ROLE_ARN" in str(step)] == [role, verifying]


def test_only_jobs_of_a_github_environment_get_a_role() -> None:
    for name, job, content in jobs():
        takes_a_role = any("aws-actions/" in step.get("uses", "") for step in content.get("steps", ()))
        assert takes_a_role == ("environment" in content), (name, job)
        if takes_a_role:
            applies = any("make apply" in step.get("run", "") for step in content["steps"])
            assert content["environment"].endswith("-plan") != applies, (name, job)


def test_a_pull_request_only_plans_and_a_forks_not_even_that() -> None:
    ci = workflow("ci.yml")["jobs"]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in ci["plan"]["if"]
    for name in ("dev", "staging", "prod"):
        assert "github.ref == 'refs/heads/main'" in ci[name]["if"]
        assert "checks" in listed(ci[name]["needs"])
    assert "pull_request_target" not in (FOLDER / "ci.yml").read_text("utf-8")
    # What may write comments runs nothing of the pull request.
    assert not [step for step in ci["comment"]["steps"] if "checkout" in step.get("uses", "")]


def test_prod_comes_last_and_what_is_applied_is_an_environment() -> None:
    ci = workflow("ci.yml")["jobs"]
    applied = {name: job["with"]["environment"] for name, job in ci.items() if "uses" in job}
    assert applied == {"dev": "dev", "staging": "staging", "prod": "prod"}
    assert set(applied) <= set(environments.known()) - {"local"}
    assert set(ci["prod"]["needs"]) >= {"dev", "staging"}


# What ci.yml's conditions are made of, as Python.
EXPRESSIONS: dict[str, Callable[[re.Match[str], Mapping[str, str]], str]] = {
    r"needs\.(\w+)\.result": lambda match, results: repr(results[match[1]]),
    r"contains\(fromJSON\(vars\.DEPLOY_ENVIRONMENTS \|\| '\[\]'\), '(\w+)'\)": (
        lambda match, results: str(results[match[1]] != "skipped")
    ),
    r"github\.ref": lambda _match, _results: "'refs/heads/main'",
    r"cancelled\(\)": lambda _match, _results: "False",
    r"&&": lambda _match, _results: "and",
    r"\|\|": lambda _match, _results: "or",
    r"!(?!=)": lambda _match, _results: "not ",
}


def runs(name: str, **results: str) -> bool:
    """Whether a job of ci.yml runs on main after others with these results, in a run nobody cancelled.

    Environments that are skipped are those not set up.
    """
    job = workflow("ci.yml")["jobs"][name]
    condition = " ".join(job["if"].split())
    # Without a word on others' results it waits for their success:
    # https://docs.github.com/en/actions/reference/workflows-and-actions/expressions#status-check-functions
    if not re.search(r"\b(always|cancelled|failure|success)\(\)", condition):
        condition = " && ".join(
            [*(f"needs.{one}.result == 'success'" for one in listed(job["needs"])), condition]
        )
    for pattern, value in EXPRESSIONS.items():
        condition = re.sub(pattern, lambda match, value=value: value(match, results), condition)  # type: ignore[misc]
    return bool(eval(condition, {"__builtins__": {}}))


def test_nothing_is_applied_after_checks_that_did_not_succeed() -> None:
    others = {"dev": "success", "staging": "success", "prod": "success"}
    for name in others:
        assert runs(name, checks="success", **others)
        assert not any(runs(name, checks=result, **others) for result in ("failure", "cancelled", "skipped"))


@pytest.mark.parametrize(("before", "name"), [("dev", "staging"), ("dev", "prod"), ("staging", "prod")])
def test_nothing_is_applied_after_an_environment_that_failed_or_gave_way(before: str, name: str) -> None:
    results = {"checks": "success", "dev": "success", "staging": "success", "prod": "success"}
    assert not runs(name, **results | {before: "failure"})
    # A newer run takes the place of an apply that waits.
    assert not runs(name, **results | {before: "cancelled"})
    # It is not set up.
    assert runs(name, **results | {before: "skipped"})
    assert not runs(name, **results | {name: "skipped"})


def script(job: dict[str, Any], name: str) -> str:
    [step] = [step for step in job["steps"] if step.get("name") == name]
    text: str = step["run"]
    return text


def bash(text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script as GitHub does."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_check_to_require_exists_and_passes_only_when_all_others_did() -> None:
    [required] = re.findall(r"the check `(\w+)`", SETUP)
    ci = workflow("ci.yml")["jobs"]
    gate = ci[required]
    # The jobs of a matrix are checks with other names, and a check that is skipped counts as passed.
    assert "strategy" not in gate
    assert gate["if"] == "always()"
    assert gate["needs"] == ["lint", "test"]
    text = script(gate, "Fail unless all succeeded")
    assert bash(text, RESULTS="success success").returncode == 0
    for other in ("failure", "cancelled", "skipped"):
        assert bash(text, RESULTS=f"success {other}").returncode
        assert bash(text, RESULTS=f"{other} success").returncode


@pytest.mark.parametrize(("head", "applied"), [("aaa", True), ("bbb", False)])
def test_a_run_that_was_overtaken_puts_no_older_code_back(head: str, applied: bool, tmp_path: Path) -> None:
    gh = tmp_path / "gh"
    gh.write_text(f"#!/bin/sh\necho {head}\n", "utf-8")
    gh.chmod(0o755)
    apply = workflow("apply.yml")["jobs"]["apply"]
    assert apply["steps"][0]["name"] == "Stop where this would put older code back"
    result = bash(
        apply["steps"][0]["run"],
        PATH=f"{tmp_path}:{os.environ['PATH']}",
        GITHUB_REPOSITORY="example/photos",
        GITHUB_SHA="aaa",
    )
    assert (result.returncode == 0) == applied
    assert ("::error::This run is of aaa, but main is at bbb by now" in result.stdout) != applied


def test_every_supported_python_is_tested_and_the_next_one_is_tried() -> None:
    job = workflow("ci.yml")["jobs"]["test"]
    *tested, tried = job["strategy"]["matrix"]["python"]
    oldest, newest = setup.OLDEST[1], setup.NEWEST_TESTED[1]
    assert tested == [f"3.{minor}" for minor in range(oldest, newest + 1)]
    assert tried == f"3.{newest + 1}"
    assert job["continue-on-error"] == f"${{{{ matrix.python == '{tried}' }}}}"


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_ROLE_ARN", "AWS_VERIFY_ROLE_ARN", "DEPLOY_ENVIRONMENTS"])
def test_every_variable_is_explained(name: str) -> None:
    assert f"`{name}`" in SETUP


def test_no_other_variable_is_used() -> None:
    used = {
        name for path in NAMES for name in re.findall(r"\bvars\.(\w+)", (FOLDER / path).read_text("utf-8"))
    }
    assert used == {"AWS_REGION", "AWS_ROLE_ARN", "AWS_VERIFY_ROLE_ARN", "DEPLOY_ENVIRONMENTS"}


def policies() -> dict[str, dict[str, Any]]:
    """The policies of docs/ci.md by the file it names them."""
    return {
        name: json.loads(text)
        for name, text in re.findall(r"^`(\w+\.json)`: .*?```json\n(.*?)```", SETUP, re.MULTILINE | re.DOTALL)
    }


def test_each_role_is_for_one_github_environment_of_one_repository() -> None:
    [statement] = policies()["trust.json"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    conditions = statement["Condition"]["StringEquals"]
    assert list(statement["Condition"]) == ["StringEquals"]
    assert conditions["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
    by_name, by_id = conditions["token.actions.githubusercontent.com:sub"]
    assert re.fullmatch(r"repo:[\w-]+/[\w-]+:environment:dev-plan", by_name)
    assert re.fullmatch(r"repo:[\w-]+@\d+/[\w-]+@\d+:environment:dev-plan", by_id)
    assert re.sub(r"@\d+", "", by_id) == by_name
    assert "*" not in json.dumps(conditions)


def test_who_applies_reads_no_photos_and_records() -> None:
    statements = policies()["apply.json"]["Statement"]
    denied = {action for one in statements if one["Effect"] == "Deny" for action in listed(one["Action"])}
    assert {
        "s3:GetObject*",
        "dynamodb:GetItem",
        "dynamodb:Query",
        "dynamodb:Scan",
        "sqs:ReceiveMessage",
    } <= denied
    assert [
        one["Sid"] for one in statements if one["Effect"] == "Allow" and "*" in listed(one["Resource"])
    ] == []


def test_who_plans_changes_nothing_but_the_lock() -> None:
    writes = {
        (action, one["Resource"])
        for one in policies()["plan.json"]["Statement"]
        for action in listed(one["Action"])
        if not re.search(r":(Describe|Get|List|Validate)", action)
    }
    assert {action for action, _ in writes} == {"kms:Decrypt", "s3:DeleteObject", "s3:PutObject"}
    # From 6.23 on the provider reads a bucket's tags by it.
    assert "s3:ListTagsForResource" in json.dumps(policies()["plan.json"])
    assert all(where.endswith(".tflock") for action, where in writes if action.startswith("s3:"))


def test_who_verifies_writes_only_what_is_its_own() -> None:
    for one in policies()["verify.json"]["Statement"]:
        actions, resources = listed(one["Action"]), listed(one["Resource"])
        if any(action.startswith("s3:") and re.search("Object", action) for action in actions):
            assert all(resource.endswith(("/verify-*", "-tfstate-111122223333/*")) for resource in resources)
        if any(action.startswith("dynamodb:") for action in actions):
            assert one["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "verify-*"}}
        if "*" in resources:
            # Nothing narrower can be granted.
            assert set(actions) <= {
                "cloudwatch:DescribeAlarms",
                "cloudwatch:GetMetricData",
                "sns:Unsubscribe",
            }


def test_the_roles_are_for_the_names_this_project_gives() -> None:
    text = json.dumps(policies())
    dev = environments.Environment.load("dev")
    assert f"arn:aws:s3:::{dev.state_bucket}/*.tflock" in text
    assert set(re.findall(r"\b\d{12}\b", text)) == set(dev.account_ids)
    assert set(re.findall(r"photo-analysis-\w+-", text)) == {"photo-analysis-dev-"}


@pytest.mark.parametrize("name", ["plan.json", "apply.json", "verify.json"])
def test_the_roles_name_actions_there_are_on_resources_they_take(name: str) -> None:
    # What only describes is granted on all of an account.
    assert [one for one in findings(json.dumps(policies()[name])) if one[0] != "RESOURCE_STAR"] == []
