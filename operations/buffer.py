"""The buffer of uploads: its backlog and pace, and the verbs `pause` and `resume`."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from operations import metrics, options, terminal
from operations.deployment import Deployment
from operations.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

SQS_BATCH = 10  # the most messages SQS takes at once
FEED_SECONDS = 60
_FEED_LOOK_SECONDS = 1.0
# Lambda takes some seconds to stop, and up to a minute to start again.
_PATIENCE_SECONDS = 120
_LOOK_SECONDS = 0.5


def look(deployment: Deployment, now: datetime) -> dict[str, Any]:
    """The buffer's state, ready for JSON.

    `waiting` counts visible messages, `held` those a worker has or that wait for the daily cap to reset.
    `seconds_left` is what the backlog takes at this pace; None while it is paused or capped. `oldest_seconds`
    comes from CloudWatch, some minutes late. `cap` is None without one; its `resumes` is when it resets.
    """
    settings = deployment.value("ingestion")
    waiting, held, _ = metrics.messages(deployment, settings["queue_url"])
    count = waiting + held
    oldest = metrics.oldest_message(deployment, settings["queue_url"], now) if count else None
    paused = state(deployment) != "Enabled"
    cap = _cap(deployment, settings, now)
    stopped = paused or bool(cap and cap["reached"])
    return {
        "mode": settings["mode"],
        "paused": paused,
        "waiting": waiting,
        "held": held,
        "oldest_seconds": oldest,
        "photos_per_second": settings["photos_per_second"],
        "seconds_left": None if stopped else round(count / settings["photos_per_second"]),
        "cap": cap,
    }


def is_used(deployment: Deployment) -> bool:
    """Whether uploads go through the buffer."""
    return bool(deployment.value("ingestion")["mode"] == "buffered")


def put(deployment: Deployment, content: dict[str, Any], _name: str) -> str | None:
    """Put one workflow input into the buffer; start_workflow derives its name from it, so it starts once."""
    queue, body = deployment.value("ingestion")["queue_url"], json.dumps(content)
    return str(deployment.client("sqs").send_message(QueueUrl=queue, MessageBody=body)["MessageId"])


def feed(
    deployment: Deployment, events: Iterable[dict[str, Any]], total: int, *, quiet: bool
) -> dict[str, int]:
    """Put workflow inputs into the buffer and return how many were `queued`.

    At most a minute's worth waits there at a time, so that live uploads wait no longer than that behind them.
    What is queued at Ctrl-C is still started. Raises UserError when SQS refuses a message.
    """
    settings, run = deployment.value("ingestion"), uuid.uuid4().hex
    url, most = settings["queue_url"], FEED_SECONDS * settings["photos_per_second"]
    queued = 0
    numbered = enumerate(events)
    with terminal.progress("Queued", total=total, hidden=quiet) as update:
        while batch := list(itertools.islice(numbered, SQS_BATCH)):
            if queued % (10 * SQS_BATCH) == 0:
                while metrics.messages(deployment, url)[0] >= most:
                    time.sleep(_FEED_LOOK_SECONDS)
            # A new id each run, so that a photo starts even if it was started before and failed.
            entries = [
                {"Id": str(number), "MessageBody": json.dumps({"id": f"{run}-{number}", **event})}
                for number, event in batch
            ]
            answer = deployment.client("sqs").send_message_batch(QueueUrl=url, Entries=entries)
            if failed := answer.get("Failed"):
                raise UserError(
                    f"SQS refused {len(failed)} photos ({failed[0]['Code']}); run it again to go on."
                )
            queued += len(batch)
            update(queued, total)
    return {"queued": queued}


def state(deployment: Deployment) -> str:
    """The state of the event source mapping: Enabled, Disabled, or a transition such as Disabling."""
    mapping = deployment.value("ingestion")["mapping_id"]
    return str(deployment.client("lambda").get_event_source_mapping(UUID=mapping)["State"])


def switch(deployment: Deployment, *, on: bool) -> None:
    """Switch the event source mapping on or off; raises UserError when pausing in direct mode."""
    name = deployment.environment.name
    if not (on or is_used(deployment)):
        raise UserError(
            f"ENV={name} has ingestion.mode = direct: uploads start the workflow at once, and nothing holds"
            f' them. Set ingestion = {{ mode = "buffered" }} in environments/{name}.tfvars and run'
            f" 'make apply ENV={name}', which loses nothing; then pause."
        )
    mapping = deployment.value("ingestion")["mapping_id"]
    deployment.client("lambda").update_event_source_mapping(UUID=mapping, Enabled=on)


def sentence(name: str, state: dict[str, Any]) -> str:
    """The buffer's state in words."""
    waiting = f"{state['waiting']:,} uploads wait"
    if state["oldest_seconds"]:
        waiting += f", the oldest for {options.duration(state['oldest_seconds'])}"
    if state["paused"]:
        return f"ENV={name} is paused: {waiting}, for 14 days at the most; 'make resume ENV={name}' goes on."
    cap = state["cap"]
    if cap and cap["reached"]:
        return (
            f"ENV={name} has started its {cap['photos_per_day']:,} photos of today: {waiting}, and"
            f" {state['held']:,} more are held until {cap['resumes']}."
        )
    pace, left = state["photos_per_second"], options.duration(state["seconds_left"])
    return f"ENV={name} starts {pace} photos a second: {waiting}, done in {left} at this pace."


def _cap(deployment: Deployment, settings: dict[str, Any], now: datetime) -> dict[str, Any] | None:
    if settings["photos_per_day"] is None:
        return None
    day = now.date()
    answer = deployment.client("dynamodb").get_item(
        TableName=settings["counts_table_name"], Key={"Day": {"S": day.isoformat()}}
    )
    started = int(answer["Item"]["Started"]["N"]) if "Item" in answer else 0
    return {
        "photos_per_day": settings["photos_per_day"],
        "started_today": started,
        "reached": started >= settings["photos_per_day"],
        "resumes": f"{day + timedelta(days=1)}T00:00:00+00:00",
    }


@click.command
@options.environment
@options.as_json
def pause_command(env: str, as_json: bool) -> None:
    """Start no more buffered uploads: they wait, up to 14 days, until `make resume`.

    Running executions finish. An apply does not end the pause; an alarm goes off long before the 14 days are
    over.
    """
    _switch(Deployment.load(env), on=False, as_json=as_json)


@click.command
@options.environment
@options.as_json
def resume_command(env: str, as_json: bool) -> None:
    """Start buffered uploads again, at the pace."""
    _switch(Deployment.load(env), on=True, as_json=as_json)


def _switch(deployment: Deployment, *, on: bool, as_json: bool) -> None:
    switch(deployment, on=on)
    wanted = "Enabled" if on else "Disabled"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (now := state(deployment)) != wanted:
        if time.monotonic() > deadline:
            raise UserError(f"Lambda still says {now} after {_PATIENCE_SECONDS} s; look again in a minute.")
        time.sleep(_LOOK_SECONDS)
    found = look(deployment, datetime.now(UTC))
    if as_json:
        options.print_json(found)
    else:
        click.echo(sentence(deployment.environment.name, found))
