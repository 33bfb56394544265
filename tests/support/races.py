"""A race to play: a request whose first provider shows nothing, another that stands by, and every way to fail."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hushnet.coordinator.serving.life import Life
from hushnet.sealing.envelope import SealedRequest
from hushnet.sealing.errors import WireCode
from support.fleet import (
    LIMITS,
    MODEL,
    Exchange,
    Network,
    ScriptedProvider,
    ServedAttempt,
    body_of,
    open_answer,
)

FAST = 400.0
"""Tokens a second of the provider that is tried first."""
HALF_S = LIMITS.first_content_s_max * LIMITS.hedge_share
MODES = pytest.mark.parametrize("mode", ["stream", "whole", "sealed"])


class Asked:
    """One request in one of the modes, and what its consumer makes of the answer."""

    def __init__(self, network: Network, key: str, mode: str, *recipients: ScriptedProvider) -> None:
        self.sealed: SealedRequest | None = None
        if mode == "sealed":
            self.sealed = network.seal(*recipients)
            self.exchange = network.send_sealed(self.sealed, key=key)
        else:
            self.exchange = network.chat(key=key, stream=mode == "stream")

    async def answer(self) -> str:
        """Return everything that the consumer was answered, opened and checked as far as the mode has checks."""
        await self.exchange.finished()
        assert self.exchange.status == 200
        if self.sealed is not None:
            return body_of(open_answer(self.sealed, self.exchange.body)).decode()
        return self.exchange.body.decode()


class Slow:
    """A request whose first provider shows nothing, and what stands by."""

    def __init__(self, asked: Asked, key: str, first: ServedAttempt, standby: ScriptedProvider) -> None:
        self.asked = asked
        self.key = key
        self.first = first
        self.standby = standby

    @property
    def exchange(self) -> Exchange:
        return self.asked.exchange


async def slow(network: Network, mode: str = "stream", **choices: Any) -> Slow:
    """Ask while one provider is fast and silent, and another could stand by."""
    silent = await network.provider(decode_tokens_s=FAST)
    standby = await network.provider(**choices)
    key = await network.consumer()
    asked = Asked(network, key, mode, silent, standby)
    return Slow(asked, key, await silent.attempt(), standby)


async def racing(network: Network, mode: str = "stream", **choices: Any) -> tuple[Slow, ServedAttempt]:
    """Ask, and wait until the backup is out."""
    it = await slow(network, mode, **choices)
    network.advance(HALF_S)
    return it, await it.standby.attempt()


async def passes() -> None:
    """Let everything happen that is going to happen without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)


def life_of(network: Network) -> Life:
    (life,) = network.serving.service._lives
    return life


def open_slots(network: Network) -> int:
    return sum(provider.load.open_total for provider in network.serving.fleet.providers())


def strikes(network: Network, provider: ScriptedProvider) -> int:
    live = network.serving.fleet.get(provider.provider_id)
    assert live is not None
    assert not live.findings
    return len(live.health_of(MODEL).failed_s)


def hedges(network: Network) -> dict[str, int]:
    counted = network.metrics.render().decode().split("\n")
    lines = [line for line in counted if line.startswith("hush_hedges_total{")]
    return {line.split('"')[1]: int(float(line.split()[-1])) for line in lines}


# Ways to fail before content.


def breaks(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.error(WireCode.ENGINE_FAILED)


def refuses_it(attempt: ServedAttempt) -> None:
    attempt.refuse(WireCode.INTERNAL)


def is_full(attempt: ServedAttempt) -> None:
    attempt.refuse(WireCode.CAPACITY)


def loses_its_link(attempt: ServedAttempt) -> None:
    attempt.provider.close("connection_lost")


def frees_its_slot(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.finish()


def skips_a_record(attempt: ServedAttempt) -> None:
    attempt.head()
    attempt.sealer.boilerplate(b"never sent")
    attempt.send(attempt.sealer.boilerplate(b"next"))
