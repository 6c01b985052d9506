"""Who is notified, of what, and who has not confirmed that yet."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from operations.__main__ import main
from operations.deployment import Deployment

RESULTS, ALERTS = (f"arn:aws:sns:us-east-1:123456789012:photos-dev-{name}" for name in ("results", "alerts"))


class FakeSns:
    """SNS as far as `subscriptions` calls it; subscribers have an ARN if confirmed or without need to.

    https://docs.aws.amazon.com/sns/latest/api/API_Subscription.html
    """

    def __init__(
        self, topics: dict[str, list[dict[str, str]]], attributes: dict[str, dict[str, str]]
    ) -> None:
        self.topics = topics
        self.attributes = attributes

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_subscriptions_by_topic"
        # One a page: the second page counts as well.
        return SimpleNamespace(
            paginate=lambda *, TopicArn: [{"Subscriptions": [one]} for one in self.topics[TopicArn]]  # noqa: N803
        )

    def get_subscription_attributes(self, *, SubscriptionArn: str) -> dict[str, Any]:  # noqa: N803
        return {"Attributes": self.attributes[SubscriptionArn]}


def subscription(arn: str, protocol: str, endpoint: str) -> dict[str, str]:
    return {"SubscriptionArn": arn, "Protocol": protocol, "Endpoint": endpoint}


def ask(monkeypatch: pytest.MonkeyPatch, sns: FakeSns, *more: str) -> str:
    environment: Any = SimpleNamespace(name="dev", client=lambda _: sns)
    outputs = {"results_topic_arn": RESULTS, "alerts_topic_arn": ALERTS}
    monkeypatch.setattr(Deployment, "load", lambda _: Deployment(environment, outputs))
    monkeypatch.setenv("COLUMNS", "120")
    result = CliRunner().invoke(main, ["subscriptions", "--env", "dev", *more])
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    return result.stdout


@pytest.fixture
def sns() -> FakeSns:
    mail, queue, unanswered = f"{RESULTS}:mail", f"{RESULTS}:queue", f"{ALERTS}:unanswered"
    return FakeSns(
        {
            RESULTS: [
                subscription(mail, "email", "ann@example.com"),
                subscription(queue, "sqs", "arn:aws:sqs:us-east-1:123456789012:photos"),
                subscription("PendingConfirmation", "email", "bob@example.com"),
                subscription("Deleted", "email", "cem@example.com"),
            ],
            ALERTS: [subscription(unanswered, "https", "https://example.com/alarms")],
        },
        {
            mail: {"PendingConfirmation": "false", "FilterPolicy": json.dumps({"outcome": ["rejected"]})},
            queue: {"PendingConfirmation": "false"},
            # Made with ReturnSubscriptionArn, which Terraform's provider sets.
            unanswered: {"PendingConfirmation": "true"},
        },
    )


def test_each_address_is_confirmed_or_waits(sns: FakeSns, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(ask(monkeypatch, sns, "--json"))
    assert [(one["topic"], one["endpoint"].partition("@")[0], one["state"]) for one in found] == [
        ("results", "ann", "confirmed"),
        ("results", "arn:aws:sqs:us-east-1:123456789012:photos", "confirmed"),
        ("results", "bob", "waits for confirmation"),
        ("results", "cem", "unsubscribed"),
        ("alerts", "https://example.com/alarms", "waits for confirmation"),
    ]
    assert [one["confirmed"] for one in found] == [True, True, False, False, False]
    assert [one["outcomes"] for one in found] == [["rejected"], [], [], [], []]


def test_who_gets_nothing_is_counted_with_what_to_do(sns: FakeSns, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ask(monkeypatch, sns).splitlines()
    assert lines[0].split() == ["State", "Topic", "Protocol", "Address", "Outcomes"]
    assert lines[1].split() == ["confirmed", "results", "email", "ann@example.com", "rejected"]
    assert lines[3].split() == ["waits", "for", "confirmation", "results", "email", "bob@example.com", "all"]
    assert lines[-1] == (
        "3 of 5 do not get anything: open the link SNS has sent to the address; after three days"
        " 'make apply ENV=dev' sends another."
    )


def test_nothing_is_to_be_done_where_everybody_confirmed(
    sns: FakeSns, monkeypatch: pytest.MonkeyPatch
) -> None:
    sns.topics = {RESULTS: sns.topics[RESULTS][:2], ALERTS: []}
    assert len(ask(monkeypatch, sns).splitlines()) == 3


def test_that_nobody_is_subscribed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = FakeSns({RESULTS: [], ALERTS: []}, {})
    assert ask(monkeypatch, nobody) == (
        "Nobody is subscribed in ENV=dev; add to subscriptions and alert_subscriptions in its tfvars.\n"
    )
    assert json.loads(ask(monkeypatch, nobody, "--json")) == []
