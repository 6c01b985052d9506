"""A deployed environment proves itself: photos sent through it, and everything they ought to leave behind."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from operations import options
from operations.deployment import Deployment
from operations.inspection import Line, failed, inspect, not_checked, passed
from operations.program import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from operations.verification import Photo, Trial

# Six photos analysed at a tenth of a cent, and requests by the dozen.
COST = "about one cent"


def verify(deployment: Deployment, say: Callable[[str], object] = print) -> list[Line]:
    """Send photos through `deployment` and check what they leave; all of it is removed again.

    Raises what AWS raises when the environment cannot even be looked at.
    """
    from operations import verification

    # What is broken before a photo is sent names itself better than a photo that never comes.
    lines = list(inspect(deployment))
    broken = [line for line in lines if line.outcome == "failed"]
    with verification.trial(deployment) as trial:
        say(f"Sending {len(verification.PHOTOS)} photos below {trial.prefix} ({COST})")
        began = datetime.now(UTC)
        try:
            trial.subscribe()
        except deployment.client("sns").exceptions.NotFoundException:
            return [
                *lines,
                failed("results topic", f"{deployment.outputs['results_topic_arn']} is not there"),
            ]
        for photo in verification.PHOTOS:
            trial.upload(photo)
        trial.start({"detail": {"verify": trial.run}}, "malformed")
        first, *others = verification.PHOTOS
        patience = verification.SECONDS if broken else verification.FIRST_EVENT_SECONDS
        say("Waiting for the first event (S3 takes five minutes after notifications are switched on)")
        came = verification.wait_for(trial, lambda: trial.record(first) or _parked(trial, first), patience)
        # Where the first one left no record, the others will hardly leave one.
        sound = trial.record(first) is not None
        for photo in others:
            verification.wait_for(
                trial,
                lambda one=photo: trial.record(one) or _parked(trial, one),
                verification.SECONDS if sound else 1.0,
            )
        say("Delivering one event twice, and looking for everything it left")
        if came:
            trial.start(trial.events[first], "again")
        # One that still ran would record the photo anew once its record is removed.
        verification.wait_for(trial, trial.ended, 30.0)
        notified = 30.0 if sound else 1.0
        verification.wait_for(
            trial, lambda: trial.notifications.keys() >= set(trial.uploads.values()), notified
        )
        deadline = time.monotonic() + (verification.SECONDS if came else 10.0)
        while not _malformed(trial) and time.monotonic() < deadline:
            trial.take_parked()
        for photo in verification.PHOTOS:
            lines += _photo(trial, photo)
        lines += _once(trial, first)
        lines.append(_malformed_line(trial))
        lines += _logs(deployment, trial, began)
        lines += _metrics(deployment, began)
        lines += _audited(deployment, trial)
    return lines


def _parked(trial: Trial, photo: Photo) -> dict[str, Any] | None:
    trial.take_parked()
    return next((one for one in trial.parked if one["key"] == trial.prefix + photo.name), None)


def _photo(trial: Trial, photo: Photo) -> Iterator[Line]:
    about, image_id = photo.about, trial.uploads[photo]
    record = trial.record(photo)
    if record is None:
        if parked := _parked(trial, photo):
            yield failed(
                about, f"was parked: {parked.get('ERROR_CODE')}: {parked.get('ERROR_MESSAGE', '')[:300]}"
            )
        else:
            yield failed(about, "left neither a record nor a dead letter")
        return
    outcome, faces = record["Outcome"]["S"], int(record["FaceCount"]["N"])
    if outcome not in photo.outcomes or photo.faces not in (None, faces):
        yield failed(
            about, f"was recorded as {outcome} with {faces} faces, not {' or '.join(photo.outcomes)}"
        )
        return
    sent = trial.notifications.get(image_id, [])
    if not sent:
        parked = _parked(trial, photo)
        why = f": {_why(parked)}" if parked else ""
        yield failed(about, f"was recorded as {outcome}, and nobody was notified{why}")
    elif sent[0].get("outcome") != outcome or sent[0].get("key") != trial.prefix + photo.name:
        yield failed(about, f"was recorded as {outcome}, and {sent[0]} was sent")
    else:
        yield passed(about, f"{outcome}, {faces} faces, recorded and notified")


def _why(parked: dict[str, Any]) -> str:
    return f"{parked.get('ERROR_CODE')}: {parked.get('ERROR_MESSAGE', '')[:300]}"


def _once(trial: Trial, photo: Photo) -> Iterator[Line]:
    count = len(trial.notifications.get(trial.uploads[photo], []))
    about = "the same event twice"
    if count > 1:
        yield failed(about, f"was notified {count} times")
    elif count == 1:
        yield passed(about, "one record, one notification")


def _malformed(trial: Trial) -> dict[str, Any] | None:
    return next((one for one in trial.parked if one["key"] is None), None)


def _malformed_line(trial: Trial) -> Line:
    found = _malformed(trial)
    about = "a malformed event"
    if found is None:
        return failed(about, "was not parked in the dead-letter queue")
    missing = [
        name
        for name in ("ERROR_CODE", "ERROR_MESSAGE", "EXECUTION_ID", "REDRIVEN_FROM")
        if not found.get(name)
    ]
    if missing:
        return failed(about, f"was parked without {', '.join(missing)}")
    return passed(about, f"parked with {found['ERROR_CODE']}, and removed again")


def _logs(deployment: Deployment, trial: Trial, began: datetime) -> Iterator[Line]:
    """Log lines of both functions; metrics made from them take CloudWatch minutes."""
    client = deployment.client("logs")
    if not trial.notifications:
        return
    deadline = time.monotonic() + 60
    missing = {f"/aws/lambda/{name}" for name in deployment.outputs["function_names"].values()}
    start = int((began - timedelta(seconds=5)).timestamp() * 1000)
    expected = {name for name in missing if name.endswith(("-process-image", "-send-notification"))}
    missing &= expected
    while missing and time.monotonic() < deadline:
        for group in sorted(missing):
            try:
                if client.filter_log_events(logGroupName=group, startTime=start, limit=1)["events"]:
                    missing.discard(group)
            except client.exceptions.ResourceNotFoundException:
                break
        time.sleep(1)
    if missing:
        yield failed("logs", f"nothing arrived in {', '.join(sorted(missing))}")
    else:
        yield passed("logs", f"lines arrived in {len(expected)} log groups")


def _metrics(deployment: Deployment, began: datetime) -> Iterator[Line]:
    """What CloudWatch counted of the workflow, which alarms go by; it takes a minute or two."""
    deadline = time.monotonic() + (0 if deployment.environment.local else 60)
    client, name = deployment.client("cloudwatch"), deployment.outputs["function_names"]["process_image"]
    while True:
        points = client.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName="Invocations",
            Dimensions=[{"Name": "FunctionName", "Value": name}],
            StartTime=began - timedelta(minutes=1),
            EndTime=began + timedelta(minutes=10),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        if points:
            yield passed("metrics", f"invocations of {name} are counted")
        elif time.monotonic() < deadline:
            time.sleep(5)
            continue
        elif deployment.environment.local:
            yield not_checked("metrics", "the local cloud counts no invocations")
        else:
            yield failed("metrics", f"no invocation of {name} was counted")
        return


def _audited(deployment: Deployment, trial: Trial) -> Iterator[Line]:
    from operations.audit import audit

    try:
        account = audit(deployment, prefix=trial.prefix, grace_seconds=0)
    except deployment.client("sqs").exceptions.QueueDoesNotExist:
        yield not_checked("audit", "it reads the dead-letter queue")
        return
    if account.unaccounted:
        yield failed("audit", f"{account.unaccounted} of {account.uploaded} uploads are unaccounted for")
    else:
        yield passed("audit", f"all {account.uploaded} uploads are accounted for")


@click.command
@options.environment
@options.as_json
def command(env: str, as_json: bool) -> None:
    """Prove that a deployed environment works: send photos through it, and remove them again."""
    from operations.terminal import console, table

    deployment = Deployment.load(env)
    lines = verify(deployment, lambda text: click.echo(text, err=True))
    report = {"environment": env, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    content = {**report, "passed": not _broken(lines), "checks": [asdict(line) for line in lines]}
    path = ROOT / "build" / "verify" / f"{env}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if as_json:
        options.print_json(content)
    else:
        rows = [(line.outcome, line.about, line.text) for line in lines]
        console().print(table("Outcome", "About", "Seen", rows=rows, red={"failed"}))
        click.echo(f"Everything it made is removed. Report: {path.relative_to(ROOT)}")
    if _broken(lines):
        sys.exit(1)


def _broken(lines: list[Line]) -> bool:
    return any(line.outcome == "failed" for line in lines)
