"""The approximate simulation: photos as a flow through the same design, for millions.

Photos that have been refused equally often are one quantity each. Where the approximation lies:
- chance: a step's attempts are admitted in proportion, so luck among photos, and slots that stay free or are
  missed by chance below saturation, do not show;
- the SDK's second try falls into the same step as its first;
- a group of waiting photos carries its average age, so that waits are less spread than in truth;
- an EXPRESS execution's five minutes are not watched: its retriers end before them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.exact import NOTIFY_SECONDS
from benchmarks.scenario import DAY, QUOTAS, SDK_BACKOFF_SECONDS, SPREAD, THROTTLED_SECONDS, Outcome, Scenario

if TYPE_CHECKING:
    from benchmarks.scenario import Floats

_LENGTH = 8192  # of the buffers of due photos; their rest moves to the front when they are used up
_POINTS = 400
_NOTHING = 1e-9


class Flow:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.outcome = Outcome(scenario.photos)
        # Seconds; above two million photos, which take hours, half a second is precise enough.
        self.step = 0.25 if scenario.photos <= 2_000_000 else 0.5
        self.busy_waits = scenario.waits("Lambda.TooManyRequestsException")
        self.throttle_waits = scenario.waits("ThrottlingException")
        rows, columns = len(self.busy_waits) + 1, len(self.throttle_waits) + 1
        self.span = math.ceil(max(*self.busy_waits, *self.throttle_waits) / self.step) + 2
        # due[i, j, t]: photos refused i times by concurrency and j times by Rekognition, due at t.
        self.due = np.zeros((rows, columns, _LENGTH))
        self.born = np.zeros((rows, columns, _LENGTH))
        self.busy_spread = np.array([self._uniform(wait) for wait in self.busy_waits])
        self.throttle_spread = np.array([self._uniform(wait) for wait in self.throttle_waits])
        self.done = np.zeros(_LENGTH)
        call = scenario.call_seconds
        self.service = self._between(call * (1 - SPREAD), call * (1 + SPREAD))
        self.refused = self._between(2 * THROTTLED_SECONDS, 2 * THROTTLED_SECONDS + SDK_BACKOFF_SECONDS)
        self.at = 0
        self.running = self.pending = 0.0
        self.made = 10 * QUOTAS["lambda_instances_per_second"]
        self.tokens = scenario.rekognition_per_second
        self.values: list[float] = []
        self.weights: list[float] = []

    def _uniform(self, wait: float) -> Floats:
        return np.pad(spread := self._between(0, wait), (0, self.span - len(spread)))

    def _between(self, low: float, high: float) -> Floats:
        """The share of a uniform distribution between `low` and `high` seconds in each step."""
        edges = np.arange(math.ceil(high / self.step) + 1) * self.step
        return np.asarray(np.diff(np.clip(edges, low, high)) / (high - low), dtype=np.float64)

    def run(self) -> Outcome:
        arriving = self.scenario.arriving(self.step)
        every = max(1, len(arriving) // _POINTS)
        buffered = self.scenario.mode == "buffered"
        rate, bucket = (
            (self.scenario.start_rate, self.scenario.start_rate * self.step)
            if buffered
            else self.scenario.start_quota
        )
        waiting, tokens, index, today = 0.0, bucket, 0, 0.0
        # Starts are in order of arrival, so the number started determines the oldest that waits.
        arrived = np.concatenate(([0.0], np.cumsum(arriving)))
        started, front = 0.0, 0
        while True:
            now = index * self.step
            if index < len(arriving):
                waiting += float(arriving[index])
            tokens = min(bucket, tokens + rate * self.step)
            starts = min(waiting, tokens)
            if buffered and self.scenario.photos_per_day is not None:
                today = 0.0 if now % DAY == 0 else today
                starts = min(starts, max(0.0, self.scenario.photos_per_day - today))
                today += starts
            tokens -= starts
            waiting -= starts
            started += starts
            while front + 1 < len(arrived) and arrived[front + 1] < started - starts / 2:
                front += 1
            self._step(starts, front * self.step, now)
            open_ = waiting + self.pending + self.running
            if index % every == 0:
                self.outcome.backlog.append((now, open_))
                every = max(every, index // _POINTS)
            index += 1
            if index >= len(arriving) and open_ < 0.5:
                break
        self.outcome.drained = index * self.step + NOTIFY_SECONDS
        self.outcome.quantiles(np.array(self.values), np.array(self.weights))
        return self.outcome

    def _step(self, new: float, born: float, now: float) -> None:
        """One step: due and new photos try the function, then Rekognition."""
        outcome, at = self.outcome, self.at
        self.running = max(0.0, self.running - self.done[at])
        retrying = self.pending > _NOTHING
        if retrying:
            attempts, births = self.due[:, :, at], self.born[:, :, at]
            self.pending -= float(attempts.sum())
        else:
            attempts, births = np.zeros(self.due.shape[:2]), np.zeros(self.due.shape[:2])
        attempts[0, 0] += new
        births[0, 0] += new * born
        total = float(attempts.sum())
        # Slots that become free during a step are taken during that step.
        free = min(self.scenario.slots, self.made) - self.running + self.done[at + 1] / 2
        self.made += QUOTAS["lambda_instances_per_second"] * self.step if free < total else 0.0
        entered = min(total, max(0.0, free))
        size = self.scenario.rekognition_per_second
        self.tokens = min(size, self.tokens + size * self.step)
        passed = min(entered, self.tokens)
        self.tokens -= passed
        second_tries = entered * math.sqrt(max(0.0, 1 - passed / entered)) if entered > _NOTHING else 0.0
        throttled = entered - passed
        outcome.calls += entered + second_tries
        outcome.analysed += passed
        outcome.turned_away += total - entered
        outcome.throttled += throttled
        self.running += entered
        self.done[at + 1 : at + 1 + len(self.service)] += passed * self.service
        if throttled > _NOTHING:
            self.done[at + 1 : at + 1 + len(self.refused)] += throttled * self.refused
        if passed > _NOTHING:
            ages = now + self.scenario.call_seconds + NOTIFY_SECONDS - births / np.maximum(attempts, _NOTHING)
            held = attempts > _NOTHING
            self.values.extend(ages[held])
            self.weights.extend(attempts[held] * (passed / total))
        if total - entered > _NOTHING:
            self._again(attempts, births, 1 - entered / total, self.busy_spread, 0)
        if throttled > _NOTHING:
            self._again(attempts, births, throttled / total, self.throttle_spread, 1)
        self.at += 1
        if self.at + 2 * self.span + len(self.service) + len(self.refused) >= _LENGTH:
            for buffer in (self.due, self.born, self.done):
                tail = buffer[..., self.at :].copy()
                buffer[...] = 0
                buffer[..., : tail.shape[-1]] = tail
            self.at = 0

    def _again(self, attempts: Floats, births: Floats, share: float, spread: Floats, axis: int) -> None:
        """Delay `share` of the attempts; park those with no retries left on `axis`."""
        outcome, at = self.outcome, self.at
        last = (-1, slice(None)) if axis == 0 else (slice(None), -1)
        outcome.parked += float(attempts[last].sum()) * share
        window = slice(at + 1, at + 1 + self.span)
        for tried, row in enumerate(spread):
            source = (tried, slice(None)) if axis == 0 else (slice(None), tried)
            mass = attempts[source] * share
            if (amount := float(mass.sum())) <= _NOTHING:
                continue
            aged = births[source] * share
            target = (tried + 1, slice(None), window) if axis == 0 else (slice(None), tried + 1, window)
            self.due[target] += mass[:, None] * row
            self.born[target] += aged[:, None] * row
            self.pending += amount
            longest = self.busy_waits[tried] if axis == 0 else self.throttle_waits[tried]
            outcome.waited += amount * longest / 2


def simulate(scenario: Scenario) -> Outcome:
    return Flow(scenario).run()
