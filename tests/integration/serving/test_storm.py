"""Everything at once, by seed: every provider misbehaves at random, consumers leave at random, and nothing leaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hushnet.coordinator.ledger.model import UsageOutcome
from hushnet.sealing.errors import SealingError, WireCode
from hushnet.sealing.meters import Meter
from hushnet.sealing.records import Kind
from support.fleet import LIMITS, Exchange, Network, ScriptedProvider, ServedAttempt

Step = Callable[[ServedAttempt], None]
REQUESTS = 60


def speak(attempt: ServedAttempt) -> None:
    attempt.say("word ")


def meter(attempt: ServedAttempt) -> None:
    attempt.usage()


def end(attempt: ServedAttempt) -> None:
    attempt.end()


def fail(attempt: ServedAttempt) -> None:
    attempt.error(WireCode.ENGINE_FAILED)


def refuse(attempt: ServedAttempt) -> None:
    if attempt.output == 0:
        attempt.refuse(WireCode.CAPACITY)


def free_the_slot(attempt: ServedAttempt) -> None:
    attempt.finish()


def lie(attempt: ServedAttempt) -> None:
    attempt.send(attempt.sealer._seal(Kind.USAGE, 0, Meter(1, 9, 1, 0).pack(), b""))


def lose_the_link(attempt: ServedAttempt) -> None:
    attempt.provider.close("connection_lost")


STEPS: list[tuple[Step, int]] = [
    (speak, 40),
    (meter, 10),
    (end, 14),
    (fail, 3),
    (refuse, 3),
    (free_the_slot, 2),
    (lie, 2),
    (lose_the_link, 1),
]


class Storm:
    """One seeded history."""

    def __init__(self, network: Network, seed: int) -> None:
        self.network = network
        self.random = random.Random(seed)
        self.providers: list[ScriptedProvider] = []
        self.exchanges: list[Exchange] = []
        self.begun: set[ServedAttempt] = set()

    async def run(self) -> None:
        keys = [await self.network.consumer(50_000) for _ in range(4)]
        while len(self.exchanges) < REQUESTS or any(not exchange.task.done() for exchange in self.exchanges):
            await self.keep_providers()
            if len(self.exchanges) < REQUESTS and self.random.random() < 0.5:
                self.exchanges.append(self.ask(self.random.choice(keys)))
            self.play()
            if self.exchanges and self.random.random() < 0.1:
                self.random.choice(self.exchanges).hang_up()
            if self.random.random() < 0.05:
                self.network.advance(self.random.choice([0.1, 1.0, 20.0]))
            await asyncio.sleep(0)

    async def keep_providers(self) -> None:
        self.providers = [provider for provider in self.providers if provider.closed is None]
        while len(self.providers) < 3:
            self.providers.append(await self.network.provider(slots=self.random.randint(1, 3)))

    def ask(self, key: str) -> Exchange:
        kind = self.random.choice(["stream", "whole", "sealed"])
        if kind == "sealed":
            chosen = self.random.sample(self.providers, self.random.randint(1, 3))
            return self.network.send_sealed(self.network.seal(*chosen), key=key)
        return self.network.chat(key=key, stream=kind == "stream")

    def play(self) -> None:
        for provider in list(self.providers):
            for attempt in list(provider.attempts_open.values()):
                if attempt.is_over or attempt.cancelled is not None or self.random.random() < 0.5:
                    continue
                try:
                    if attempt not in self.begun:
                        self.begun.add(attempt)
                        attempt.head()
                    steps, weights = zip(*STEPS, strict=True)
                    self.random.choices(steps, weights)[0](attempt)
                except SealingError:
                    attempt.finish()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_every_request_is_settled_once_and_no_slot_is_lost(
    database_path: Path, seed: int
) -> None:
    async with Network.open(database_path, limits=replace(LIMITS, last_word_s_max=0.02)) as network:
        storm = Storm(network, seed)

        await storm.run()
        await network.settled()
        network.advance(LIMITS.linger_s_max + 1)

        for provider in network.serving.fleet.providers():
            assert (provider.load.open_total, provider.load.open_tokens, provider.load.open_output) == (0, 0, 0)
        assert network.serving.service.waiting == 0
        for exchange in storm.exchanges:
            await exchange.finished()
            if exchange.status == 200:
                await assert_honest(network, exchange)


async def assert_honest(network: Network, exchange: Exchange) -> None:
    """What the books say and what the consumer saw agree."""
    record = await network.usage_of(exchange)
    outcome = record.usage.outcome
    if exchange.headers["content-type"] == "text/event-stream":
        if outcome is UsageOutcome.COMPLETED:
            assert exchange.is_done
        if exchange.is_done:
            # An empty answer is free, and a consumer may leave while the last byte is on its way.
            assert outcome not in (UsageOutcome.FAILED_AFTER_CONTENT, UsageOutcome.ORPHANED)
    if outcome is UsageOutcome.NOT_DELIVERED:
        assert record.cost == 0
    assert record.usage.tokens_out <= exchange.body.count(b"word ") or exchange.headers["hushnet-mode"] == "sealed"
