"""`subscriptions`: who is notified, and who has not confirmed yet."""

from __future__ import annotations

import json
from typing import Any

import click

from operations import options, terminal
from operations.deployment import Deployment

# What SNS lists in place of an ARN before a subscription is confirmed, and after it is deleted.
# https://docs.aws.amazon.com/sns/latest/api/API_Subscription.html
_WITHOUT_ARN = {"PendingConfirmation": "waits for confirmation", "Deleted": "unsubscribed"}


@click.command
@options.environment
@options.as_json
def command(env: str, as_json: bool) -> None:
    """Show who is notified, of what, and whether they have confirmed."""
    deployment = Deployment.load(env)
    found = look(deployment)
    if as_json:
        options.print_json(found)
        return
    if not found:
        click.echo(
            f"Nobody is subscribed in ENV={env}; add to subscriptions and alert_subscriptions in its tfvars."
        )
        return
    rows = [
        (one["state"], one["topic"], one["protocol"], one["endpoint"], ", ".join(one["outcomes"]) or "all")
        for one in found
    ]
    columns = ("State", "Topic", "Protocol", "Address", "Outcomes")
    terminal.console().print(terminal.table(*columns, rows=rows, red=set(_WITHOUT_ARN.values())))
    if waiting := sum(not one["confirmed"] for one in found):
        click.echo(
            f"{waiting} of {len(found)} do not get anything: open the link SNS has sent to the address; after"
            f" three days 'make apply ENV={env}' sends another."
        )


def look(deployment: Deployment) -> list[dict[str, Any]]:
    """Subscriptions: `topic` (results, alerts), `protocol`, `endpoint`, `state`, `confirmed`, `outcomes`."""
    client, found = deployment.client("sns"), []
    pages = client.get_paginator("list_subscriptions_by_topic")
    for topic in ("results", "alerts"):
        listed = pages.paginate(TopicArn=deployment.value(f"{topic}_topic_arn"))
        for one in (one for page in listed for one in page["Subscriptions"]):
            arn, attributes = one["SubscriptionArn"], dict[str, str]()
            if arn not in _WITHOUT_ARN:
                attributes = client.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
            waits = attributes.get("PendingConfirmation") == "true"
            state = _WITHOUT_ARN.get("PendingConfirmation" if waits else arn, "confirmed")
            found.append(
                {
                    "topic": topic,
                    "protocol": one["Protocol"],
                    "endpoint": one["Endpoint"],
                    "state": state,
                    "confirmed": state == "confirmed",
                    "outcomes": json.loads(attributes.get("FilterPolicy") or "{}").get("outcome", []),
                }
            )
    return found
