"""Run every check of the repository; none of them changes a file.

Each check ends in one line: ``ok``, ``failed`` with what it found below, or ``not run`` with the reason.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import venv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from operations import deploy
from operations.environments import Environment
from operations.errors import UserError
from operations.program import ROOT
from operations.providers import process_environment
from operations.terraform import TerraformError
from tools import asl, fetch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHECKOV_VENV = ROOT / ".venv-checkov"
CHECKOV_LOCK = ROOT / "requirements-checkov.lock"
LOCKS = (ROOT / "requirements-dev.lock", CHECKOV_LOCK)
BUILD = ROOT / "build"

_PYTHON_FOLDERS = ("functions", "localcloud", "operations", "tests", "tools")
# Checksums look like secrets to an entropy test.
_NO_SECRETS = r"^requirements[^/]*\.lock$|\.terraform\.lock\.hcl$|\.(jpe?g|png)$"
# So do the identifiers S3 gives to an object and to an event.
_IDENTIFIERS = r"(?i)\b(etag|hostid|sequencer)\b"
# The local cloud's credentials.
_KNOWN_VALUES = r"^test$"
_ADVISORIES = "api.osv.dev"
# Advisories that do not touch how the development environment uses the package; each with its reason.
_ACCEPTED_ADVISORIES: tuple[str, ...] = ()
_WORKERS = 2
_LINES_SHOWN = 60
_INSTALLING = threading.Lock()


@dataclass(frozen=True)
class Finding:
    """How a check ended: ``ok``, ``failed`` or ``not run``, and what there is to say about it."""

    outcome: str
    text: str = ""
    note: str = ""


@dataclass(frozen=True)
class Check:
    name: str
    run: Callable[[], Finding]


def _ok(note: str = "") -> Finding:
    return Finding("ok", note=note)


def _failed(text: str) -> Finding:
    return Finding("failed", text.strip())


def _not_run(reason: str) -> Finding:
    return Finding("not run", note=reason)


def _command(*command: str | Path, environment: dict[str, str] | None = None) -> Finding:
    result = _capture(*command, environment=environment)
    return _failed(f"{result.stdout}\n{result.stderr}") if result.returncode else _ok()


def _capture(
    *command: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def _module(name: str, *arguments: str | Path) -> Finding:
    return _command(sys.executable, "-m", name, *arguments)


def _python_folders() -> list[str]:
    return [name for name in _PYTHON_FOLDERS if any((ROOT / name).rglob("*.py"))]


def mypy() -> Finding:
    finding = _module("mypy", "--hide-error-context", "--no-color-output", *_python_folders())
    # Overloads of the SDK's stubs come by the hundred.
    lines = [line for line in finding.text.splitlines() if ": note:     def " not in line]
    return Finding(finding.outcome, "\n".join(lines))


def terraform_format() -> Finding:
    try:
        executable = fetch.terraform()
    except fetch.FetchError as error:
        return _failed(str(error))
    result = _capture(
        executable, "fmt", "-check", "-recursive", "-no-color", environment=process_environment()
    )
    if result.returncode:
        return _failed(f"{result.stdout}{result.stderr}\nRun 'make fmt'.")
    return _ok()


def tflint() -> Finding:
    try:
        executable = fetch.tflint()
    except fetch.FetchError as error:
        return _failed(str(error))
    environment = os.environ | {"TFLINT_DISABLE_VERSION_CHECK": "1"}
    full = ROOT / ".tflint-aws.hcl"
    fetched = not _capture(executable, "--init", f"--config={full}", environment=environment).returncode
    configuration = full if fetched else ROOT / ".tflint.hcl"
    result = _capture(
        executable, "--recursive", f"--config={configuration}", "--no-color", environment=environment
    )
    if result.returncode:
        return _failed(f"{result.stdout}\n{result.stderr}")
    return _ok("with the aws ruleset" if fetched else "without the aws ruleset, which cannot be fetched here")


def workflows() -> Finding:
    folder = ROOT / ".github" / "workflows"
    paths = sorted(path for pattern in ("*.yml", "*.yaml") for path in folder.glob(pattern))
    if not paths:
        return _failed("There is no workflow in .github/workflows.")
    try:
        executable = fetch.actionlint()
    except fetch.FetchError as error:
        return _not_run(str(error))
    # What else it finds on PATH to ask would make its answer depend on the machine.
    finding = _command(executable, "-no-color", "-oneline", "-shellcheck=", "-pyflakes=", *paths)
    text = finding.text.replace(f"{ROOT}/", "")
    return Finding(finding.outcome, text, f"{len(paths)} files" if finding.outcome == "ok" else "")


def state_machines() -> Finding:
    paths = sorted((ROOT / "modules").rglob("*.asl.json"))
    if not paths:
        return _failed("There is no .asl.json file below modules/.")
    found = asl.problems({str(path.relative_to(ROOT)): path.read_text("utf-8") for path in paths})
    return _failed("\n".join(found)) if found else _ok(f"{len(paths)} files")


def secrets() -> Finding:
    listed = _capture("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed.returncode:
        return _failed("Git does not list the files to look through; check out the repository with git.")
    paths = sorted({path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()})
    result = _capture(
        *(sys.executable, "-m", "detect_secrets", "scan", "--no-verify"),
        *(
            "--exclude-files",
            _NO_SECRETS,
            "--exclude-lines",
            _IDENTIFIERS,
            "--exclude-secrets",
            _KNOWN_VALUES,
        ),
        *paths,
    )
    if result.returncode:
        return _failed(result.stderr)
    found = [
        f"{path}:{secret['line_number']}: {secret['type']}"
        for path, found_here in json.loads(result.stdout)["results"].items()
        for secret in found_here
    ]
    if found:
        hint = "Take the secret out; if it is none, mark its line with '# pragma: allowlist secret'."
        return _failed("\n".join([*found, hint]))
    return _ok(f"{len(paths)} files")


def dependencies() -> Finding:
    audited, found = 0, []
    for lock in LOCKS:
        accepted = [argument for advisory in _ACCEPTED_ADVISORIES for argument in ("--ignore-vuln", advisory)]
        result = _capture(
            *(sys.executable, "-m", "pip_audit", "--requirement", lock, "--require-hashes", "--disable-pip"),
            *("--progress-spinner", "off", "--timeout", "10"),
            *("--vulnerability-service", "osv", "--format", "json", *accepted),
        )
        try:
            packages = json.loads(result.stdout)["dependencies"]
        except (ValueError, KeyError):
            # Its last words name the database when that did not answer.
            if _ADVISORIES in result.stderr:
                return _not_run(f"the database of advisories ({_ADVISORIES}) cannot be reached")
            return _failed(result.stderr)
        audited += sum("version" in package for package in packages)
        found += [
            f"{lock.name}: {package['name']} {package['version']}: {advisory['id']}, fixed in"
            f" {', '.join(advisory['fix_versions']) or 'no version yet'}"
            for package in packages
            for advisory in package.get("vulns", [])
        ]
    if found:
        return _failed("\n".join([*found, "Run 'make lock' for newer versions."]))
    if not audited:
        return _not_run("the database of advisories does not know the packages")
    return _ok(f"{audited} packages")


def _checkov() -> Path:
    """Return checkov, installing it first where that is needed; two checks share it.

    Raises:
        UserError: it cannot be installed.
    """
    with _INSTALLING:
        return _installed_checkov()


def _installed_checkov() -> Path:
    # In a virtual environment of its own: it pins an SDK the rest cannot use.
    executable = CHECKOV_VENV / "bin" / "checkov"
    stamp = CHECKOV_VENV / ".ready"
    wanted = CHECKOV_LOCK.read_text("utf-8")
    if not (executable.is_file() and stamp.is_file() and stamp.read_text("utf-8") == wanted):
        click.echo("Installing checkov into .venv-checkov (about a minute, once)", err=True)
        venv.create(CHECKOV_VENV, clear=True, with_pip=True)
        result = _capture(
            *(CHECKOV_VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile"),
            *("--disable-pip-version-check", "--require-hashes", "--requirement", CHECKOV_LOCK),
        )
        if result.returncode:
            raise UserError(f"checkov cannot be installed: {result.stderr.strip().splitlines()[-1]}")
        stamp.write_text(wanted, "utf-8")
    return executable


def _run_checkov(*arguments: str | Path) -> Finding:
    executable = _checkov()
    result = _capture(
        *(executable, "--compact", "--quiet", "--skip-download", "--output", "json", *arguments),
        environment=os.environ | {"LOG_LEVEL": "ERROR", "BC_SKIP_MAPPING": "TRUE"},
    )
    try:
        report = json.loads(result.stdout)
    except ValueError:
        return _failed(result.stderr or result.stdout)
    reports = report if isinstance(report, list) else [report]
    summaries = [one.get("summary", one) for one in reports]
    passed, skipped, errors = (
        sum(summary.get(name, 0) for summary in summaries) for name in ("passed", "skipped", "parsing_errors")
    )
    found = sorted(
        {
            f"{check['check_id']}: {check['check_name']}: {check['resource']}"
            f" ({check['file_path'].lstrip('/')}:{check['file_line_range'][0]})"
            for one in reports
            for check in one.get("results", {}).get("failed_checks", [])
        }
    )
    if found:
        return _failed("\n".join(found))
    if errors or not passed:
        return _failed(f"checkov could not read what it should check ({errors} files it cannot parse).")
    return _ok(f"{passed} passed, {skipped} skipped with a reason")


def checkov_code() -> Finding:
    try:
        return _run_checkov(
            *("--framework", "terraform", "--framework", "github_actions", "--directory", "."),
            *("--skip-path", "build", "--skip-path", ".terraform", "--skip-path", "tests"),
        )
    except UserError as error:
        return _failed(str(error))


def _with_unknowns(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the plan with a placeholder for every value known only after apply.

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


def checkov_plan() -> Finding:
    """Check the plan of the strictest environment, made against a local cloud of its own."""
    from localcloud import LocalCloud, LocalCloudError

    folder = BUILD / "lint"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _checkov()
        with LocalCloud.start(folder) as cloud:
            local = Environment.load("local", cloud)
            strict = Environment.load("prod")
            terraform = deploy.connect(local, Console(quiet=True))
            plan = folder / "prod.tfplan"
            terraform.run(
                *("plan", "-input=false", "-no-color", f"-out={plan}"),
                *(f"-var-file={strict.variables_file}", "-var", 'allowed_account_ids=["000000000000"]'),
            )
            shown = folder / "prod.json"
            planned = json.loads(terraform.run("show", "-json", str(plan)))
            shown.write_text(json.dumps(_with_unknowns(planned)), "utf-8")
        return _run_checkov(
            "--framework", "terraform_plan", "--file", shown, "--repo-root-for-plan-enrichment", ROOT
        )
    except (LocalCloudError, UserError, TerraformError) as error:
        return _failed(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


CHECKS = (
    # The slow ones first, so that the quick ones run beside them.
    Check("checkov on the code", checkov_code),
    Check("checkov on a plan", checkov_plan),
    Check("mypy", mypy),
    Check("tflint", tflint),
    Check("pip-audit", dependencies),
    Check("secrets", secrets),
    Check("state machines", state_machines),
    Check("workflows", workflows),
    Check("terraform fmt", terraform_format),
    Check("ruff check", lambda: _module("ruff", "check", "--quiet", "--output-format=concise", ".")),
    Check("ruff format", lambda: _module("ruff", "format", "--check", "--quiet", ".")),
)

_COLOURS = {"ok": "green", "failed": "red", "not run": "yellow"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Run the checks whose names begin with one of NAMES, or all of them."""
    chosen = [check for check in CHECKS if not names or check.name.startswith(names)]
    if not chosen:
        click.echo(f"There is no such check; choose from {', '.join(c.name for c in CHECKS)}.", err=True)
        sys.exit(1)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
        running = {pool.submit(_timed, check): check for check in chosen}
        for future in concurrent.futures.as_completed(running):
            finding, seconds = future.result()
            failed += finding.outcome == "failed"
            label = click.style(f"{finding.outcome:8}", fg=_COLOURS[finding.outcome])
            note = f"  {finding.note}" if finding.note else ""
            click.echo(f"{label} {running[future].name:20} {seconds:5.1f} s{note}")
            if finding.text:
                lines = finding.text.splitlines()
                click.echo("\n".join(f"    {line[:400]}" for line in lines[:_LINES_SHOWN]))
                if len(lines) > _LINES_SHOWN:
                    click.echo(f"    ... and {len(lines) - _LINES_SHOWN} more lines")
    click.echo(f"{len(chosen)} checks, {failed} failed" if failed else f"{len(chosen)} checks, none failed")
    sys.exit(bool(failed))


def _timed(check: Check) -> tuple[Finding, float]:
    started = time.monotonic()
    finding = check.run()
    return finding, time.monotonic() - started


if __name__ == "__main__":
    main(prog_name="python -m tools.lint")
