"""checkov finds nothing in the plan of the strictest environment."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from operations import deploy
from operations.environments import Environment
from operations.program import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from localcloud import LocalCloud

CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"


@pytest.mark.skipif(not CHECKOV.exists(), reason="there is no checkov; 'make lint' installs it")
def test_checkov_finds_nothing_in_the_plan_of_prod(cloud: LocalCloud, tmp_path: Path) -> None:
    terraform = deploy.connect(Environment.load("local", cloud), Console(quiet=True))
    plan, shown = tmp_path / "prod.tfplan", tmp_path / "prod.json"
    terraform.run(
        *("plan", "-input=false", "-no-color", "-lock=false", f"-out={plan}"),
        *(f"-var-file={Environment.load('prod').variables_file}", "-var"),
        'allowed_account_ids=["000000000000"]',
    )
    planned = json.loads(terraform.run("show", "-json", str(plan)))
    shown.write_text(json.dumps(with_unknowns(planned)), "utf-8")
    command = [str(CHECKOV), "--compact", "--quiet", "--skip-download", "--output", "json"]
    command += ["--framework", "terraform_plan", "--file", str(shown)]
    command += ["--repo-root-for-plan-enrichment", str(ROOT)]
    quiet = os.environ | {"LOG_LEVEL": "ERROR", "BC_SKIP_MAPPING": "TRUE"}
    report = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=False, env=quiet).stdout
    )
    found = [(one["check_id"], one["resource"]) for one in report["results"]["failed_checks"]]
    assert found == []
    assert report["summary"]["passed"] > 100
    assert report["summary"]["parsing_errors"] == 0


def with_unknowns(plan: dict[str, Any]) -> dict[str, Any]:
    """The plan with a placeholder for every value known only after apply.

    checkov takes such a value, the ARN of a key that is yet to be made, for one that nobody set.
    """
    unknown = {
        change["address"]: change["change"].get("after_unknown", {})
        for change in plan.get("resource_changes", [])
    }

    def fill(value: Any, missing: Any) -> Any:
        if missing is True:
            return "known-after-apply"
        if isinstance(missing, dict) and isinstance(value, dict):
            return value | {name: fill(value.get(name), part) for name, part in missing.items() if part}
        if isinstance(missing, list) and isinstance(value, list):
            return [fill(*pair) for pair in zip(value, missing, strict=False)]
        return value

    def walk(module: dict[str, Any]) -> None:
        for resource in module.get("resources", []):
            resource["values"] = fill(resource.get("values", {}), unknown.get(resource["address"], {}))
        for child in module.get("child_modules", []):
            walk(child)

    walk(plan["planned_values"]["root_module"])
    for change in plan.get("resource_changes", []):
        after = fill(change["change"].get("after"), change["change"].get("after_unknown"))
        change["change"] |= {"after": after, "after_unknown": {}}
    return plan
