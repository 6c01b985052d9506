"""The exact simulation: every single photo, worker and attempt (SimPy), for up to about 100,000 photos."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from benchmarks.scenario import (
    BATCH,
    DAY,
    QUOTAS,
    SDK_BACKOFF_SECONDS,
    SPREAD,
    THROTTLED_SECONDS,
    Outcome,
    Scenario,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    Events = Generator[simpy.Event, Any, Any]

NOTIFY_SECONDS = 0.1


class Bucket:
    """A token bucket like AWS's: `rate` a second, at most `size` tokens."""

    def __init__(self, rate: float, size: float) -> None:
        self.rate, self.size, self.tokens, self.at = rate, size, size, 0.0

    def take(self, now: float) -> bool:
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Simulation:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.env = simpy.Environment()
        self.chance = random.Random(scenario.seed)
        self.outcome = Outcome(scenario.photos)
        self.rekognition = Bucket(scenario.rekognition_per_second, scenario.rekognition_per_second)
        self.starts = Bucket(*scenario.start_quota)
        self.instances = Bucket(
            QUOTAS["lambda_instances_per_second"], 10 * QUOTAS["lambda_instances_per_second"]
        )
        self.running = self.made = 0
        self.busy_waits = scenario.waits("Lambda.TooManyRequestsException")
        self.throttle_waits = scenario.waits("ThrottlingException")
        self.queue: simpy.Store = simpy.Store(self.env)
        self.waits: list[float] = []
        self.day, self.today = 0, 0
        self.open = 0

    def run(self) -> Outcome:
        self.env.process(self._arrivals())
        if self.scenario.mode == "buffered":
            for _ in range(self.scenario.workers):
                self.env.process(self._worker())
        self.env.process(self._watch())
        self.env.run()
        waits = np.array(self.waits)
        self.outcome.quantiles(waits, np.ones(len(waits)))
        return self.outcome

    def _arrivals(self) -> Events:
        late = 0.0
        for second, count in enumerate(self.scenario.arriving(1.0)):
            late += count
            due = math.floor(late + 1e-6)
            late -= due
            for index in range(due):
                yield self.env.timeout(max(0.0, second + index / due - self.env.now))
                self.open += 1
                if self.scenario.mode == "buffered":
                    self.queue.put(self.env.now)
                else:
                    self.env.process(self._deliver(self.env.now))

    def _deliver(self, born: float) -> Events:
        # EventBridge retries a throttled start for a day.
        while not self.starts.take(self.env.now):
            yield self.env.timeout(self.chance.uniform(0.5, 1.5))
        yield from self._execution(born)

    def _worker(self) -> Events:
        step = self.scenario.workers / self.scenario.photos_per_second
        while True:
            batch = [(yield self.queue.get())]
            while self.queue.items and len(batch) < BATCH:
                batch.append((yield self.queue.get()))
            for born in batch:
                yield from self._cap()
                self.env.process(self._execution(born))
                yield self.env.timeout(step)
            yield self.env.timeout(self.scenario.handover_seconds)

    def _cap(self) -> Events:
        if self.scenario.photos_per_day is None:
            return
        while True:
            day = int(self.env.now // DAY)
            if day != self.day:
                self.day, self.today = day, 0
            if self.today < self.scenario.photos_per_day:
                self.today += 1
                return
            yield self.env.timeout((day + 1) * DAY - self.env.now)

    def _execution(self, born: float) -> Events:
        started = self.env.now
        busy, throttled = iter(self.busy_waits), iter(self.throttle_waits)
        while True:
            if self.scenario.type == "EXPRESS" and self.env.now - started > QUOTAS["express_seconds"]:
                self.outcome.timed_out += 1
                break
            if not self._enter():
                self.outcome.turned_away += 1
                wait = next(busy, None)
            else:
                done = yield from self._analyse()
                self.running -= 1
                if done:
                    yield self.env.timeout(NOTIFY_SECONDS)
                    self.outcome.analysed += 1
                    self.waits.append(self.env.now - born)
                    break
                self.outcome.throttled += 1
                wait = next(throttled, None)
            if wait is None:
                self.outcome.parked += 1
                break
            pause = self.chance.uniform(0, wait) if self.scenario.jitter else wait
            self.outcome.waited += pause
            yield self.env.timeout(pause)
        self.open -= 1
        self.outcome.drained = self.env.now

    def _enter(self) -> bool:
        if self.running >= self.scenario.slots:
            return False
        if self.running >= self.made:
            if not self.instances.take(self.env.now):
                return False
            self.made += 1
        self.running += 1
        return True

    def _analyse(self) -> Events:
        for attempt in range(2):
            self.outcome.calls += 1
            if self.rekognition.take(self.env.now):
                seconds = self.scenario.call_seconds
                yield self.env.timeout(self.chance.uniform(seconds * (1 - SPREAD), seconds * (1 + SPREAD)))
                return True
            yield self.env.timeout(THROTTLED_SECONDS)
            if attempt == 0:
                yield self.env.timeout(self.chance.uniform(0, SDK_BACKOFF_SECONDS))
        return False

    def _watch(self) -> Events:
        step = max(1.0, self.scenario.photos / 50 / 100)
        while self.env.now == 0 or self.open:
            self.outcome.backlog.append((self.env.now, self.open))
            yield self.env.timeout(step)


def simulate(scenario: Scenario) -> Outcome:
    return Simulation(scenario).run()
