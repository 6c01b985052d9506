"""`verify`: send photos through a deployed environment and check everything they should leave behind."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from operations import audit, metrics, options, terminal, verify_photos
from operations.deployment import Deployment
from operations.metrics import Metric
from operations.preflight import Line
from operations.program import ROOT
from operations.verify_stack import inspect, line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from operations.dead_letters import ParkedEvent
    from operations.verify_photos import Photo, Trial


def verify(deployment: Deployment, say: Callable[[str], object]) -> list[Line]:
    """Send photos through `deployment` and check what they leave behind; all of it is removed again.

    Raises what AWS raises when the environment cannot be read at all.
    """
    # Faults found without a photo are clearer than a photo that never arrives.
    lines = list(inspect(deployment))
    with verify_photos.trying(deployment, say) as trial:
        # Each analysis costs a tenth of a cent; the rest is for dozens of requests.
        say(f"Sending {len(verify_photos.PHOTOS)} photos below {trial.prefix} (about one cent)")
        began = datetime.now(UTC)
        try:
            trial.subscribe()
        except deployment.client("sns").exceptions.NotFoundException:
            # `inspect` has already reported it.
            return lines
        for photo in verify_photos.PHOTOS:
            trial.upload(photo)
        trial.start({"detail": {"verify": trial.run}}, "malformed")
        first = verify_photos.PHOTOS[0]
        patience = verify_photos.SECONDS if _broken(lines) else verify_photos.FIRST_EVENT_SECONDS
        say("Waiting for the first event (S3 takes five minutes after notifications are switched on)")
        came = verify_photos.wait_for(trial, partial(trial.ended_as, first), patience)
        # If the first one left no record, the others probably will not either.
        sound = trial.record(first) is not None
        seconds = verify_photos.SECONDS if sound else 1.0
        verify_photos.wait_for(trial, lambda: all(map(trial.ended_as, verify_photos.PHOTOS)), seconds)
        say("Delivering one event twice, and looking for everything it left")
        if came:
            trial.start(trial.events[first], "again")
        # An execution that is still running would recreate the record after its removal.
        verify_photos.wait_for(trial, trial.is_over, 30.0)
        images = set(trial.uploads.values())
        verify_photos.wait_for(trial, lambda: trial.notifications.keys() >= images, 30.0 if sound else 1.0)
        verify_photos.wait_for(trial, partial(trial.take_parked, ""), verify_photos.SECONDS if came else 10.0)
        lines += [_photo(trial, photo) for photo in verify_photos.PHOTOS]
        lines += _once(trial, first)
        lines.append(_malformed(trial.parked.get("")))
        lines += _logs(deployment, trial, began)
        lines.append(_metrics(deployment, trial, began))
        lines.append(_audited(deployment, trial))
    return lines


def _photo(trial: Trial, photo: Photo) -> Line:
    key, record = trial.prefix + photo.name, trial.record(photo)
    parked = trial.parked.get(key)
    why = f": {parked.error}: {parked.cause[:300]}" if parked else ""
    if record is None:
        problem = f"was parked{why}" if parked else "left neither a record nor a dead letter"
        return Line("failed", photo.about, problem)
    outcome, faces = record["Outcome"], record["FaceCount"]
    sent = trial.notifications.get(trial.uploads[photo])
    problem = ""
    if outcome not in photo.outcomes or photo.faces not in (None, faces):
        problem = f"was recorded as {outcome} with {faces} faces, not {' or '.join(photo.outcomes)}"
    elif not sent:
        problem = f"was recorded as {outcome}, and nobody was notified{why}"
    elif sent[0].get("outcome") != outcome or sent[0].get("key") != key:
        problem = f"was recorded as {outcome}, and {sent[0]} was sent"
    return line(photo.about, problem, f"{outcome}, {faces} faces, recorded and notified")


def _once(trial: Trial, photo: Photo) -> Iterator[Line]:
    if count := len(trial.notifications.get(trial.uploads[photo], [])):
        problem = f"was notified {count} times" if count > 1 else ""
        yield line("the same event twice", problem, "one record, one notification")


def _malformed(found: ParkedEvent | None) -> Line:
    about = "a malformed event"
    if found is None:
        return Line("failed", about, "was not parked in the dead-letter queue")
    attributes = {
        "ERROR_CODE": found.error != "none given",
        "ERROR_MESSAGE": found.cause,
        "EXECUTION_ID": found.execution,
        "REDRIVEN_FROM": found.chain,
    }
    missing = ", ".join(name for name, value in attributes.items() if not value)
    problem = f"was parked without {missing}" if missing else ""
    return line(about, problem, f"parked with {found.error}, and removed again")


def _logs(deployment: Deployment, trial: Trial, began: datetime) -> Iterator[Line]:
    """Check that both functions' log lines arrive; the metrics from them take minutes."""
    if not trial.notifications:
        return
    client = deployment.client("logs")
    start = int((began - timedelta(seconds=5)).timestamp() * 1000)
    names = deployment.value("function_names")
    silent = {f"/aws/lambda/{names[name]}" for name in ("process_image", "send_notification")}

    def arrived() -> bool:
        for group in sorted(silent):
            with contextlib.suppress(client.exceptions.ResourceNotFoundException):
                if client.filter_log_events(logGroupName=group, startTime=start, limit=1)["events"]:
                    silent.discard(group)
        return not silent

    verify_photos.wait_for(trial, arrived, 60)
    problem = f"nothing arrived in {', '.join(sorted(silent))}" if silent else ""
    yield line("logs", problem, "lines arrived in 2 log groups")


def _metrics(deployment: Deployment, trial: Trial, began: datetime) -> Line:
    """Check that CloudWatch counts invocations, which alarms depend on; it takes a minute or two."""
    name, local = deployment.value("function_names")["process_image"], deployment.environment.local
    wanted = {"count": Metric("AWS/Lambda", "Invocations", "FunctionName", name, "Sum")}
    minute = timedelta(minutes=1)

    def counted() -> Any:
        return metrics.read(deployment, wanted, began - minute, began + 10 * minute, minute)["count"]

    if verify_photos.wait_for(trial, counted, 0 if local else 60):
        return Line("passed", "metrics", f"invocations of {name} are counted")
    if local:
        return Line("not checked", "metrics", "the local cloud counts no invocations")
    return Line("failed", "metrics", f"no invocation of {name} was counted")


def _audited(deployment: Deployment, trial: Trial) -> Line:
    try:
        account = audit.audit(deployment, prefix=trial.prefix, grace_seconds=0)
    except deployment.client("sqs").exceptions.QueueDoesNotExist:
        return Line("not checked", "audit", "it reads the dead-letter queue")
    left, uploads = account["unaccounted"], f"{account['uploaded']} uploads"
    problem = f"{left} of {uploads} are unaccounted for" if left else ""
    return line("audit", problem, f"all {uploads} are accounted for")


@click.command
@options.environment
@options.as_json
def command(env: str, as_json: bool) -> None:
    """Prove that a deployed environment works: send photos through it, and remove them again."""
    lines = verify(Deployment.load(env), lambda text: click.echo(text, err=True))
    report = {"environment": env, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    content = {**report, "passed": not _broken(lines), "checks": [line._asdict() for line in lines]}
    path = ROOT / "build" / "verify" / f"{env}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if as_json:
        options.print_json(content)
    else:
        table = terminal.table("Outcome", "About", "Seen", rows=lines, red={"failed"})
        terminal.console().print(table)
        click.echo(f"Everything it made is removed. Report: {path.relative_to(ROOT)}")
    if _broken(lines):
        sys.exit(1)


def _broken(lines: list[Line]) -> bool:
    return any(line.outcome == "failed" for line in lines)
